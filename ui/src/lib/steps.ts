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
/** What `Run.timeline` tells in brief: places in the lists, and microseconds behind `start`. */
export type Brief = {
  last: number;
  start: number;
  nodes: string[];
  workers: string[];
  statuses: string[];
  steps: (number | string | null)[][];
};
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

export function unfolded({ start, nodes, workers, statuses, steps }: Brief): StepTimes[] {
  const at = (value: number | null) => (value === null ? null : start + value / 1e6);
  return steps.map((row) => {
    const [place, rest, status, ...told] = row as [number, string, number, ...number[]];
    const node = nodes[place] ?? "";
    const spans: Span[] = [];
    for (let first = 0; first < told.length; first += VALUES) {
      const [attempt, dispatched, started, ended, outcome, worker] = told.slice(first, first + VALUES) as [
        number,
        number | null,
        number | null,
        number | null,
        number,
        number,
      ];
      spans.push([attempt, at(dispatched), at(started), at(ended), statuses[outcome] ?? "", workers[worker] ?? ""]);
    }
    return { key: node + rest, node, status: statuses[status] ?? "", spans };
  });
}

/** Values of an attempt. */
const VALUES = 6;

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

/** What a step is that has not begun: in a run that has ended, it never will. */
export const unbegun = (going: boolean): string => (going ? "PENDING" : "NOT_RUN");

/** How many steps are to run and have not begun: of mapped ones nobody knows yet how many there will be. */
export function unbegunOf(plan: Plan, steps: Map<string, StepTimes>): number {
  const known = new Set(plan.known);
  return plan.steps.filter(({ key, mapped, runs }) => runs !== false && !mapped && !steps.has(key) && !known.has(key))
    .length;
}

/** Rows in the order of the plan. `shown` says which statuses are wanted; null is all. `text` is in the key of each. */
export function rowsOf(
  plan: Plan,
  steps: Map<string, StepTimes>,
  open: ReadonlySet<string>,
  shown: ReadonlySet<string> | null,
  worstOf: (counts: Record<string, number>) => string,
  going: boolean,
  text = "",
): Row[] {
  const sought = text.trim().toLowerCase();
  const fits = (key: string) => !sought || key.toLowerCase().includes(sought);
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
      const status = step?.status ?? (known.has(planned.key) ? "SUCCESS" : unbegun(going));
      if ((!shown || shown.has(status)) && fits(planned.key))
        rows.push({ kind: "step", key: planned.key, label: planned.key, depth: 0, status, step });
      continue;
    }
    const counts = countBy(there);
    const wanted = there.filter((each) => (!shown || shown.has(each.status)) && fits(each.key));
    if (wanted.length === 0 && (shown || !fits(planned.key))) continue;
    const isOpen = sought ? wanted.length > 0 : open.has(planned.key);
    rows.push({
      kind: "group",
      key: planned.key,
      label: planned.key,
      depth: 0,
      status: there.length ? worstOf(counts) : unbegun(going),
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

export type Ran = { key: string; span: Span };

/** Every attempt that a worker ran. */
export function ranByWorker(steps: Map<string, StepTimes>): { worker: string; ran: Ran[] }[] {
  const found = new Map<string, Ran[]>();
  for (const { key, spans } of steps.values())
    for (const span of spans) {
      if (span[2] === null) continue;
      const worker = span[5] || "?";
      const list = found.get(worker);
      if (list) list.push({ key, span });
      else found.set(worker, [{ key, span }]);
    }
  return [...found].map(([worker, ran]) => ({ worker, ran })).sort((a, b) => a.worker.localeCompare(b.worker));
}

/** A part of the time, and how much of it is a pixel wide. All are seconds. */
export type View = { from: number; to: number; pixel: number };

/** One attempt, or several that are too near to each other to be told apart: then the one that says most, over all of them. */
export type Bar = { key: string; span: Span; count: number; counts: Record<string, number> };

/** Pixels within which there is one bar. */
const NEAR = 3;

/** What is seen of attempts that follow each other. */
export function barsOf(
  ran: readonly Ran[],
  view: View,
  now: number,
  worstOf: (counts: Record<string, number>) => string,
): Bar[] {
  const bars: Bar[] = [];
  let end = 0;
  for (let place = firstWithin(ran, view.from, now); place < ran.length; place++) {
    const { key, span } = ran[place] as Ran;
    const [attempt, , start, ended, outcome, worker] = span;
    if (start === null || start > view.to) break;
    const bar = bars.at(-1);
    const until = ended ?? now;
    if (bar && until - (bar.span[2] ?? 0) < NEAR * view.pixel && start - end < view.pixel) {
      bar.counts[outcome] = (bar.counts[outcome] ?? 0) + 1;
      bar.count++;
      if (worstOf(bar.counts) !== bar.span[4]) {
        bar.key = key;
        bar.span = [attempt, null, bar.span[2], ended, outcome, worker];
      } else bar.span = [bar.span[0], null, bar.span[2], ended, bar.span[4], bar.span[5]];
    } else bars.push({ key, span: [attempt, null, start, ended, outcome, worker], count: 1, counts: { [outcome]: 1 } });
    end = until;
  }
  return bars;
}

/** Place of the first that has not ended before. */
function firstWithin(ran: readonly Ran[], from: number, now: number): number {
  let [low, high] = [0, ran.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ran[middle]?.span[3] ?? now) < from) low = middle + 1;
    else high = middle;
  }
  return low;
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
