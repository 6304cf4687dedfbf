/** One schedule or sensor: what it did, what it would do, where it stands. */
import { Button, Group, Tabs, Text, Textarea, Tooltip } from "@mantine/core";
import { useState } from "react";
import { useClient } from "urql";
import {
  type DryFragment,
  DryScheduleDocument,
  DrySensorDocument,
  type RunRowFragment,
  SchedulePageDocument,
  SensorPageDocument,
  SetCursorDocument,
  type TickFragment,
} from "../api/gql";
import { useLive } from "../api/live";
import { Empty, ErrorBox, JobLink, PageTitle, Problem, Waiting, When } from "../components/Bits";
import { Dialog } from "../components/Dialog";
import { useMessages } from "../components/Messages";
import { RunTable } from "../components/RunTable";
import { usePermission } from "../components/Shell";
import { TickStrip, TickTable } from "../components/Ticks";
import { refusal } from "../lib/results";
import { duration, exact, moment } from "../lib/time";
import { cronWords, Toggle } from "./Automation";

export function SchedulePage({ location, name }: { location: string; name: string }) {
  const selector = { repositoryLocationName: location, scheduleName: name };
  const client = useClient();
  const { bad } = useMessages();
  const { data, error } = useLive(SchedulePageDocument, { selector }, ["TICKS", "AUTOMATION", "LOCATIONS"]);
  const [dry, setDry] = useState<DryFragment | null>(null);
  if (!data) return <Waiting error={error} />;
  const schedule = data.scheduleOrError;
  if (schedule.__typename !== "Schedule") return <Problem title={name}>{schedule.message}</Problem>;
  const tryIt = async () => {
    const result = await client.mutation(DryScheduleDocument, { selector, timestamp: null }).toPromise();
    const answer = result.data?.scheduleDryRun;
    if (answer?.__typename === "DryRunInstigationTick") setDry(answer);
    else bad(refusal(answer, result.error) ?? "There is no answer.");
  };
  return (
    <>
      <PageTitle
        title={schedule.name}
        sub={
          <Group gap="md">
            <span>
              {cronWords(schedule.cronSchedule)} ({schedule.cronSchedule}, {schedule.executionTimezone})
            </span>
            {schedule.jobNames.map((job) => (
              <JobLink key={job} location={location} job={job} />
            ))}
          </Group>
        }
      >
        <Toggle kind="schedule" location={location} name={name} running={schedule.scheduleState.status === "RUNNING"} />
        <Try onTry={tryIt} />
      </PageTitle>
      {schedule.description && <Text size="sm">{schedule.description}</Text>}
      <Group mb="sm" gap={6}>
        <Text size="sm" className="quiet">
          {schedule.scheduleState.status === "RUNNING" ? "Next ticks" : "It would tick"}
        </Text>
        {schedule.futureTicks.map((at) => (
          <Tooltip key={at} label={exact(at)}>
            <span className="tag">{moment(at)}</span>
          </Tooltip>
        ))}
      </Group>
      <History ticks={schedule.scheduleState.ticks} runs={schedule.scheduleState.runs} />
      <DryRun dry={dry} close={() => setDry(null)} />
    </>
  );
}

