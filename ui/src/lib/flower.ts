/** Addresses in Flower. Its table of tasks takes from an address what `name`, `worker` and `state` are to be, and puts that into its
    search as it stands: more words, and OR, come along. */

export function home(flower: string): string {
  return `${flower.replace(/\/$/, "")}/`;
}

/** Messages of a run. */
export function tasksOfRun(flower: string, runId: string): string {
  const run = runId.slice(0, 8);
  return `${home(flower)}tasks?name=${encodeURIComponent(`${run} OR ${run}`)}`;
}

/** Messages of a run that one worker got: which of them a step came in, only their first steps can tell. */
export function tasksOfRunOn(flower: string, runId: string, worker: string): string {
  return `${home(flower)}tasks?worker=${encodeURIComponent(`${worker} ${runId.slice(0, 8)}`)}`;
}
