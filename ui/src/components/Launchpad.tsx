/** Launch a run: config with completion and server-side checks, selection, tags, partition, executor. */
import { Badge, Button, Group, SegmentedControl, Select, Tabs, Text, TextInput, Tooltip } from "@mantine/core";
import { useEffect, useMemo, useRef, useState } from "react";
import { useClient } from "urql";
import { useLocation } from "wouter";
import {
  CheckConfigDocument,
  type ExecutionParams,
  LaunchDocument,
  PartitionsDocument,
  RunPageDocument,
} from "../api/gql";
import { AGAIN, useLive } from "../api/live";
import { extras, type Mark, rangeOf, type Schema, syntaxMarks, withMissing, withValue } from "../lib/config";
import { refusal } from "../lib/results";
import { counted } from "../lib/words";
import { Empty, Problem } from "./Bits";
import { ConfigForm } from "./ConfigForm";
import { JobGraph, type Structure } from "./JobGraph";
import { useMessages } from "./Messages";
import { usePermission, useShell } from "./Shell";
import { YamlEditor } from "./YamlEditor";

export type Draft = { config: string; ops: string; tags: string; partition: string | null; executor: string | null };

export type JobData = {
  name: string;
  repositoryLocationName: string;
  isPartitioned: boolean;
  executor?: string | null;
  structure: Structure;
  runConfigJsonSchema: Schema;
  ownRunConfigYaml: string;
  scaffoldYaml: string;
  requiredYaml: string;
};

const EMPTY: Draft = { config: "", ops: "", tags: "", partition: null, executor: null };

export const listed = (text: string): string[] =>
  text
    .split(/[,\n]/)
    .map((each) => each.trim())
    .filter(Boolean);

export const tagsOf = (text: string): { key: string; value: string }[] =>
  listed(text).map((each) => {
    const [key = "", ...value] = each.split("=");
    return { key: key.trim(), value: value.join("=").trim() };
  });

export function paramsOf(job: { name: string; repositoryLocationName: string }, draft: Draft): ExecutionParams {
  const ops = listed(draft.ops);
  return {
    selector: {
      repositoryLocationName: job.repositoryLocationName,
      jobName: job.name,
      solidSelection: ops.length ? ops : null,
    },
    runConfigData: draft.config.trim() ? draft.config : null,
    executionMetadata: { tags: tagsOf(draft.tags) },
    partitionKey: draft.partition,
    executor: draft.executor,
  };
}

export type Check = {
  state: "checking" | "good" | "bad";
  marks: Mark[];
  problems: { path: string[]; message: string }[];
  steps: ReadonlySet<string> | null;
};

