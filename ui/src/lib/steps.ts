/** The steps of a run as pages show them: instances of a mapped step fold into one row. */

export type Span = [
  attempt: number,
  dispatched: number | null,
  started: number | null,
  ended: number | null,
  outcome: string,
  worker: string,
];
export type StepTimes = { key: string; node: string; status: string; spans: Span[] };
export type Need = { step: string; output: string; delivery: string; input: string };
export type PlannedStep = {
  key: string;
  op: string;
  needs: Need[];
  mapped?: number;
  runs?: boolean;
  inputs?: Record<string, string>;
  outputs?: Record<string, string>;
  dynamic?: boolean;
  pool?: string;
  queue?: string;
  priority?: number;
  timeout?: number;
  retries?: number;
  trigger?: string;
  executor?: string;
};
export type Plan = { steps: PlannedStep[]; known: string[] };

export type Row =
  | { kind: "step"; key: string; label: string; depth: number; status: string; step: StepTimes | undefined }
  | {
      kind: "group";
      key: string;
      label: string;
      depth: number;
      status: string;
      counts: Record<string, number>;
      steps: StepTimes[];
      open: boolean;
    };

export function merge(before: Map<string, StepTimes>, changed: StepTimes[]): Map<string, StepTimes> {
  if (changed.length === 0) return before;
  const after = new Map(before);
  for (const step of changed) after.set(step.key, step);
  return after;
}

export function countBy(steps: Iterable<{ status: string }>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const step of steps) counts[step.status] = (counts[step.status] ?? 0) + 1;
  return counts;
}

/** How many steps are to run and have not begun: of mapped ones nobody knows yet how many there will be. */
export function pendingOf(plan: Plan, steps: Map<string, StepTimes>): number {
  const known = new Set(plan.known);
  return plan.steps.filter(({ key, mapped, runs }) => runs !== false && !mapped && !steps.has(key) && !known.has(key))
    .length;
}

/** Rows in the order of the plan. `shown` says which statuses are wanted; null is all. */
export function rowsOf(
  plan: Plan,
  steps: Map<string, StepTimes>,
  open: ReadonlySet<string>,
  shown: ReadonlySet<string> | null,
  worstOf: (counts: Record<string, number>) => string,
): Row[] {
  const known = new Set(plan.known);
  const instances = new Map<string, StepTimes[]>();
  for (const step of steps.values()) {
    const list = instances.get(step.node);
    if (list) list.push(step);
    else instances.set(step.node, [step]);
  }
  const rows: Row[] = [];
  for (const planned of plan.steps) {
    const there = instances.get(planned.key) ?? [];
    if (planned.runs === false && there.length === 0) continue;
    if (!planned.mapped) {
      const step = there[0];
      const status = step?.status ?? (known.has(planned.key) ? "SUCCESS" : "PENDING");
      if (!shown || shown.has(status))
        rows.push({ kind: "step", key: planned.key, label: planned.key, depth: 0, status, step });
      continue;
    }
    const counts = countBy(there);
    const wanted = shown ? there.filter((each) => shown.has(each.status)) : there;
    if (shown && wanted.length === 0) continue;
    const isOpen = open.has(planned.key);
    rows.push({
      kind: "group",
      key: planned.key,
      label: planned.key,
      depth: 0,
      status: there.length ? worstOf(counts) : "PENDING",
      counts,
      steps: there,
      open: isOpen,
    });
    if (isOpen)
      for (const step of wanted)
        rows.push({ kind: "step", key: step.key, label: step.key, depth: 1, status: step.status, step });
  }
  return rows;
}

/** One row a worker: every attempt that it ran. */
export function rowsByWorker(steps: Map<string, StepTimes>): { worker: string; steps: StepTimes[] }[] {
  const found = new Map<string, StepTimes[]>();
  for (const step of steps.values())
    for (const span of step.spans) {
      if (span[2] === null) continue;
      const worker = span[5] || "?";
      const one: StepTimes = { ...step, spans: [span] };
      const list = found.get(worker);
      if (list) list.push(one);
      else found.set(worker, [one]);
    }
  return [...found].map(([worker, list]) => ({ worker, steps: list })).sort((a, b) => a.worker.localeCompare(b.worker));
}

/** From the first dispatch to the last end; of what goes on, to now. */
export function bounds(
  steps: Iterable<StepTimes>,
  created: number,
  ended: number | null,
  now: number,
): [number, number] {
  let start = Number.POSITIVE_INFINITY;
  let end = ended ?? now;
  for (const step of steps)
    for (const span of step.spans) {
      start = Math.min(start, span[1] ?? span[2] ?? start);
      end = Math.max(end, span[3] ?? 0);
    }
  if (!Number.isFinite(start)) start = created;
  return [start, Math.max(end, start + 0.001)];
}
