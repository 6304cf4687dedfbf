/** What ran, what runs and what will: a row a job on an axis of time. */
import { Button, Group, SegmentedControl, Text, Tooltip } from "@mantine/core";
import { useMemo, useState } from "react";
import { Link } from "wouter";
import { OverviewDocument, type RunRowFragment } from "../api/gql";
import { useLive } from "../api/live";
import { Empty, JobLink, PageTitle, RunLink, Status, useNow, Waiting, When } from "../components/Bits";
import { Icon } from "../components/Icons";
import { RunTable } from "../components/RunTable";
import { isFinal, look } from "../lib/status";
import { clock, duration, exact, ticks } from "../lib/time";
import { counted } from "../lib/words";

const SPANS: Record<string, number> = { "1 h": 3600, "6 h": 6 * 3600, "24 h": 24 * 3600, "7 d": 7 * 86400 };

export function Overview() {
  const [span, setSpan] = useState("1 h");
  const [back, setBack] = useState(0);
  const now = useNow(5000);
  const seconds = SPANS[span] ?? 3600;
  const edge = Math.floor(now / 30) * 30;
  const start = edge - seconds * 0.8 - back * seconds;
  const end = start + seconds;
  const { data, error } = useLive(OverviewDocument, { start, end }, ["RUNS", "AUTOMATION", "LOCATIONS"], {
    every: 800,
  });
  const [held, setHeld] = useState(data);
  if (data && held !== data) setHeld(data);
  const shown = data ?? held;
  const open = shown?.runsBetween.runs.filter((run) => !isFinal(run.status)) ?? [];
  const failed = shown?.runsBetween.runs.filter((run) => run.status === "FAILURE") ?? [];
  return (
    <>
      <PageTitle
        title="Overview"
        sub={shown && `${counted(open.length, "run")} in progress, ${failed.length} failed in the last ${span}`}
      >
        <SegmentedControl
          size="xs"
          aria-label="Span of time"
          value={span}
          onChange={(value) => {
            setSpan(value);
            setBack(0);
          }}
          data={Object.keys(SPANS)}
        />
        <Button size="xs" variant="default" aria-label="Earlier" onClick={() => setBack(back + 0.5)}>
          ←
        </Button>
        <Button
          size="xs"
          variant="default"
          aria-label="Later"
          disabled={back === 0}
          onClick={() => setBack(Math.max(0, back - 0.5))}
        >
          →
        </Button>
      </PageTitle>
      {!shown ? (
        <Waiting error={error} />
      ) : (
        <>
          {shown.runsBetween.truncated && (
            <Text size="sm" mb="xs" className="quiet">
              Not all runs of this span are shown.
            </Text>
          )}
          <Timeline
            runs={shown.runsBetween.runs}
            schedules={shown.schedulesOrError.__typename === "Schedules" ? shown.schedulesOrError.results : []}
            start={start}
            end={end}
            now={now}
          />
          {shown.waitingApprovals.length > 0 && (
            <>
              <h2 className="section">Waiting for an approval</h2>
              <div className="panel">
                <table className="rows">
                  <thead>
                    <tr>
                      <th>Run</th>
                      <th>Step</th>
                      <th>Question</th>
                      <th>Asked</th>
                    </tr>
                  </thead>
                  <tbody>
                    {shown.waitingApprovals.map((each) => (
                      <tr key={each.runId + each.stepKey}>
                        <td>
                          <RunLink id={each.runId} />
                        </td>
                        <td>{each.stepKey}</td>
                        <td>{each.question}</td>
                        <td>
                          <When at={each.since} />
                        </td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
            </>
          )}
          <h2 className="section">In progress</h2>
          <div className="panel">
            {open.length ? <RunTable runs={open.slice(0, 20)} /> : <Empty>Nothing runs.</Empty>}
          </div>
          {failed.length > 0 && (
            <>
              <h2 className="section">Failed</h2>
              <div className="panel">
                <RunTable runs={failed.slice(0, 10)} />
              </div>
            </>
          )}
        </>
      )}
    </>
  );
}

type Planned = {
  name: string;
  repositoryLocationName: string;
  jobNames: readonly string[];
  futureTicks: readonly number[];
  scheduleState: { status: string };
};

function Timeline({
  runs,
  schedules,
  start,
  end,
  now,
}: {
  runs: readonly RunRowFragment[];
  schedules: readonly Planned[];
  start: number;
  end: number;
  now: number;
}) {
  const rows = useMemo(() => {
    const found = new Map<
      string,
      { job: string; location: string | undefined; runs: RunRowFragment[]; future: { at: number; by: string }[] }
    >();
    const of = (job: string, location: string | undefined) => {
      let row = found.get(job);
      if (!row) {
        row = { job, location, runs: [], future: [] };
        found.set(job, row);
      }
      return row;
    };
    for (const run of runs) of(run.jobName, run.repositoryOrigin?.repositoryLocationName).runs.push(run);
    for (const schedule of schedules)
      if (schedule.scheduleState.status === "RUNNING")
        for (const job of schedule.jobNames)
          of(job, schedule.repositoryLocationName).future.push(
            ...schedule.futureTicks.map((at) => ({ at, by: schedule.name })),
          );
    return [...found.values()].sort((a, b) => a.job.localeCompare(b.job));
  }, [runs, schedules]);
  const place = (at: number) => ((at - start) / (end - start)) * 100;
  const zone = new Date().getTimezoneOffset() * 60;
  const label = (at: number) =>
    end - start > 86400 * 2
      ? new Date(at * 1000).toLocaleDateString(undefined, { month: "short", day: "numeric" })
      : clock(at).slice(0, 5);
  if (rows.length === 0)
    return (
      <div className="panel">
        <Empty>
          No run in this span of time. Launch one from <Link href="/jobs">a job</Link>.
        </Empty>
      </div>
    );
  return (
    <section className="panel" aria-label="Timeline">
      <div className="lane-row" style={{ height: 24 }}>
        <div className="who" />
        <div className="lane axis" style={{ height: 24, borderBottom: 0 }} aria-hidden="true">
          <div className="ticks">
            {ticks(start, end, 9, zone % 86400).map((at) => (
              <span key={at} style={{ left: `${place(at)}%`, borderLeft: "1px solid var(--line)", paddingLeft: 2 }}>
                {label(at)}
              </span>
            ))}
          </div>
        </div>
      </div>
      {rows.map((row) => (
        <div key={row.job} className="lane-row">
          <div className="who">
            <JobLink location={row.location} job={row.job} />
          </div>
          <div className="lane">
            {row.runs.map((run) => {
              const from = Math.max(run.startTime ?? run.creationTime, start);
              const to = run.endTime ?? now;
              const { tone, text } = look(run.status);
              const said = `${run.runId.slice(0, 8)}: ${text}, ${exact(run.creationTime)}, ${duration(to - (run.startTime ?? run.creationTime))}`;
              return (
                <Tooltip key={run.runId} label={said}>
                  <Link
                    href={`/runs/${run.runId}`}
                    aria-label={said}
                    className={`run bar ${tone}`}
                    style={{
                      left: `${place(from)}%`,
                      width: `${Math.max(0, place(to) - place(from))}%`,
                      top: 6,
                      height: 18,
                    }}
                  />
                </Tooltip>
              );
            })}
            {row.future.map(({ at, by }) => (
              <Tooltip key={`${by} ${at}`} label={`${by} at ${exact(at)}`}>
                <span className="future" style={{ left: `${place(at)}%` }} />
              </Tooltip>
            ))}
            {now > start && now < end && (
              <span
                style={{
                  position: "absolute",
                  left: `${place(now)}%`,
                  top: 0,
                  bottom: 0,
                  borderLeft: "1.5px solid var(--going)",
                }}
                aria-hidden="true"
              />
            )}
          </div>
        </div>
      ))}
      <Group p={6} gap="md">
        {["SUCCESS", "FAILURE", "STARTED", "CANCELED"].map((status) => (
          <Status key={status} of={status} />
        ))}
        <span className="status off">
          <Icon name="clock" /> Dashed: a tick to come
        </span>
      </Group>
    </section>
  );
}
