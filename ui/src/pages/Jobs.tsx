/** All jobs of all code locations, with their last runs. */
import { Group, TextInput, Tooltip } from "@mantine/core";
import { useMemo, useState } from "react";
import { Link } from "wouter";
import { type RunRowFragment, RunsPageDocument } from "../api/gql";
import { useLive } from "../api/live";
import { Empty, jobPath, PageTitle, Status, Waiting, When } from "../components/Bits";
import { Icon } from "../components/Icons";
import { useShell } from "../components/Shell";
import { look } from "../lib/status";

export function Jobs() {
  const shell = useShell();
  const [text, setText] = useState("");
  const { data } = useLive(RunsPageDocument, { filter: {}, limit: 500, cursor: null }, ["RUNS"], { every: 1500 });
  const byJob = useMemo(() => {
    const found = new Map<string, RunRowFragment[]>();
    if (data?.runsOrError.__typename === "Runs")
      for (const run of data.runsOrError.results) {
        const list = found.get(run.jobName) ?? [];
        if (list.length < 12) found.set(run.jobName, [...list, run]);
      }
    return found;
  }, [data]);
  if (shell?.workspaceOrError.__typename !== "Workspace") return <Waiting />;
  const jobs = shell.workspaceOrError.locationEntries.flatMap((entry) =>
    entry.repositories.flatMap((each) => each.jobs),
  );
  const shown = jobs.filter((job) => job.name.toLowerCase().includes(text.toLowerCase()));
  return (
    <>
      <PageTitle title="Jobs" />
      <TextInput
        size="xs"
        mb="xs"
        maw={320}
        aria-label="Find a job"
        placeholder="Find a job"
        leftSection={<Icon name="search" />}
        value={text}
        onChange={(event) => setText(event.currentTarget.value)}
      />
      <div className="panel">
        {shown.length === 0 ? (
          <Empty>There are no such jobs. What does not load is told under Deployment.</Empty>
        ) : (
          <table className="rows">
            <thead>
              <tr>
                <th>Job</th>
                <th>Code location</th>
                <th>Last run</th>
                <th>Runs, the latest first</th>
                <th>
                  <span className="quiet">Open</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {shown.map((job) => {
                const runs = byJob.get(job.name) ?? [];
                const [last] = runs;
                return (
                  <tr key={`${job.repositoryLocationName} ${job.name}`}>
                    <td>
                      <Link href={jobPath(job.repositoryLocationName, job.name)}>{job.name}</Link>
                    </td>
                    <td>{job.repositoryLocationName}</td>
                    <td>
                      {last ? (
                        <Group gap="xs">
                          <Status of={last.status} />
                          <When at={last.creationTime} />
                        </Group>
                      ) : (
                        <span className="quiet">never</span>
                      )}
                    </td>
                    <td>
                      <Group gap={3}>
                        {runs.map((run) => {
                          const { tone, sign, text: said } = look(run.status);
                          return (
                            <Tooltip key={run.runId} label={`${run.runId.slice(0, 8)}: ${said}`}>
                              <Link
                                href={`/runs/${run.runId}`}
                                aria-label={`Run ${run.runId.slice(0, 8)}: ${said}`}
                                className={tone}
                                style={{ display: "inline-flex" }}
                              >
                                <Icon name={sign} strokeWidth={3} width={15} height={15} />
                              </Link>
                            </Tooltip>
                          );
                        })}
                      </Group>
                    </td>
                    <td className="nowrap">
                      <Link
                        href={jobPath(job.repositoryLocationName, job.name, "launchpad")}
                        aria-label={`Launchpad of ${job.name}`}
                      >
                        Launchpad
                      </Link>
                      {job.isPartitioned && (
                        <>
                          {" "}
                          <Link
                            href={jobPath(job.repositoryLocationName, job.name, "partitions")}
                            aria-label={`Partitions of ${job.name}`}
                          >
                            Partitions
                          </Link>
                        </>
                      )}
                    </td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        )}
      </div>
    </>
  );
}
