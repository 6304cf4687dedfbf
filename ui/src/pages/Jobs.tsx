/** All jobs of all code locations, with their last runs. */
import { Group, Text, TextInput, Tooltip } from "@mantine/core";
import { useState } from "react";
import { Link } from "wouter";
import { JobsPageDocument } from "../api/gql";
import { useLive } from "../api/live";
import { Empty, jobPath, PageTitle, Problem, Status, Took, Waiting, When } from "../components/Bits";
import { Icon } from "../components/Icons";
import { look } from "../lib/status";
import { exact } from "../lib/time";

export function Jobs() {
  const [text, setText] = useState("");
  const { data, error } = useLive(JobsPageDocument, {}, ["RUNS", "LOCATIONS"], { every: 1500 });
  if (!data) return <Waiting error={error} />;
  const found = data.repositoriesOrError;
  if (found.__typename !== "RepositoryConnection") return <Problem>{found.__typename}</Problem>;
  const jobs = found.nodes.flatMap((each) => each.jobs);
  const wanted = text.toLowerCase();
  const shown = jobs.filter((job) => `${job.name} ${job.repositoryLocationName}`.toLowerCase().includes(wanted));
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
          <Empty>
            {jobs.length ? "No job has this in its name." : "No code location has a job."} Code that does not load is
            told under <Link href="/deployment">Deployment</Link>.
          </Empty>
        ) : (
          <table className="rows">
            <thead>
              <tr>
                <th>Job</th>
                <th className="wide-only">Code location</th>
                <th>Last run</th>
                <th className="wide-only">Took</th>
                <th>Latest runs</th>
                <th>
                  <span className="quiet">Open</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {shown.map((job) => {
                const [last] = job.runs;
                return (
                  <tr key={`${job.repositoryLocationName} ${job.name}`}>
                    <td className="name">
                      <Link href={jobPath(job.repositoryLocationName, job.name)}>{job.name}</Link>
                      {job.description && (
                        <Text size="xs" className="quiet" lineClamp={1} maw={360}>
                          {job.description.trim().split("\n")[0]}
                        </Text>
                      )}
                    </td>
                    <td className="wide-only">{job.repositoryLocationName}</td>
                    <td>
                      {last ? (
                        <Group gap="xs" wrap="nowrap">
                          <Status of={last.status} />
                          <When at={last.creationTime} />
                        </Group>
                      ) : (
                        <span className="quiet">never</span>
                      )}
                    </td>
                    <td className="wide-only">{last && <Took start={last.startTime} end={last.endTime} />}</td>
                    <td>
                      <Group gap={3} wrap="nowrap">
                        {job.runs.map((run) => {
                          const { tone, sign, text: said } = look(run.status);
                          return (
                            <Tooltip
                              key={run.runId}
                              label={`${run.runId.slice(0, 8)}: ${said}, ${exact(run.creationTime)}`}
                            >
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
