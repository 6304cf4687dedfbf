/** One run: what it did when, where it stands, what it said, and what can be done with it. */
import { Button, Group, Menu, SegmentedControl, Tabs, Text, TextInput, Tooltip } from "@mantine/core";
import { lazy, Suspense, useCallback, useDeferredValue, useEffect, useMemo, useRef, useState } from "react";
import { useClient } from "urql";
import { Link, useLocation, useSearchParams } from "wouter";
import { address, passing } from "../api/client";
import {
  AnswerApprovalDocument,
  DeleteRunDocument,
  type ReexecutionStrategy,
  RelaunchDocument,
  RunPageDocument,
  type RunPageQuery,
  RunTimelineDocument,
  TerminateDocument,
} from "../api/gql";
import { AGAIN, useChanges, useLive } from "../api/live";
import {
  Asked,
  Confirmed,
  JobLink,
  jobPath,
  PageTitle,
  Problem,
  Status,
  Took,
  useNow,
  Waiting,
  When,
} from "../components/Bits";
import { Dialog } from "../components/Dialog";
import { Gantt, WorkerGantt } from "../components/Gantt";
import { Icon } from "../components/Icons";
import { Log } from "../components/Log";
import { useMessages } from "../components/Messages";
import { usePermission, useShell } from "../components/Shell";
import { StepPanel } from "../components/StepPanel";
import { write } from "../lib/filter";
import { tasksOfRun } from "../lib/flower";
import { refusal } from "../lib/results";
import { isFinal, look, worst } from "../lib/status";
import {
  type Brief,
  bounds,
  countBy,
  merge,
  type Plan,
  rowsOf,
  type StepTimes,
  unbegun,
  unbegunOf,
  unfolded,
} from "../lib/steps";

const RunGraph = lazy(() => import("../components/RunGraph"));
const Rerun = lazy(() => import("../components/Rerun"));

export type RunData = Extract<RunPageQuery["runOrError"], { __typename: "Run" }>;

/** The steps of a run, kept current: at first all, then those that have changed. */
function useTimeline(runId: string): { steps: Map<string, StepTimes>; loaded: boolean; problem: string | undefined } {
  const [steps, setSteps] = useState<Map<string, StepTimes>>(new Map());
  const [loaded, setLoaded] = useState(false);
  const [problem, setProblem] = useState<string>();
  const last = useRef(0);
  const busy = useRef(false);
  const again = useRef(false);
  const load = useCallback(async () => {
    if (busy.current) {
      again.current = true;
      return;
    }
    busy.current = true;
    const variables = { runId, after: last.current };
    const result = await passing.query(RunTimelineDocument, variables, { requestPolicy: "network-only" }).toPromise();
    busy.current = false;
    if (result.data?.runOrError.__typename === "Run") {
      const found = result.data.runOrError.timeline as Brief;
      last.current = found.last;
      setSteps((before) => merge(before, unfolded(found)));
      setLoaded(true);
    }
    setProblem(result.error?.message);
    if (again.current) {
      again.current = false;
      void load();
    }
  }, [runId]);
  useEffect(() => void load(), [load]);
  useChanges(["RUNS"], () => void load(), runId, 250);
  useEffect(() => {
    if (!problem) return;
    const timer = setInterval(() => void load(), AGAIN);
    return () => clearInterval(timer);
  }, [problem, load]);
  return { steps, loaded, problem };
}

/** ``id`` may be the beginning of one: the address then becomes that of the run. */
export function RunPage({ id }: { id: string }) {
  const [, go] = useLocation();
  const { data, error } = useLive(RunPageDocument, { runId: id }, ["RUNS"], { runId: id });
  const whole = data?.runOrError.__typename === "Run" ? data.runOrError.runId : id;
  useEffect(() => {
    if (whole !== id) go(`/runs/${whole}`, { replace: true });
  }, [whole, id, go]);
  if (!data) return <Waiting error={error} />;
  if (data.runOrError.__typename !== "Run") {
    return (
      <>
        <PageTitle title={`Run ${id.slice(0, 8)}`} />
        <Problem title="This run cannot be shown">{data.runOrError.message}</Problem>
      </>
    );
  }
  const group = data.runGroupOrError.__typename === "RunGroup" ? data.runGroupOrError.runs : [];
  return <Shown run={data.runOrError} group={group} />;
}

