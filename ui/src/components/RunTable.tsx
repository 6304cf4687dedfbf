/** Runs as rows. */
import { Checkbox, Tooltip } from "@mantine/core";
import type { RunRowFragment } from "../api/gql";
import { toldTags } from "../lib/words";
import { Empty, JobLink, RunLink, Status, Took, When } from "./Bits";

const TAGS = 3;

export function Counts({ counts }: { counts: Record<string, number> }) {
  const total = Object.values(counts).reduce((sum, each) => sum + each, 0);
  if (!total) return null;
  const done = (counts.SUCCESS ?? 0) + (counts.SKIPPED ?? 0);
  return (
    <span className="nowrap quiet">
      {done} of {total}
      {counts.FAILURE ? <span className="bad">, {counts.FAILURE} failed</span> : null}
    </span>
  );
}

/** The first few, in one line; the others on hover. */
function Tags({
  tags,
  onTag,
}: {
  tags: RunRowFragment["tags"];
  onTag: ((key: string, value: string) => void) | undefined;
}) {
  const told = toldTags(tags);
  const rest = told.slice(TAGS);
  return (
    <span className="tags">
      {told.slice(0, TAGS).map((tag) =>
        onTag ? (
          <button
            key={tag.key}
            type="button"
            className="tag"
            title={`${tag.key}=${tag.value}`}
            onClick={() => onTag(tag.key, tag.value)}
          >
            {tag.text}
          </button>
        ) : (
          <span key={tag.key} className="tag" title={`${tag.key}=${tag.value}`}>
            {tag.text}
          </span>
        ),
      )}
      {rest.length > 0 && (
        <Tooltip multiline maw={480} label={rest.map((tag) => tag.text).join(", ")}>
          <span className="quiet nowrap">+{rest.length}</span>
        </Tooltip>
      )}
    </span>
  );
}

export function RunTable({
  runs,
  chosen,
  onChoose,
  onTag,
  hideJob,
}: {
  runs: readonly RunRowFragment[];
  chosen?: ReadonlySet<string>;
  onChoose?: (ids: string[], on: boolean) => void;
  onTag?: (key: string, value: string) => void;
  hideJob?: boolean;
}) {
  if (runs.length === 0) return <Empty>There are no such runs.</Empty>;
  const all = runs.every((run) => chosen?.has(run.runId));
  return (
    <div style={{ overflowX: "auto" }}>
      <table className="rows">
        <thead>
          <tr>
            {onChoose && (
              <th style={{ width: 30 }}>
                <Checkbox
                  size="xs"
                  aria-label="Choose all"
                  checked={all}
                  onChange={(event) =>
                    onChoose(
                      runs.map((run) => run.runId),
                      event.currentTarget.checked,
                    )
                  }
                />
              </th>
            )}
            <th>Run</th>
            <th>Status</th>
            {!hideJob && <th>Job</th>}
            <th>Launched</th>
            <th>Took</th>
            <th>Steps</th>
            <th className="wide-only">Executor</th>
            <th className="wide-only">Tags</th>
          </tr>
        </thead>
        <tbody>
          {runs.map((run) => (
            <tr key={run.runId} data-run={run.runId}>
              {onChoose && (
                <td>
                  <Checkbox
                    size="xs"
                    aria-label={`Choose ${run.runId.slice(0, 8)}`}
                    checked={chosen?.has(run.runId) ?? false}
                    onChange={(event) => onChoose([run.runId], event.currentTarget.checked)}
                  />
                </td>
              )}
              <td>
                <RunLink id={run.runId} />
              </td>
              <td>
                {run.whyWaiting ? (
                  <Tooltip label={run.whyWaiting}>
                    <span>
                      <Status of={run.status} />
                    </span>
                  </Tooltip>
                ) : (
                  <Status of={run.status} />
                )}
              </td>
              {!hideJob && (
                <td className="name">
                  <JobLink location={run.repositoryOrigin?.repositoryLocationName} job={run.jobName} />
                </td>
              )}
              <td>
                <When at={run.creationTime} />
              </td>
              <td>
                <Took start={run.startTime} end={run.endTime} />
              </td>
              <td>
                <Counts counts={run.stepCounts} />
              </td>
              <td className="wide-only">{run.executor}</td>
              <td className="wide-only fill">
                <Tags tags={run.tags} onTag={onTag} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
