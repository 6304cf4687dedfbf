/** Run an earlier run again with changes: its config, selection, executor and tags are where they were. */
import { Button, Group, SegmentedControl, Select, TextInput } from "@mantine/core";
import { useMemo, useState } from "react";
import { useClient } from "urql";
import { useLocation } from "wouter";
import { JobPageDocument, type ReexecutionStrategy, RelaunchDocument } from "../api/gql";
import { useLive } from "../api/live";
import type { Schema } from "../lib/config";
import { refusal } from "../lib/results";
import type { RunData } from "../pages/RunPage";
import { Problem, Waiting } from "./Bits";
import { type Draft, paramsOf, useCheck, Verdict } from "./Launchpad";
import { useMessages } from "./Messages";
import { useShell } from "./Shell";
import { YamlEditor } from "./YamlEditor";

export default function Rerun({ run, close }: { run: RunData; close: () => void }) {
  const location = run.repositoryOrigin?.repositoryLocationName ?? "";
  const selector = { repositoryLocationName: location, jobName: run.jobName };
  const { data, error } = useLive(JobPageDocument, { selector }, []);
  if (!data) return <Waiting error={error} />;
  if (data.pipelineOrError.__typename !== "Job")
    return <Problem title="The code of today has no such job">{data.pipelineOrError.__typename}</Problem>;
  return (
    <Form run={run} location={location} schema={data.pipelineOrError.runConfigJsonSchema as Schema} close={close} />
  );
}

function Form({ run, location, schema, close }: { run: RunData; location: string; schema: Schema; close: () => void }) {
  const client = useClient();
  const [, go] = useLocation();
  const { good, bad } = useMessages();
  const failed = run.status === "FAILURE" || run.status === "CANCELED";
  const [strategy, setStrategy] = useState<ReexecutionStrategy>(failed ? "FROM_FAILURE" : "ALL_STEPS");
  const [draft, setDraft] = useState<Draft>({
    config: run.runConfigYaml,
    ops: "",
    tags: "",
    partition: null,
    executor: null,
  });
  const [steps, setSteps] = useState("");
  const executors = useShell()?.instance.executors ?? [];
  const [busy, setBusy] = useState(false);
  const job = { name: run.jobName, repositoryLocationName: location };
  const params = useMemo(
    () => ({
      ...paramsOf({ name: run.jobName, repositoryLocationName: location }, draft),
      runConfigData: draft.config.trim() ? draft.config : {},
    }),
    [run.jobName, location, draft],
  );
  const check = useCheck(params, draft.config);
  const change = (changed: Partial<Draft>) => setDraft((before) => ({ ...before, ...changed }));
  const launch = async () => {
    setBusy(true);
    const stepKeys =
      strategy === "ALL_STEPS" && steps.trim()
        ? steps
            .split(",")
            .map((each) => each.trim())
            .filter(Boolean)
        : null;
    const how = { parentRunId: run.runId, strategy };
    const result = await client.mutation(RelaunchDocument, { params: { ...params, stepKeys }, how }).toPromise();
    setBusy(false);
    const answer = result.data?.launchRunReexecution;
    const problem = refusal(answer, result.error);
    if (problem !== undefined) bad(problem);
    else if (answer?.__typename === "LaunchRunSuccess") {
      good(`Launched ${answer.run.runId.slice(0, 8)}.`);
      close();
      go(`/runs/${answer.run.runId}`);
    }
  };
  return (
    <>
      <SegmentedControl
        size="xs"
        mb="xs"
        aria-label="What is run again"
        value={strategy}
        onChange={(value) => setStrategy(value as ReexecutionStrategy)}
        data={[
          { value: "FROM_FAILURE", label: "From failure", disabled: !failed },
          { value: "ALL_STEPS", label: "All or chosen steps" },
        ]}
      />
      <div className="panel">
        <header>Run config of {job.name}</header>
        <YamlEditor
          label="Run config as YAML"
          value={draft.config}
          onChange={(config) => change({ config })}
          schema={schema}
          marks={check.marks}
          height={260}
          onSubmit={launch}
        />
        <Verdict check={check} />
      </div>
      <Group grow mt="xs" align="flex-start">
        {strategy === "ALL_STEPS" && (
          <TextInput
            size="xs"
            label="Only these steps"
            description="b, *b, b*, mapped[key]; the others keep their outputs"
            value={steps}
            onChange={(event) => setSteps(event.currentTarget.value)}
          />
        )}
        <Select
          size="xs"
          label="Executor"
          description="Instead of its own"
          clearable
          placeholder={run.executor}
          data={executors}
          value={draft.executor}
          onChange={(executor) => change({ executor })}
        />
        <TextInput
          size="xs"
          label="More tags"
          description="key=value, commas between"
          value={draft.tags}
          onChange={(event) => change({ tags: event.currentTarget.value })}
        />
      </Group>
      <Group justify="flex-end" mt="md">
        <Button variant="default" onClick={close}>
          Back
        </Button>
        <Button onClick={launch} loading={busy} disabled={check.state === "bad"}>
          Launch
        </Button>
      </Group>
    </>
  );
}