type Related = { runId: string; status: string; creationTime: number; parentRunId?: string | null };

function Shown({ run, group }: { run: RunData; group: Related[] }) {
  const [search, setSearch] = useSearchParams();
  const { steps, loaded, problem } = useTimeline(run.runId);
  const chosen = search.get("step");
  const view = search.get("view") ?? "gantt";
  const set = useCallback(
    (name: string, value: string | null) =>
      setSearch(
        (before) => {
          const next = new URLSearchParams(before);
          if (value === null) next.delete(name);
          else next.set(name, value);
          return next;
        },
        { replace: true },
      ),
    [setSearch],
  );
  const choose = useCallback((key: string | null) => set("step", key), [set]);
  const location = run.repositoryOrigin?.repositoryLocationName;
  const plan = run.plan as Plan;
  return (
    <>
      <PageTitle
        title={`Run ${run.runId.slice(0, 8)}`}
        sub={
          <Group gap="md">
            <Status of={run.status} />
            <span>
              <JobLink location={location} job={run.jobName} /> on {run.executor}
            </span>
            <span>
              launched <When at={run.creationTime} />
            </span>
            {run.startTime && (
              <Tooltip label="From start to end; the wait in the queue is not in it.">
                <span>
                  took <Took start={run.startTime} end={run.endTime} />
                </span>
              </Tooltip>
            )}
            <span>
              queued for <Took start={run.creationTime} end={run.startTime ?? run.endTime} />
            </span>
          </Group>
        }
      >
        <Actions run={run} chosen={chosen} />
      </PageTitle>
      <Notices run={run} />
      <Approvals run={run} />
      <Group gap={4} mb="xs">
        {run.tags.map((tag) => (
          <Link
            key={tag.key}
            className="tag"
            href={`/runs?q=${encodeURIComponent(write([{ kind: "tag", value: `${tag.key}=${tag.value}` }]))}`}
            style={{ textDecoration: "none" }}
          >
            {tag.key}={tag.value}
          </Link>
        ))}
        {group.length > 1 && <Family run={run} group={group} />}
      </Group>
      <Steps
        run={run}
        plan={plan}
        steps={steps}
        loaded={loaded}
        problem={problem}
        view={view}
        setView={(value) => set("view", value)}
        chosen={chosen}
        choose={choose}
      />
      <Tabs value={search.get("tab") ?? "events"} onChange={(value) => set("tab", value)} mt="md" keepMounted={false}>
        <Tabs.List>
          <Tabs.Tab value="events">Events</Tabs.Tab>
          <Tabs.Tab value="output">Output of steps</Tabs.Tab>
          <Tabs.Tab value="config">Config</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="events" pt="xs">
          <Log runId={run.runId} step={chosen} onStep={choose} live={!isFinal(run.status)} />
        </Tabs.Panel>
        <Tabs.Panel value="output" pt="xs">
          <Log runId={run.runId} step={chosen} onStep={choose} live={!isFinal(run.status)} raw />
        </Tabs.Panel>
        <Tabs.Panel value="config" pt="xs">
          <div className="panel">
            <pre className="code">{run.runConfigYaml || "No run config was given."}</pre>
          </div>
        </Tabs.Panel>
      </Tabs>
    </>
  );
}

function Notices({ run }: { run: RunData }) {
  return (
    <>
      {run.whyWaiting && (
        <Text size="sm" mb="xs">
          <Icon name="clock" className="wait" style={{ verticalAlign: "text-bottom" }} /> It waits: {run.whyWaiting}
        </Text>
      )}
      {run.whyStepsWait.map((why) => (
        <Text key={why} size="sm" mb="xs">
          <Icon name="clock" className="wait" style={{ verticalAlign: "text-bottom" }} /> {why}
        </Text>
      ))}
      {run.cancelReason && !isFinal(run.status) && (
        <Text size="sm" mb="xs">
          It was asked to end: {run.cancelReason}
        </Text>
      )}
    </>
  );
}

