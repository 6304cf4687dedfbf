/** One job: its graph, the Launchpad, its runs, partitions and what launches it. */
import { Group, Tabs, Text } from "@mantine/core";
import { Link, useLocation, useSearchParams } from "wouter";
import { JobPageDocument, RunsPageDocument } from "../api/gql";
import { useLive } from "../api/live";
import { Empty, jobPath, PageTitle, Problem, Waiting } from "../components/Bits";
import { JobGraph, type Structure } from "../components/JobGraph";
import { type JobData, Launchpad } from "../components/Launchpad";
import { Partitions } from "../components/Partitions";
import { RunTable } from "../components/RunTable";
import { filterOf, type Token, write } from "../lib/filter";

const TABS = ["graph", "launchpad", "runs", "partitions", "about"];

export default function JobPage({ location, job: name, tab }: { location: string; job: string; tab: string }) {
  const [, go] = useLocation();
  const [search] = useSearchParams();
  const selector = { repositoryLocationName: location, jobName: name };
  const { data, error } = useLive(JobPageDocument, { selector }, ["LOCATIONS"]);
  if (!data) return <Waiting error={error} />;
  const job = data.pipelineOrError;
  if (job.__typename !== "Job") {
    return (
      <>
        <PageTitle title={name} />
        <Problem title="This job cannot be shown">{"message" in job ? job.message : job.__typename}</Problem>
      </>
    );
  }
  return (
    <>
      <PageTitle
        title={job.name}
        sub={
          <Group gap="md">
            <span>in {location}</span>
            <span>executor {job.executor ?? "multiprocess"}</span>
            {job.schedules.map((each) => (
              <Link
                key={each.name}
                href={`/locations/${encodeURIComponent(location)}/schedules/${encodeURIComponent(each.name)}`}
              >
                {each.name} ({each.cronSchedule}, {each.scheduleState.status.toLowerCase()})
              </Link>
            ))}
            {job.sensors.map((each) => (
              <Link
                key={each.name}
                href={`/locations/${encodeURIComponent(location)}/sensors/${encodeURIComponent(each.name)}`}
              >
                {each.name} (sensor, {each.sensorState.status.toLowerCase()})
              </Link>
            ))}
          </Group>
        }
      />
      {job.description && (
        <Text size="sm" mb="xs" style={{ whiteSpace: "pre-wrap" }}>
          {job.description}
        </Text>
      )}
      <Tabs value={tab} onChange={(value) => go(jobPath(location, name, value ?? "graph"))} keepMounted={false}>
        <Tabs.List mb="sm">
          <Tabs.Tab value="graph">Graph</Tabs.Tab>
          <Tabs.Tab value="launchpad">Launchpad</Tabs.Tab>
          <Tabs.Tab value="runs">Runs</Tabs.Tab>
          {job.isPartitioned && <Tabs.Tab value="partitions">Partitions</Tabs.Tab>}
          <Tabs.Tab value="about">Resources and tags</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="graph">
          <JobGraph structure={job.structure as Structure} />
        </Tabs.Panel>
        <Tabs.Panel value="launchpad">
          <Launchpad key={job.structureHash} job={job as unknown as JobData} fromRun={search.get("run")} />
        </Tabs.Panel>
        <Tabs.Panel value="runs">
          <JobRuns location={location} job={name} />
        </Tabs.Panel>
        {job.isPartitioned && (
          <Tabs.Panel value="partitions">
            <Partitions location={location} job={name} />
          </Tabs.Panel>
        )}
        <Tabs.Panel value="about">
          <About resources={job.modes[0]?.resources ?? []} tags={job.tags} />
        </Tabs.Panel>
      </Tabs>
      {tab === "partitions" && !job.isPartitioned && <Empty>This job has no partitions.</Empty>}
      {!TABS.includes(tab) && <Empty>There is no such page.</Empty>}
    </>
  );
}

function JobRuns({ location, job }: { location: string; job: string }) {
  const tokens: Token[] = [
    { kind: "job", value: job },
    { kind: "location", value: location },
  ];
  const wanted = { filter: filterOf(tokens), limit: 50, cursor: null };
  const { data, error } = useLive(RunsPageDocument, wanted, ["RUNS"], { every: 700 });
  if (data?.runsOrError.__typename !== "Runs") return <Waiting error={error} />;
  return (
    <div className="panel">
      <header>
        <Link href={`/runs?q=${encodeURIComponent(write(tokens))}`}>
          {data.runsOrError.count === 1 ? "1 run" : `All ${data.runsOrError.count} runs`}
        </Link>
      </header>
      <RunTable runs={data.runsOrError.results} hideJob />
    </div>
  );
}

function About({
  resources,
  tags,
}: {
  resources: { name: string; description?: string | null }[];
  tags: { key: string; value: string }[];
}) {
  return (
    <div className="panel">
      <header>Resources</header>
      {resources.length ? (
        <table className="rows">
          <tbody>
            {resources.map((each) => (
              <tr key={each.name}>
                <th scope="row">{each.name}</th>
                <td style={{ whiteSpace: "pre-wrap" }}>{each.description}</td>
              </tr>
            ))}
          </tbody>
        </table>
      ) : (
        <Empty>It needs none.</Empty>
      )}
      <header style={{ borderTop: "1px solid var(--line)" }}>Tags</header>
      <Group p={10} gap={4}>
        {tags.map((tag) => (
          <span key={tag.key} className="tag">
            {tag.key}={tag.value}
          </span>
        ))}
        {tags.length === 0 && <span className="quiet">None.</span>}
      </Group>
    </div>
  );
}
