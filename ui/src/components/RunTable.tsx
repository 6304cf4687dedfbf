/** Runs as rows. */
import { Checkbox, Group, Text, Tooltip } from "@mantine/core";
import type { RunRowFragment } from "../api/gql";
import { Empty, JobLink, RunLink, Status, Took, When } from "./Bits";

const OURS = ["opgrid/root_run_id"];

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
            <th>Executor</th>
            <th>Tags</th>
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
                <td>
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
              <td>
                <Text size="sm" span>
                  {run.executor}
                </Text>
              </td>
              <td>
                <Group gap={4}>
                  {run.tags
                    .filter((tag) => !OURS.includes(tag.key))
                    .map((tag) =>
                      onTag ? (
                        <button key={tag.key} type="button" className="tag" onClick={() => onTag(tag.key, tag.value)}>
                          {tag.key}={tag.value}
                        </button>
                      ) : (
                        <span key={tag.key} className="tag">
                          {tag.key}={tag.value}
                        </span>
                      ),
                    )}
                </Group>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
