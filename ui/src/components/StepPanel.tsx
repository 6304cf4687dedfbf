/** One step of a run: its attempts, inputs, outputs, metadata, and the error that ended it. */
import { ActionIcon, Anchor, Group, Text } from "@mantine/core";
import { useLayoutEffect, useRef } from "react";
import { type DagsterEventType, RunLogsDocument } from "../api/gql";
import { useLive } from "../api/live";
import { tasksOfRunOn } from "../lib/flower";
import { look } from "../lib/status";
import { type PlannedStep, type StepTimes, unbegun } from "../lib/steps";
import { clock, duration } from "../lib/time";
import { ErrorBox, Problem, Status } from "./Bits";
import { Icon } from "./Icons";
import { kindOf, Value } from "./Log";
import { useShell } from "./Shell";

const VALUES = [
  "STEP_INPUT",
  "STEP_OUTPUT",
  "HANDLED_OUTPUT",
  "ASSET_MATERIALIZATION",
  "ASSET_OBSERVATION",
  "STEP_EXPECTATION_RESULT",
] as const;
const FAILURES = ["STEP_FAILURE", "STEP_LOST", "STEP_UP_FOR_RETRY", "RESOURCE_INIT_FAILURE", "HOOK_ERRORED"] as const;
const MOST = 40; //: a step that fans out has thousands; the list of events has them all