/** What the server says of a draft, half a second after it was changed last. */
export function useCheck(params: ExecutionParams, config: string): Check {
  const client = useClient();
  const [check, setCheck] = useState<Check>({ state: "checking", marks: [], problems: [], steps: null });
  const key = JSON.stringify(params);
  useEffect(() => {
    let current = true;
    const syntax = syntaxMarks(config);
    if (syntax.length) {
      setCheck((before) => ({
        ...before,
        state: "bad",
        marks: syntax,
        problems: syntax.map((each) => ({ path: [], message: each.message })),
      }));
      return;
    }
    setCheck((before) => ({ ...before, state: "checking" }));
    const ask = async () => {
      const result = await client
        .query(CheckConfigDocument, { params: JSON.parse(key) as ExecutionParams }, { requestPolicy: "network-only" })
        .toPromise();
      if (!current) return;
      const found = result.data?.executionPlanOrError;
      if (found?.__typename === "ExecutionPlan")
        setCheck({ state: "good", marks: [], problems: [], steps: new Set(found.stepKeys) });
      else if (found?.__typename === "RunConfigValidationInvalid") {
        const marks = found.errors.map((error) => ({ ...rangeOf(config, error.path), message: error.message }));
        setCheck({ state: "bad", marks, problems: found.errors, steps: null });
      } else
        setCheck({
          state: "bad",
          marks: [],
          problems: [{ path: [], message: result.error?.message ?? found?.message ?? "It cannot be checked." }],
          steps: null,
        });
      if (result.error) timer = setTimeout(ask, AGAIN);
    };
    let timer = setTimeout(ask, 400);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [client, key, config]);
  return check;
}

const keyOf = (job: JobData) => `opgrid.launchpad.${job.repositoryLocationName}.${job.name}`;

function stored(job: JobData): { tabs: Draft[]; at: number } {
  try {
    const found = JSON.parse(localStorage.getItem(keyOf(job)) ?? "") as { tabs: Draft[]; at: number };
    if (Array.isArray(found.tabs) && found.tabs.length)
      return { tabs: found.tabs.map((each) => ({ ...EMPTY, ...each })), at: Math.min(found.at, found.tabs.length - 1) };
  } catch {
    // nothing was stored, or by another version
  }
  return { tabs: [{ ...EMPTY, config: job.ownRunConfigYaml }], at: 0 };
}

export function Launchpad({ job, fromRun }: { job: JobData; fromRun: string | null }) {
  const [{ tabs, at }, setDrafts] = useState(() => stored(job));
  const draft = tabs[at] ?? EMPTY;
  const change = (changed: Partial<Draft>) =>
    setDrafts((before) => ({
      ...before,
      tabs: before.tabs.map((each, index) => (index === before.at ? { ...each, ...changed } : each)),
    }));
  useEffect(() => localStorage.setItem(keyOf(job), JSON.stringify({ tabs, at })), [job, tabs, at]);
  const { data: parent, error } = useLive(RunPageDocument, { runId: fromRun ?? "" }, [], { pause: !fromRun });
  const missing = parent && parent.runOrError.__typename !== "Run" ? parent.runOrError.message : undefined;
  const problem = fromRun ? (missing ?? (parent ? undefined : error)) : undefined;
  const taken = useRef(false);
  useEffect(() => {
    if (taken.current || parent?.runOrError.__typename !== "Run") return;
    taken.current = true;
    const run = parent.runOrError;
    const made = {
      ...EMPTY,
      config: run.runConfigYaml,
      executor: run.executor,
      tags: run.tags
        .filter((tag) => !tag.key.startsWith("opgrid/"))
        .map((tag) => `${tag.key}=${tag.value}`)
        .join(", "),
    };
    setDrafts((before) => ({ tabs: [...before.tabs, made], at: before.tabs.length }));
  }, [parent]);
  return (
    <Tabs
      value={String(at)}
      onChange={(value) => setDrafts((before) => ({ ...before, at: Number(value) }))}
      keepMounted={false}
    >
      {problem && <Problem title="The run whose config is to be taken cannot be read">{problem}</Problem>}
      <Group gap="xs" mb="xs">
        <Tabs.List aria-label="Drafts">
          {tabs.map((_, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: a draft is known by its place
            <Tabs.Tab key={index} value={String(index)}>
              Draft {index + 1}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        <Button
          size="compact-xs"
          variant="default"
          onClick={() => setDrafts((before) => ({ tabs: [...before.tabs, { ...draft }], at: before.tabs.length }))}
        >
          New draft
        </Button>
        {tabs.length > 1 && (
          <Button
            size="compact-xs"
            variant="default"
            onClick={() =>
              setDrafts((before) => ({
                tabs: before.tabs.filter((_, index) => index !== before.at),
                at: Math.max(0, before.at - 1),
              }))
            }
          >
            Close draft
          </Button>
        )}
      </Group>
      <Tabs.Panel value={String(at)}>
        <Editing key={at} job={job} draft={draft} change={change} />
      </Tabs.Panel>
    </Tabs>
  );
}

function Editing({ job, draft, change }: { job: JobData; draft: Draft; change: (changed: Partial<Draft>) => void }) {
  const client = useClient();
  const [, go] = useLocation();
  const { good, bad } = useMessages();
  const [may, whyNot] = usePermission("launch");
  const [view, setView] = useState("yaml");
  const [busy, setBusy] = useState(false);
  const params = useMemo(() => paramsOf(job, draft), [job, draft]);
  const check = useCheck(params, draft.config);
  const unknown = useMemo(() => extras(draft.config, job.runConfigJsonSchema), [draft.config, job.runConfigJsonSchema]);
  const launch = async () => {
    if (busy || !may) return;
    setBusy(true);
    const result = await client.mutation(LaunchDocument, { params }).toPromise();
    setBusy(false);
    const answer = result.data?.launchRun;
    const problem = refusal(answer, result.error);
    if (problem !== undefined) bad(problem);
    else if (answer?.__typename === "LaunchRunSuccess") {
      good(`Launched ${answer.run.runId.slice(0, 8)}.`);
      go(`/runs/${answer.run.runId}`);
    }
  };
  return (
    <>
      <div style={{ display: "grid", gridTemplateColumns: "repeat(auto-fit, minmax(min(380px, 100%), 1fr))", gap: 12 }}>
        <div className="panel">
          <header style={{ flexWrap: "wrap" }}>
            Run config
            <SegmentedControl
              size="xs"
              aria-label="View of the config"
              value={view}
              onChange={setView}
              data={[
                { value: "yaml", label: "YAML" },
                { value: "form", label: "Form" },
                { value: "defaults", label: "Defaults" },
              ]}
            />
            <Group gap={4} ml="auto">
              <Button
                size="compact-xs"
                variant="default"
                onClick={() => change({ config: withMissing(draft.config, job.requiredYaml) })}
              >
                Add what is missing
              </Button>
              <Button
                size="compact-xs"
                variant="default"
                onClick={() => change({ config: withMissing(draft.config, job.scaffoldYaml) })}
              >
                Scaffold all
              </Button>
              {unknown.length > 0 && (
                <Button
                  size="compact-xs"
                  variant="default"
                  onClick={() =>
                    change({ config: unknown.reduce((text, path) => withValue(text, path, undefined), draft.config) })
                  }
                >
                  Remove unknown
                </Button>
              )}
            </Group>
          </header>
          {view === "form" ? (
            <ConfigForm
              schema={job.runConfigJsonSchema}
              value={draft.config}
              onChange={(config) => change({ config })}
            />
          ) : view === "defaults" ? (
            <div style={{ height: 320, overflow: "auto" }}>
              <Text size="xs" className="quiet" p={8}>
                What the job brings along, then everything that it takes with its defaults.
              </Text>
              <pre className="code">{job.ownRunConfigYaml || "(nothing)"}</pre>
              <pre className="code">{job.scaffoldYaml || "(it takes no config)"}</pre>
            </div>
          ) : (
            <YamlEditor
              label="Run config as YAML"
              value={draft.config}
              onChange={(config) => change({ config })}
              schema={job.runConfigJsonSchema}
              marks={check.marks}
              onSubmit={launch}
            />
          )}
          <Verdict check={check} />
        </div>
        <div>
          <Choices job={job} draft={draft} change={change} />
          <JobGraph structure={job.structure} selected={check.steps} height={230} />
        </div>
      </div>
      <div className="launch-bar">
        {check.steps && (
          <Text size="sm" className="quiet">
            {counted(check.steps.size, "step")}
          </Text>
        )}
        <Tooltip label={whyNot} disabled={may}>
          <Button onClick={launch} loading={busy} disabled={!may || check.state === "bad"}>
            Launch run
          </Button>
        </Tooltip>
      </div>
    </>
  );
}

export function Verdict({ check }: { check: Check }) {
  return (
    <div
      style={{ borderTop: "1px solid var(--line)", padding: "5px 10px", maxHeight: 150, overflow: "auto" }}
      role="status"
      aria-label="Check of the config"
    >
      {check.state === "checking" && <Badge variant="outline">Checking</Badge>}
      {check.state === "good" && <span className="status ok">The server takes this config.</span>}
      {check.state === "bad" &&
        check.problems.map((problem) => (
          <div key={problem.path.join() + problem.message} className="bad" style={{ fontSize: 13 }}>
            <b>{problem.path.join(" › ")}</b> {problem.message}
          </div>
        ))}
    </div>
  );
}

function Choices({ job, draft, change }: { job: JobData; draft: Draft; change: (changed: Partial<Draft>) => void }) {
  const selector = { repositoryLocationName: job.repositoryLocationName, jobName: job.name };
  const { data, error } = useLive(PartitionsDocument, { selector }, [], { pause: !job.isPartitioned });
  const executors = useShell()?.instance.executors ?? [];
  const found = data?.jobPartitionsOrError;
  const keys = found?.__typename === "JobPartitions" ? found.keys : [];
  return (
    <>
      {job.isPartitioned && (
        <>
          {((error && !found) || (found && found.__typename !== "JobPartitions")) && (
            <Problem>{error ?? "The partitions cannot be read."}</Problem>
          )}
          <Select
            size="xs"
            label="Partition"
            mb={6}
            searchable
            clearable
            limit={200}
            placeholder={`One of ${keys.length}`}
            data={[...keys].reverse()}
            value={draft.partition}
            onChange={(partition) => change({ partition })}
          />
        </>
      )}
      <TextInput
        size="xs"
        mb={6}
        label="Ops"
        description="name, *name and what is above, name* and what is below; commas between"
        value={draft.ops}
        onChange={(event) => change({ ops: event.currentTarget.value })}
      />
      <Group grow mb={10} align="flex-start">
        <TextInput
          size="xs"
          label="Tags"
          description="key=value, commas between"
          value={draft.tags}
          onChange={(event) => change({ tags: event.currentTarget.value })}
        />
        <Select
          size="xs"
          label="Executor"
          description="Instead of the job's own"
          clearable
          placeholder={job.executor ?? "The usual one"}
          data={executors}
          value={draft.executor}
          onChange={(executor) => change({ executor })}
        />
      </Group>
      {job.isPartitioned && !draft.partition && (
        <Empty>Without a partition the run config has to say what to work on.</Empty>
      )}
    </>
  );
}