/** What waits for somebody to say yes or no. */
function Approvals({ run }: { run: RunData }) {
  const client = useClient();
  const { good, bad } = useMessages();
  const [may, whyNot] = usePermission("launch");
  const [notes, setNotes] = useState<Record<string, string>>({});
  if (isFinal(run.status)) return null;
  const answer = async (stepKey: string, approved: boolean) => {
    const variables = { runId: run.runId, stepKey, approved, note: notes[stepKey] ?? null };
    const result = await client.mutation(AnswerApprovalDocument, variables).toPromise();
    const problem = refusal(result.data?.answerApproval, result.error);
    if (problem !== undefined) bad(problem);
    else good(`${approved ? "Approved" : "Rejected"} ${stepKey}.`);
  };
  return run.approvals
    .filter((each) => typeof each.approved !== "boolean")
    .map((each) => (
      <section
        key={each.stepKey}
        className="panel"
        aria-label={`Approval of ${each.stepKey}`}
        style={{ marginBottom: 10, padding: 10 }}
      >
        <Group gap="sm" align="flex-end">
          <div style={{ flex: "1 1 250px", overflowWrap: "anywhere" }}>
            <Text size="sm">
              <Icon name="clock" className="wait" style={{ verticalAlign: "text-bottom" }} /> <b>{each.stepKey}</b>{" "}
              waits for an approval since <When at={each.since} />
              {each.due && (
                <>
                  , until <When at={each.due} />
                </>
              )}
            </Text>
            <Text style={{ whiteSpace: "pre-wrap" }}>{each.question}</Text>
          </div>
          <TextInput
            size="xs"
            aria-label="Note"
            placeholder="Note"
            value={notes[each.stepKey] ?? ""}
            onChange={(event) => setNotes({ ...notes, [each.stepKey]: event.currentTarget.value })}
          />
          <Button size="xs" disabled={!may} title={whyNot || undefined} onClick={() => answer(each.stepKey, true)}>
            Approve
          </Button>
          <Button size="xs" variant="default" disabled={!may} onClick={() => answer(each.stepKey, false)}>
            Reject
          </Button>
        </Group>
      </section>
    ));
}