export function StepPanel({
  runId,
  stepKey,
  step,
  planned,
  close,
  live,
}: {
  runId: string;
  stepKey: string;
  step: StepTimes | undefined;
  planned: PlannedStep | undefined;
  close: () => void;
  live: boolean;
}) {
  const giveBack = useGiveBack(stepKey);
  const values = useEvents(runId, stepKey, VALUES, live);
  const failures = useEvents(runId, stepKey, FAILURES, live);
  const failure = failures.events.findLast((event) => event.error);
  const problem = values.problem ?? failures.problem;
  const shown = values.events;
  const flower = useShell()?.instance.flowerUrl;
  const last = step?.spans.at(-1);
  const worker = last?.[5]?.includes("@") ? last[5] : null;
  return (
    <aside className="panel" aria-label={`Step ${stepKey}`} style={{ maxHeight: 480, overflow: "auto" }}>
      <header style={{ position: "sticky", top: 0, zIndex: 1 }}>
        <span style={{ overflow: "hidden", textOverflow: "ellipsis" }}>{stepKey}</span>
        <ActionIcon
          ml="auto"
          variant="subtle"
          color="gray"
          onClick={() => {
            close();
            giveBack();
          }}
          aria-label="Close the step"
        >
          <Icon name="cross" />
        </ActionIcon>
      </header>
      <div style={{ padding: "8px 10px" }}>
        <Group gap="sm" mb={6}>
          <Status of={step?.status ?? unbegun(live)} />
          {planned && planned.op !== stepKey && (
            <Text size="sm" className="quiet">
              op {planned.op}
            </Text>
          )}
          {flower && worker && (
            <Anchor
              size="sm"
              href={tasksOfRunOn(flower, runId, worker)}
              title={`Messages of this run that ${worker} got`}
              target="_blank"
              rel="noreferrer"
            >
              in Flower
            </Anchor>
          )}
        </Group>
        {step && step.spans.length > 0 && (
          <table className="rows">
            <thead>
              <tr>
                <th>Attempt</th>
                <th>Start</th>
                <th>Waited</th>
                <th>Ran</th>
              </tr>
            </thead>
            <tbody>
              {step.spans.map(([attempt, dispatched, started, ended, outcome, worker]) => (
                <tr key={attempt}>
                  <td>
                    <Status of={outcome}>{attempt}</Status>
                    {worker && (
                      <Text size="xs" className="quiet" style={{ overflowWrap: "anywhere" }}>
                        {worker}
                      </Text>
                    )}
                  </td>
                  <td className="nowrap">{started === null ? "" : clock(started)}</td>
                  <td className="nowrap">
                    {dispatched !== null && started !== null ? duration(started - dispatched) : ""}
                  </td>
                  <td className="nowrap">
                    {started !== null && ended !== null ? duration(ended - started) : look(outcome).text}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
        {problem && <Problem title="Its events cannot be read">{problem}</Problem>}
        {failure?.error && <ErrorBox error={failure.error} />}
        {planned && <Facts planned={planned} />}
        {shown.map((event) => {
          const {
            input,
            output,
            mapping_key: mapping,
            asset_key: asset,
            label,
            metadata,
            type_check: check,
            ...rest
          } = event.details ?? {};
          const about = input ?? (asset ? (asset as string[]).join(" / ") : (label ?? output));
          const found = { ...(metadata ?? {}), ...(kindOf(event) === "StepExpectationResult" ? rest : {}) } as Record<
            string,
            unknown
          >;
          if (kindOf(event) === "HandledOutput" && Object.keys(found).length === 0) return null;
          return (
            <div key={event.number} style={{ marginTop: 8 }}>
              <Text size="sm" fw={600}>
                {kindOf(event).replace("Step", "")} {about}
                {mapping ? ` [${mapping}]` : ""}
              </Text>
              {check?.type && (
                <Text size="xs" className="quiet">
                  {String(check.type)}
                </Text>
              )}
              {Object.keys(found).length > 0 && (
                <table className="rows">
                  <tbody>
                    {Object.entries(found).map(([key, value]) => (
                      <tr key={key}>
                        <th scope="row">{key}</th>
                        <td>
                          <Value value={value} />
                        </td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              )}
            </div>
          );
        })}
        {values.hasMore && (
          <Text size="sm" className="quiet" mt={8}>
            There are more; the events below have all of them.
          </Text>
        )}
      </div>
    </aside>
  );
}

/** Gives the focus to what had it when the step was chosen; to the steps where that is gone. */
function useGiveBack(stepKey: string): () => void {
  const from = useRef<Element | null>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: of each step that is chosen
  useLayoutEffect(() => {
    from.current = document.activeElement;
  }, [stepKey]);
  return () => {
    const there = from.current?.isConnected && from.current !== document.body ? from.current : null;
    const target = there ?? document.querySelector(".gantt-scroll");
    if (target instanceof HTMLElement) target.focus({ preventScroll: true });
  };
}

/** The first events of some types, kept current. */
function useEvents(runId: string, stepKey: string, types: readonly DagsterEventType[], live: boolean) {
  const variables = { runId, after: "0", limit: MOST, filter: { stepKey, types: [...types] } };
  const { data, error } = useLive(RunLogsDocument, variables, ["RUNS"], { runId, every: live ? 500 : 5000 });
  const found = data?.logsForRun;
  if (found?.__typename === "EventConnection") return { ...found, problem: undefined };
  return { events: [], hasMore: false, problem: found?.message ?? error };
}

function Facts({ planned }: { planned: PlannedStep }) {
  const facts: [string, string][] = [];
  if (planned.needs.length)
    facts.push(["takes", [...new Set(planned.needs.map((need) => `${need.step}.${need.output}`))].join(", ")]);
  if (planned.executor) facts.push(["executor", planned.executor]);
  if (planned.pool) facts.push(["pool", planned.pool]);
  if (planned.queue) facts.push(["queue", planned.queue]);
  if (planned.timeout) facts.push(["timeout", duration(planned.timeout)]);
  if (planned.retries) facts.push(["retries", String(planned.retries)]);
  if (planned.trigger && planned.trigger !== "all_success") facts.push(["runs when", planned.trigger]);
  if (facts.length === 0) return null;
  return (
    <table className="rows">
      <tbody>
        {facts.map(([key, value]) => (
          <tr key={key}>
            <th scope="row">{key}</th>
            <td>{value}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