export function SensorPage({ location, name }: { location: string; name: string }) {
  const selector = { repositoryLocationName: location, sensorName: name };
  const client = useClient();
  const { good, bad } = useMessages();
  const [may] = usePermission("automate");
  const { data, error } = useLive(SensorPageDocument, { selector }, ["TICKS", "AUTOMATION", "LOCATIONS"]);
  const [dry, setDry] = useState<DryFragment | null>(null);
  const [editing, setEditing] = useState<string | null>(null);
  if (!data) return <Waiting error={error} />;
  const sensor = data.sensorOrError;
  if (sensor.__typename !== "Sensor") return <Problem title={name}>{sensor.message}</Problem>;
  const tryIt = async () => {
    const result = await client.mutation(DrySensorDocument, { selector, cursor: null }).toPromise();
    const answer = result.data?.sensorDryRun;
    if (answer?.__typename === "DryRunInstigationTick") setDry(answer);
    else bad(refusal(answer, result.error) ?? "There is no answer.");
  };
  const setCursor = async (cursor: string | null) => {
    const result = await client.mutation(SetCursorDocument, { selector, cursor }).toPromise();
    const problem = refusal(result.data?.setSensorCursor, result.error);
    if (problem !== undefined) bad(problem);
    else good("The cursor is set.");
    setEditing(null);
  };
  return (
    <>
      <PageTitle
        title={sensor.name}
        sub={
          <Group gap="md">
            <span>
              {sensor.runStatus
                ? `on runs that are ${sensor.runStatus}`
                : `every ${duration(sensor.minIntervalSeconds)}, at most`}
            </span>
            {sensor.jobNames.map((job) => (
              <JobLink key={job} location={location} job={job} />
            ))}
          </Group>
        }
      >
        <Toggle kind="sensor" location={location} name={name} running={sensor.sensorState.status === "RUNNING"} />
        {!sensor.runStatus && <Try onTry={tryIt} />}
      </PageTitle>
      {sensor.description && <Text size="sm">{sensor.description}</Text>}
      <Group mb="sm" gap="xs">
        <Text size="sm">
          Cursor: <span className="mono">{sensor.sensorState.cursor ?? "none"}</span>
        </Text>
        <Button
          size="compact-xs"
          variant="default"
          disabled={!may}
          onClick={() => setEditing(sensor.sensorState.cursor ?? "")}
        >
          Edit
        </Button>
      </Group>
      <History ticks={sensor.sensorState.ticks} runs={sensor.sensorState.runs} />
      <DryRun dry={dry} close={() => setDry(null)} />
      <Dialog opened={editing !== null} onClose={() => setEditing(null)} title="Cursor">
        <Textarea
          data-autofocus
          label="Where the sensor goes on"
          autosize
          minRows={2}
          value={editing ?? ""}
          onChange={(event) => setEditing(event.currentTarget.value)}
        />
        <Group justify="flex-end" mt="md">
          <Button variant="default" onClick={() => setCursor(null)}>
            Delete it
          </Button>
          <Button onClick={() => setCursor(editing)}>Set</Button>
        </Group>
      </Dialog>
    </>
  );
}

function Try({ onTry }: { onTry: () => Promise<void> }) {
  const [busy, setBusy] = useState(false);
  const [may, whyNot] = usePermission("automate");
  return (
    <Button
      size="xs"
      variant="default"
      loading={busy}
      disabled={!may}
      title={whyNot || undefined}
      onClick={async () => {
        setBusy(true);
        await onTry();
        setBusy(false);
      }}
    >
      Dry run
    </Button>
  );
}

function History({ ticks, runs }: { ticks: readonly TickFragment[]; runs: readonly RunRowFragment[] }) {
  return (
    <Tabs defaultValue="ticks" keepMounted={false}>
      <Tabs.List>
        <Tabs.Tab value="ticks">Ticks</Tabs.Tab>
        <Tabs.Tab value="runs">Runs</Tabs.Tab>
      </Tabs.List>
      <Tabs.Panel value="ticks" pt="xs">
        <div className="panel">
          <header>
            <TickStrip ticks={ticks.slice(0, 100)} />
          </header>
          <TickTable ticks={ticks} />
        </div>
      </Tabs.Panel>
      <Tabs.Panel value="runs" pt="xs">
        <div className="panel">
          <RunTable runs={runs} />
        </div>
      </Tabs.Panel>
    </Tabs>
  );
}

function DryRun({ dry, close }: { dry: DryFragment | null; close: () => void }) {
  const found = dry?.evaluationResult;
  return (
    <Dialog opened={dry !== null} onClose={close} size="lg" title="Dry run: nothing was launched">
      {dry && (
        <Text size="sm" mb="xs">
          A tick at <When at={dry.timestamp} /> would:
        </Text>
      )}
      {found?.error && <ErrorBox error={found.error} />}
      {found?.skipReason && <Text size="sm">skip: {found.skipReason}</Text>}
      {found?.runRequests.map((request, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: requests have no other name
        <div key={index} className="panel" style={{ marginBottom: 8 }}>
          <header>
            launch {request.jobName} {request.runKey && <span className="quiet">run key {request.runKey}</span>}
          </header>
          <pre className="code">{request.runConfigYaml || "(no run config)"}</pre>
          <Group p={6} gap={4}>
            {request.tags.map((tag) => (
              <span key={tag.key} className="tag">
                {tag.key}={tag.value}
              </span>
            ))}
          </Group>
        </div>
      ))}
      {found && !found.error && !found.skipReason && found.runRequests.length === 0 && <Empty>launch nothing.</Empty>}
      {found?.cursor && (
        <Text size="sm">
          set the cursor to <span className="mono">{found.cursor}</span>
        </Text>
      )}
      {found && found.log.length > 0 && <pre className="code">{found.log.join("\n")}</pre>}
    </Dialog>
  );
}
