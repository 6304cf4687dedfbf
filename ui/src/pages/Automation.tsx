/** Schedules and sensors of all code locations. */
import { Switch, Tooltip } from "@mantine/core";
import cronstrue from "cronstrue";
import { useClient } from "urql";
import { Link } from "wouter";
import {
  AutomationDocument,
  StartScheduleDocument,
  StartSensorDocument,
  StopScheduleDocument,
  StopSensorDocument,
} from "../api/gql";
import { useLive } from "../api/live";
import { Empty, JobLinks, PageTitle, Problem, Waiting, When } from "../components/Bits";
import { useMessages } from "../components/Messages";
import { usePermission } from "../components/Shell";
import { TickStrip } from "../components/Ticks";
import { refusal } from "../lib/results";
import { duration } from "../lib/time";

/** A cron line in words; itself where it has none. */
export function cronWords(text: string): string {
  return text
    .split(" | ")
    .map((each) => {
      try {
        return cronstrue.toString(each, { use24HourTimeFormat: true });
      } catch {
        return each;
      }
    })
    .join("; ");
}

export function Toggle({
  kind,
  location,
  name,
  running,
}: {
  kind: "schedule" | "sensor";
  location: string;
  name: string;
  running: boolean;
}) {
  const client = useClient();
  const { good, bad } = useMessages();
  const [may, whyNot] = usePermission("automate");
  const change = async () => {
    const place = { repositoryLocationName: location };
    let problem: string | undefined;
    if (kind === "schedule") {
      const selector = { ...place, scheduleName: name };
      if (running) {
        const result = await client.mutation(StopScheduleDocument, { selector }).toPromise();
        problem = refusal(result.data?.stopSchedule, result.error);
      } else {
        const result = await client.mutation(StartScheduleDocument, { selector }).toPromise();
        problem = refusal(result.data?.startSchedule, result.error);
      }
    } else if (running) {
      const result = await client.mutation(StopSensorDocument, { id: `${location}:${name}` }).toPromise();
      problem = refusal(result.data?.stopSensor, result.error);
    } else {
      const result = await client
        .mutation(StartSensorDocument, { selector: { ...place, sensorName: name } })
        .toPromise();
      problem = refusal(result.data?.startSensor, result.error);
    }
    if (problem !== undefined) bad(problem);
    else good(`${running ? "Stopped" : "Started"} ${name}.`);
  };
  return (
    <Tooltip label={whyNot} disabled={may}>
      <Switch checked={running} disabled={!may} onChange={change} aria-label={`${name} runs`} size="sm" />
    </Tooltip>
  );
}

export function Automation() {
  const { data, error } = useLive(AutomationDocument, {}, ["TICKS", "AUTOMATION", "LOCATIONS"], { every: 700 });
  if (!data) return <Waiting error={error} />;
  const { schedulesOrError: schedules, sensorsOrError: sensors } = data;
  return (
    <>
      <PageTitle title="Automation" />
      <h2 className="section">Schedules</h2>
      <div className="panel">
        {schedules.__typename !== "Schedules" ? (
          <Problem>{schedules.message}</Problem>
        ) : schedules.results.length === 0 ? (
          <Empty>No code location has a schedule.</Empty>
        ) : (
          <table className="rows">
            <thead>
              <tr>
                <th>Runs</th>
                <th>Schedule</th>
                <th>Jobs</th>
                <th>When</th>
                <th>Next</th>
                <th>Last ticks</th>
              </tr>
            </thead>
            <tbody>
              {schedules.results.map((each) => {
                const running = each.scheduleState.status === "RUNNING";
                return (
                  <tr key={each.id}>
                    <td>
                      <Toggle
                        kind="schedule"
                        location={each.repositoryLocationName}
                        name={each.name}
                        running={running}
                      />
                    </td>
                    <td className="name">
                      <Link
                        href={`/locations/${encodeURIComponent(each.repositoryLocationName)}/schedules/${encodeURIComponent(each.name)}`}
                      >
                        {each.name}
                      </Link>
                    </td>
                    <td className="name">
                      <JobLinks location={each.repositoryLocationName} jobs={each.jobNames} />
                    </td>
                    <td>
                      <Tooltip label={`${each.cronSchedule} ${each.executionTimezone}`}>
                        <span>
                          {cronWords(each.cronSchedule)} <span className="quiet">{each.executionTimezone}</span>
                        </span>
                      </Tooltip>
                    </td>
                    <td>{running ? <When at={each.futureTicks[0]} /> : <span className="quiet">stopped</span>}</td>
                    <td>
                      <TickStrip ticks={each.scheduleState.ticks} />
                    </td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        )}
      </div>
      <h2 className="section">Sensors</h2>
      <div className="panel">
        {sensors.__typename !== "Sensors" ? (
          <Problem>{sensors.message}</Problem>
        ) : sensors.results.length === 0 ? (
          <Empty>No code location has a sensor.</Empty>
        ) : (
          <table className="rows">
            <thead>
              <tr>
                <th>Runs</th>
                <th>Sensor</th>
                <th>Jobs</th>
                <th>When</th>
                <th>Cursor</th>
                <th>Last ticks</th>
              </tr>
            </thead>
            <tbody>
              {sensors.results.map((each) => (
                <tr key={each.id}>
                  <td>
                    <Toggle
                      kind="sensor"
                      location={each.repositoryLocationName}
                      name={each.name}
                      running={each.sensorState.status === "RUNNING"}
                    />
                  </td>
                  <td className="name">
                    <Link
                      href={`/locations/${encodeURIComponent(each.repositoryLocationName)}/sensors/${encodeURIComponent(each.name)}`}
                    >
                      {each.name}
                    </Link>
                  </td>
                  <td className="name">
                    <JobLinks location={each.repositoryLocationName} jobs={each.jobNames} />
                  </td>
                  <td>
                    {each.runStatus
                      ? `on runs that are ${each.runStatus}`
                      : `every ${duration(each.minIntervalSeconds)}`}
                  </td>
                  <td className="mono" style={{ maxWidth: 220, overflow: "hidden", textOverflow: "ellipsis" }}>
                    {each.sensorState.cursor}
                  </td>
                  <td>
                    <TickStrip ticks={each.sensorState.ticks} />
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
