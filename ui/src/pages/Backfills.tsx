/** Backfills, and one of them. */
import { Button, Group, Progress, Text } from "@mantine/core";
import { useClient } from "urql";
import { Link, useLocation } from "wouter";
import {
  BackfillPageDocument,
  type BackfillRowFragment,
  BackfillsDocument,
  CancelBackfillDocument,
  ResumeBackfillDocument,
} from "../api/gql";
import { useLive } from "../api/live";
import { Confirmed, Empty, JobLink, PageTitle, Problem, Status, Took, Waiting, When } from "../components/Bits";
import { useMessages } from "../components/Messages";
import { Cells } from "../components/Partitions";
import { usePermission } from "../components/Shell";
import { refusal } from "../lib/results";

type States = Record<string, [run: string, status: string]>;

function countsOf(backfill: BackfillRowFragment): { ok: number; bad: number; going: number; total: number } {
  const states = Object.values(backfill.partitionStates as States).map(([, status]) => status);
  const ok = states.filter((status) => status === "SUCCESS").length;
  const bad = states.filter((status) => ["FAILURE", "CANCELED"].includes(status)).length;
  return { ok, bad, going: states.length - ok - bad, total: backfill.numPartitions };
}

function Bar({ backfill }: { backfill: BackfillRowFragment }) {
  const { ok, bad, going, total } = countsOf(backfill);
  const said = `${ok} of ${total} succeeded${bad ? `, ${bad} failed` : ""}${going ? `, ${going} in progress` : ""}`;
  return (
    <div style={{ minWidth: 180 }}>
      <Progress.Root size="sm" aria-label={said}>
        <Progress.Section value={(ok / total) * 100} color="var(--ok)" aria-label={`${ok} succeeded`} />
        <Progress.Section value={(bad / total) * 100} color="var(--bad)" aria-label={`${bad} did not succeed`} />
        <Progress.Section value={(going / total) * 100} color="var(--going)" aria-label={`${going} in progress`} />
      </Progress.Root>
      <Text size="xs" className="quiet">
        {said}
      </Text>
    </div>
  );
}

export function Backfills() {
  const { data, error } = useLive(BackfillsDocument, { limit: 100 }, ["BACKFILLS", "RUNS"], { every: 1000 });
  if (!data) return <Waiting error={error} />;
  const found = data.partitionBackfillsOrError;
  if (found.__typename !== "PartitionBackfills") return <Problem>{found.message}</Problem>;
  return (
    <>
      <PageTitle title="Backfills" />
      <div className="panel">
        {found.results.length === 0 ? (
          <Empty>There are none. Choose partitions on the page of a partitioned job.</Empty>
        ) : (
          <table className="rows">
            <thead>
              <tr>
                <th>Backfill</th>
                <th>Status</th>
                <th>Job</th>
                <th>Asked for</th>
                <th>Took</th>
                <th>Partitions</th>
              </tr>
            </thead>
            <tbody>
              {found.results.map((each) => (
                <tr key={each.id}>
                  <td>
                    <Link href={`/backfills/${each.id}`} className="mono">
                      {each.id}
                    </Link>{" "}
                    {each.title}
                  </td>
                  <td>
                    <Status of={each.status} />
                  </td>
                  <td>
                    <JobLink location={each.repositoryLocationName} job={each.jobName} />
                  </td>
                  <td>
                    <When at={each.timestamp} />
                  </td>
                  <td>
                    <Took start={each.timestamp} end={each.endTimestamp} />
                  </td>
                  <td>
                    <Bar backfill={each} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </div>
    </>
  );
}

export function BackfillPage({ id }: { id: string }) {
  const client = useClient();
  const [, go] = useLocation();
  const { good, bad } = useMessages();
  const [may] = usePermission("launch");
  const { data, error } = useLive(BackfillPageDocument, { id }, ["BACKFILLS", "RUNS"], { every: 800 });
  if (!data) return <Waiting error={error} />;
  const found = data.partitionBackfillOrError;
  if (found.__typename !== "PartitionBackfill")
    return (
      <>
        <PageTitle title="Backfill" />
        <Problem>{found.message}</Problem>
      </>
    );
  const states = found.partitionStates as States;
  const cancel = async () => {
    const result = await client.mutation(CancelBackfillDocument, { id }).toPromise();
    const problem = refusal(result.data?.cancelPartitionBackfill, result.error);
    if (problem !== undefined) bad(problem);
    else good("The backfill is asked to end.");
  };
  const resume = async () => {
    const result = await client.mutation(ResumeBackfillDocument, { id }).toPromise();
    const answer = result.data?.resumePartitionBackfill;
    const problem = refusal(answer, result.error);
    if (problem !== undefined) bad(problem);
    else if (answer?.__typename === "ResumeBackfillSuccess") {
      good(`Backfill ${answer.backfillId} runs what did not succeed.`);
      go(`/backfills/${answer.backfillId}`);
    }
  };
  return (
    <>
      <PageTitle
        title={`Backfill ${found.id}`}
        sub={
          <Group gap="md">
            <Status of={found.status} />
            <JobLink location={found.repositoryLocationName} job={found.jobName} />
            <When at={found.timestamp} />
            {found.atOnce && <span>{found.atOnce} at a time</span>}
            <span>{found.title}</span>
          </Group>
        }
      >
        {found.isCancelable && (
          <Confirmed
            label="Cancel"
            question="Launch no more of its runs, and cancel those that go on?"
            disabled={!may}
            onYes={cancel}
          />
        )}
        {found.isResumable && (
          <Button size="xs" variant="default" disabled={!may} onClick={resume}>
            Run what did not succeed
          </Button>
        )}
        <Button
          size="xs"
          variant="default"
          component={Link}
          href={`/runs?q=${encodeURIComponent(`tag:opgrid/backfill=${found.id}`)}`}
        >
          Its runs
        </Button>
      </PageTitle>
      {found.error && <Problem>{found.error.message}</Problem>}
      <div className="panel">
        <header>
          <Bar backfill={found} />
        </header>
        <div style={{ padding: 10 }}>
          <Cells
            keys={found.partitionNames.slice(0, 5000)}
            states={states}
            onClick={(key) => {
              const run = states[key]?.[0];
              if (run) go(`/runs/${run}`);
            }}
          />
        </div>
      </div>
    </>
  );
}
