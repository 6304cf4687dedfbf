/** Celery workers and their queues, as the service saw them last. */
import { Text } from "@mantine/core";
import { Link } from "wouter";
import { WorkersDocument } from "../api/gql";
import { useLive } from "../api/live";
import { Empty, PageTitle, Problem, RunLink, Took, useNow, Waiting, When } from "../components/Bits";
import { Icon } from "../components/Icons";
import { home } from "../lib/flower";
import { duration } from "../lib/time";

export function Workers() {
  const { data, error } = useLive(WorkersDocument, {}, ["FLEET", "RUNS"], { every: 800 });
  const now = useNow(1000);
  if (!data) return <Waiting error={error} />;
  const { fleet, instance } = data;
  return (
    <>
      <PageTitle
        title="Workers and queues"
        sub={
          fleet && (
            <span>
              as seen <When at={fleet.at} />, changes are told at once
            </span>
          )
        }
      >
        {instance.flowerUrl && (
          <a href={home(instance.flowerUrl)} target="_blank" rel="noreferrer">
            Flower <Icon name="external" style={{ verticalAlign: "text-bottom" }} />
          </a>
        )}
      </PageTitle>
      {!fleet ? (
        <Empty>No service has looked at a broker yet: an orchestrator with OPGRID_BROKER_URL does.</Empty>
      ) : (
        <>
          {fleet.error && <Problem>{fleet.error}</Problem>}
          {fleet.queues
            .filter((queue) => queue.alarm)
            .map((queue) => (
              <div key={queue.name} style={{ marginBottom: 12 }}>
                <Problem title={`Queue ${queue.name}`}>{queue.alarm}</Problem>
              </div>
            ))}
          <h2 className="section">Workers</h2>
          <div className="panel">
            {fleet.workers.length === 0 ? (
              <Empty>No worker lives. Start one with: opgrid worker start</Empty>
            ) : (
              <table className="rows">
                <thead>
                  <tr>
                    <th>Worker</th>
                    <th>Queues</th>
                    <th>Code</th>
                    <th>Busy</th>
                    <th>Running steps</th>
                  </tr>
                </thead>
                <tbody>
                  {fleet.workers.map((worker) => (
                    <tr key={worker.name}>
                      <td>
                        <span className="status ok">
                          <Icon name="check" strokeWidth={3} />
                          {worker.name}
                        </span>
                        {!worker.understands && (
                          <div>
                            <span className="status bad" title="It gets nothing of what this service sends">
                              <Icon name="warning" /> another version of opgrid{worker.release && `: ${worker.release}`}
                            </span>
                          </div>
                        )}
                        {worker.children.length > 0 && (
                          <Text size="xs" className="quiet">
                            processes {worker.children.join(", ")}
                          </Text>
                        )}
                      </td>
                      <td>{worker.queues.join(", ")}</td>
                      <td>
                        {worker.code.map((name, index) => (
                          <div key={name}>
                            {name}{" "}
                            <span className="quiet mono" title="Version: a hash of its jobs">
                              {worker.codeVersions[index]}
                            </span>
                            {worker.outdated.includes(name) && (
                              <span className="status bad" title="This service has loaded another version of it">
                                {" "}
                                <Icon name="warning" /> other code than here
                              </span>
                            )}
                          </div>
                        ))}
                      </td>
                      <td>
                        {worker.running.length} of {worker.concurrency}
                      </td>
                      <td>
                        {worker.running.slice(0, 10).map((step) => (
                          <div key={`${step.runId} ${step.stepKey}`}>
                            <RunLink id={step.runId} />{" "}
                            <Link href={`/runs/${step.runId}?step=${encodeURIComponent(step.stepKey)}`}>
                              {step.stepKey}
                            </Link>{" "}
                            <Took start={step.startTime} end={null} />
                          </div>
                        ))}
                        {worker.running.length > 10 && (
                          <span className="quiet">and {worker.running.length - 10} more</span>
                        )}
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            )}
          </div>
          <h2 className="section">Queues</h2>
          <div className="panel">
            <table className="rows">
              <thead>
                <tr>
                  <th>Queue</th>
                  <th>Messages that wait</th>
                  <th>Not empty for</th>
                  <th>Workers that serve it</th>
                </tr>
              </thead>
              <tbody>
                {fleet.queues.map((queue) => (
                  <tr key={queue.name}>
                    <td>{queue.name}</td>
                    <td>{queue.waiting}</td>
                    <td>{queue.waitingSince ? duration(now - queue.waitingSince) : ""}</td>
                    <td>{queue.workers}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </>
      )}
    </>
  );
}