function Family({ run, group }: { run: RunData; group: Related[] }) {
  return (
    <Menu>
      <Menu.Target>
        <Button size="compact-xs" variant="default">
          {group.length} runs of the same origin
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        {group.map((each) => (
          <Menu.Item key={each.runId} component={Link} href={`/runs/${each.runId}`}>
            <Group gap="xs">
              <Status of={each.status}>{each.runId.slice(0, 8)}</Status>
              <When at={each.creationTime} />
              {each.runId === run.runId && <span className="quiet">this one</span>}
            </Group>
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}

const SHOWN = ["FAILURE", "RUNNING", "DISPATCHED", "WAITING", "SUCCESS", "SKIPPED", "CANCELED", "PENDING", "NOT_RUN"];

function Steps({
  run,
  plan,
  steps,
  loaded,
  problem,
  view,
  setView,
  chosen,
  choose,
}: {
  run: RunData;
  plan: Plan;
  steps: Map<string, StepTimes>;
  loaded: boolean;
  problem: string | undefined;
  view: string;
  setView: (view: string) => void;
  chosen: string | null;
  choose: (key: string | null) => void;
}) {
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const [only, setOnly] = useState<ReadonlySet<string>>(new Set());
  const [zoom, setZoom] = useState(1);
  const [text, setText] = useState("");
  const sought = useDeferredValue(text);
  const going = !isFinal(run.status);
  const now = useNow(500, going);
  const rows = useMemo(
    () => rowsOf(plan, steps, open, only.size ? only : null, worst, going, sought),
    [plan, steps, open, only, going, sought],
  );
  const counts = useMemo(() => {
    const found = countBy(steps.values());
    const status = unbegun(going);
    const count = unbegunOf(plan, steps);
    if (count > 0) found[status] = (found[status] ?? 0) + count;
    return found;
  }, [steps, plan, going]);
  const [start, end] = useMemo(
    () => bounds(steps.values(), run.creationTime, run.endTime ?? null, going ? now : 0),
    [steps, run.creationTime, run.endTime, going, now],
  );
  const toggle = useCallback(
    (key: string) =>
      setOpen((before) => {
        const after = new Set(before);
        if (!after.delete(key)) after.add(key);
        return after;
      }),
    [],
  );
  return (
    <div className={chosen ? "split two" : "split"}>
      <section className="panel" aria-label="Steps">
        <header style={{ flexWrap: "wrap" }}>
          <SegmentedControl
            size="xs"
            aria-label="View of the steps"
            value={view}
            onChange={setView}
            data={[
              { value: "gantt", label: "Gantt" },
              { value: "workers", label: "By worker" },
              { value: "graph", label: "Graph" },
            ]}
          />
          <Group gap={6}>
            {SHOWN.filter((status) => loaded && (counts[status] || only.has(status))).map((status) => (
              <button
                key={status}
                type="button"
                className="tag"
                aria-pressed={only.has(status)}
                style={only.has(status) ? { outline: "2px solid var(--going)" } : undefined}
                onClick={() =>
                  setOnly((before) => {
                    const after = new Set(before);
                    if (!after.delete(status)) after.add(status);
                    return after;
                  })
                }
              >
                <Status of={status}>
                  {counts[status] ?? 0} {look(status).text.toLowerCase()}
                </Status>
              </button>
            ))}
          </Group>
          {view === "gantt" && (
            <TextInput
              size="xs"
              w={150}
              aria-label="Find a step"
              placeholder="Find a step"
              value={text}
              onChange={(event) => setText(event.currentTarget.value)}
            />
          )}
          {view !== "graph" && (
            <Group gap={4} ml="auto">
              <Text size="xs" component="label" htmlFor="zoom" fw={400}>
                Zoom
              </Text>
              <input
                id="zoom"
                type="range"
                min={0}
                max={8}
                step={0.5}
                value={Math.log2(zoom)}
                onChange={(event) => setZoom(2 ** Number(event.target.value))}
              />
            </Group>
          )}
        </header>
        {!loaded ? (
          <Waiting error={problem} />
        ) : view === "graph" ? (
          <Suspense fallback={<Waiting />}>
            <RunGraph plan={plan} steps={steps} going={going} chosen={chosen} choose={choose} />
          </Suspense>
        ) : view === "workers" ? (
          <WorkerGantt steps={steps} start={start} end={end} now={now} zoom={zoom} choose={choose} chosen={chosen} />
        ) : (
          <Gantt
            rows={rows}
            start={start}
            end={end}
            now={now}
            zoom={zoom}
            chosen={chosen}
            choose={choose}
            toggle={toggle}
          />
        )}
      </section>
      {chosen && (
        <StepPanel
          runId={run.runId}
          stepKey={chosen}
          step={steps.get(chosen)}
          planned={plan.steps.find((each) => each.key === (steps.get(chosen)?.node ?? chosen.replace(/\[.*$/, "")))}
          close={() => choose(null)}
          live={going}
        />
      )}
    </div>
  );
}

function Actions({ run, chosen }: { run: RunData; chosen: string | null }) {
  const client = useClient();
  const [, go] = useLocation();
  const { good, bad } = useMessages();
  const [mayLaunch, whyNot] = usePermission("launch");
  const [mayDelete] = usePermission("delete");
  const [changing, setChanging] = useState(false);
  const [deleting, setDeleting] = useState(false);
  const location = run.repositoryOrigin?.repositoryLocationName ?? "";
  const failed = run.status === "FAILURE" || run.status === "CANCELED";
  const relaunch = async (strategy: ReexecutionStrategy, stepKeys?: string[]) => {
    const selector = { repositoryLocationName: location, jobName: run.jobName };
    const params = stepKeys ? { selector, stepKeys, executionMetadata: { parentRunId: run.runId } } : null;
    const how = { parentRunId: run.runId, strategy };
    const result = await client.mutation(RelaunchDocument, { params, how }).toPromise();
    const answer = result.data?.launchRunReexecution;
    const problem = refusal(answer, result.error);
    if (problem !== undefined) bad(problem);
    else if (answer?.__typename === "LaunchRunSuccess") {
      good(`Launched ${answer.run.runId.slice(0, 8)}.`);
      go(`/runs/${answer.run.runId}`);
    }
  };
  const remove = async () => {
    const result = await client.mutation(DeleteRunDocument, { runId: run.runId }).toPromise();
    const problem = refusal(result.data?.deleteRun, result.error);
    if (problem !== undefined) bad(problem);
    else go("/runs");
  };
  const end = async (force: boolean) => {
    const policy = force ? ("MARK_AS_CANCELED_IMMEDIATELY" as const) : null;
    const result = await client.mutation(TerminateDocument, { runIds: [run.runId], policy }).toPromise();
    const answer = result.data?.terminateRuns;
    const inner = answer?.__typename === "TerminateRunsResult" ? answer.terminateRunResults[0] : answer;
    const problem = refusal(inner, result.error);
    if (problem !== undefined) bad(problem);
    else good("The run is asked to end.");
  };
  return (
    <>
      {!isFinal(run.status) && (
        <>
          <Confirmed
            label="Cancel"
            question="Cancel this run? Steps that run are stopped."
            disabled={!mayLaunch}
            onYes={() => end(false)}
          >
            Cancel
          </Confirmed>
          {run.cancelReason && (
            <Confirmed
              label="Mark as canceled"
              question="Mark it as canceled at once, whatever still runs of it?"
              disabled={!mayLaunch}
              onYes={() => end(true)}
            />
          )}
        </>
      )}
      <Menu position="bottom-end">
        <Menu.Target>
          <Button size="xs" rightSection={<Icon name="down" />} disabled={!mayLaunch} title={whyNot || undefined}>
            Re-execute
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item onClick={() => relaunch("ALL_STEPS")}>All steps</Menu.Item>
          <Menu.Item disabled={!failed} onClick={() => relaunch("FROM_FAILURE")}>
            From failure
          </Menu.Item>
          <Menu.Item disabled={!chosen} onClick={() => chosen && relaunch("ALL_STEPS", [chosen])}>
            The chosen step{chosen ? `: ${chosen}` : ""}
          </Menu.Item>
          <Menu.Item disabled={!chosen} onClick={() => chosen && relaunch("ALL_STEPS", [`${chosen}*`])}>
            From the chosen step on
          </Menu.Item>
          <Menu.Item disabled={!location} onClick={() => setChanging(true)}>
            With changes…
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
      <Menu position="bottom-end">
        <Menu.Target>
          <Button size="xs" variant="default" aria-label="More">
            …
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          {location && (
            <Menu.Item component={Link} href={`${jobPath(location, run.jobName, "launchpad")}?run=${run.runId}`}>
              Open in the Launchpad
            </Menu.Item>
          )}
          <Menu.Item component="a" href={address(`download_debug/${run.runId}`)} leftSection={<Icon name="download" />}>
            Download for debugging
          </Menu.Item>
          <FlowerLink run={run} />
          <Menu.Divider />
          <Menu.Item
            color="red"
            disabled={!mayDelete || !isFinal(run.status)}
            leftSection={<Icon name="trash" />}
            onClick={() => setDeleting(true)}
          >
            Delete
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
      <Asked
        opened={deleting}
        close={() => setDeleting(false)}
        title="Delete"
        question="Delete this run and its log for good?"
        color="red"
        onYes={remove}
      />
      <Dialog opened={changing} onClose={() => setChanging(false)} title="Re-execute with changes" size="xl">
        {changing && (
          <Suspense fallback={<Waiting />}>
            <Rerun run={run} close={() => setChanging(false)} />
          </Suspense>
        )}
      </Dialog>
    </>
  );
}

function FlowerLink({ run }: { run: RunData }) {
  const flower = useShell()?.instance.flowerUrl;
  if (!flower || run.executor !== "celery") return null;
  return (
    <Menu.Item
      component="a"
      href={tasksOfRun(flower, run.runId)}
      target="_blank"
      rel="noreferrer"
      leftSection={<Icon name="external" />}
    >
      Tasks in Flower
    </Menu.Item>
  );
}
