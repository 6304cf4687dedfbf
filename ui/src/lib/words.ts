/** "1 run", "3 runs". */
export function counted(count: number, one: string, several = `${one}s`): string {
  return `${count.toLocaleString("en")} ${count === 1 ? one : several}`;
}

const OURS = "opgrid/";
/** Tags that tell nothing to whoever reads a list. */
const SILENT = new Set(["opgrid/root_run_id", "opgrid/parent_run_id", "opgrid/partition_set"]);

/** Tags as a list shows them: the user's first, ours by their short name, those that say nothing not at all. */
export function toldTags<T extends { key: string; value: string }>(tags: readonly T[]): (T & { text: string })[] {
  const shown = tags.filter((tag) => !SILENT.has(tag.key) && !tag.key.startsWith(".opgrid/"));
  return [...shown.filter((tag) => !tag.key.startsWith(OURS)), ...shown.filter((tag) => tag.key.startsWith(OURS))].map(
    (tag) => ({ ...tag, text: `${tag.key.replace(OURS, "")}=${tag.value}` }),
  );
}
