/** What statuses look like: a tone and a sign, never a colour alone. */

export type Tone = "ok" | "bad" | "going" | "wait" | "off";
export type Sign = "check" | "cross" | "spin" | "clock" | "dash" | "stop" | "again";

const LOOKS: Record<string, [Tone, Sign, string]> = {
  SUCCESS: ["ok", "check", "Success"],
  FAILURE: ["bad", "cross", "Failure"],
  CANCELED: ["off", "stop", "Canceled"],
  CANCELING: ["wait", "spin", "Canceling"],
  STARTED: ["going", "spin", "Started"],
  STARTING: ["going", "spin", "Starting"],
  QUEUED: ["wait", "clock", "Queued"],
  NOT_STARTED: ["wait", "clock", "Not started"],
  PENDING: ["off", "dash", "Pending"],
  NOT_RUN: ["off", "dash", "Not run"],
  DISPATCHED: ["wait", "clock", "Waiting"],
  RUNNING: ["going", "spin", "Running"],
  WAITING: ["wait", "again", "Waiting for a retry"],
  SKIPPED: ["off", "dash", "Skipped"],
  REQUESTED: ["going", "spin", "In progress"],
  COMPLETED_SUCCESS: ["ok", "check", "Success"],
  COMPLETED_FAILED: ["bad", "cross", "Failed"],
};

export function look(status: string): { tone: Tone; sign: Sign; text: string } {
  const [tone, sign, text] = LOOKS[status] ?? ["off", "dash", status];
  return { tone, sign, text };
}

export const RUN_STATUSES = ["QUEUED", "STARTING", "STARTED", "SUCCESS", "FAILURE", "CANCELING", "CANCELED"] as const;
export const isFinal = (status: string): boolean => ["SUCCESS", "FAILURE", "CANCELED"].includes(status);

/** The one of several that says most: a failure above what runs, what runs above what is done. */
export function worst(counts: Record<string, number>): string {
  const order = ["FAILURE", "RUNNING", "WAITING", "DISPATCHED", "CANCELED", "PENDING", "SUCCESS", "SKIPPED"];
  return order.find((status) => (counts[status] ?? 0) > 0) ?? "PENDING";
}
