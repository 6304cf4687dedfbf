/** The partitions of a job by the state of their last run, and backfills of those that are chosen. */
import { Button, Group, NumberInput, Switch, Text, TextInput, Tooltip } from "@mantine/core";
import { type KeyboardEvent, memo, useMemo, useRef, useState } from "react";
import { useClient } from "urql";
import { Link, useLocation } from "wouter";
import { BackfillDocument, PartitionsDocument } from "../api/gql";
import { useLive } from "../api/live";
import { refusal } from "../lib/results";
import { look } from "../lib/status";
import { Empty, Problem, RunLink, Status, Waiting } from "./Bits";
import { Icon } from "./Icons";
import { tagsOf } from "./Launchpad";
import { useMessages } from "./Messages";
import { usePermission } from "./Shell";
import { useTip } from "./Tip";

type States = Record<string, [run: string, status: string]>;

export function Partitions({ location, job }: { location: string; job: string }) {
  const selector = { repositoryLocationName: location, jobName: job };
  const { data, error } = useLive(PartitionsDocument, { selector }, ["RUNS"], { every: 1500 });
  if (!data) return <Waiting error={error} />;
  const found = data.jobPartitionsOrError;
  if (found.__typename !== "JobPartitions") return <Problem>{found.message}</Problem>;
  return <Grid location={location} job={job} keys={found.keys} states={found.states as States} />;
}

export function Cells({
  keys,
  states,
  chosen,
  onClick,
}: {
  keys: readonly string[];
  states: States;
  chosen?: ReadonlySet<string>;
  onClick: (key: string, extend: boolean) => void;
}) {
  const box = useRef<HTMLFieldSetElement>(null);
  const [at, setAt] = useState(0);
  const { handlers, shown } = useTip();
  const place = (target: EventTarget): number =>
    Number((target as Element).closest<HTMLElement>("button.cell")?.dataset.place ?? -1);
  const onKeyDown = (event: KeyboardEvent) => {
    const cells = box.current?.querySelectorAll<HTMLElement>("button.cell");
    const from = place(event.target);
    if (!cells || from < 0) return;
    const to = MOVES[event.key]?.(from, cells.length, columns(cells));
    if (to === undefined) return;
    event.preventDefault();
    cells[to]?.focus();
  };
  return (
    <fieldset
      ref={box}
      className="cells"
      aria-label="Partitions"
      style={{ border: 0, padding: 0, margin: 0 }}
      onKeyDown={onKeyDown}
      onClick={(event) => {
        const key = keys[place(event.target)];
        if (key !== undefined) onClick(key, event.shiftKey);
      }}
      {...handlers}
      onFocus={(event) => {
        handlers.onFocus(event);
        setAt(Math.max(0, place(event.target)));
      }}
    >
      {keys.map((key, index) => (
        <Cell
          key={key}
          name={key}
          place={index}
          status={states[key]?.[1]}
          pressed={chosen?.has(key)}
          tabIndex={index === Math.min(at, keys.length - 1) ? 0 : -1}
        />
      ))}
      {shown}
    </fieldset>
  );
}

/** Where keys lead to: all cells are one stop of the Tab key. Nothing happens beyond the first and the last. */
const MOVES: Record<string, (at: number, count: number, columns: number) => number> = {
  ArrowRight: (at) => at + 1,
  ArrowLeft: (at) => at - 1,
  ArrowDown: (at, _, columns) => at + columns,
  ArrowUp: (at, _, columns) => at - columns,
  Home: () => 0,
  End: (_, count) => count - 1,
};

function columns(cells: NodeListOf<HTMLElement>): number {
  const top = cells[0]?.offsetTop;
  let count = 0;
  while (count < cells.length && cells[count]?.offsetTop === top) count++;
  return Math.max(1, count);
}

const Cell = memo(function Cell({
  name,
  place,
  status,
  pressed,
  tabIndex,
}: {
  name: string;
  place: number;
  status: string | undefined;
  pressed: boolean | undefined;
  tabIndex: 0 | -1;
}) {
  const { tone, sign, text } = status ? look(status) : { tone: "none", sign: "dash" as const, text: "never ran" };
  return (
    <button
      type="button"
      className={`cell ${tone}`}
      data-place={place}
      data-tip={`${name}: ${text}`}
      aria-label={`${name}: ${text}`}
      aria-pressed={pressed}
      tabIndex={tabIndex}
    >
      {status && <Icon name={sign} strokeWidth={3} />}
    </button>
  );
});

function Grid({
  location,
  job,
  keys,
  states,
}: {
  location: string;
  job: string;
  keys: readonly string[];
  states: States;
}) {
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [all, setAll] = useState(false);
  const last = useRef<string | null>(null);
  const shown = useMemo(() => (all ? keys : keys.slice(-2000)), [keys, all]);
  const failed = keys.filter((key) => ["FAILURE", "CANCELED"].includes(states[key]?.[1] ?? ""));
  const missing = keys.filter((key) => !states[key]);
  const click = (key: string, extend: boolean) => {
    const from = last.current ? keys.indexOf(last.current) : -1;
    const to = keys.indexOf(key);
    last.current = key;
    setChosen((before) => {
      const after = new Set(before);
      if (extend && from >= 0)
        for (const each of keys.slice(Math.min(from, to), Math.max(from, to) + 1)) after.add(each);
      else if (!after.delete(key)) after.add(key);
      return after;
    });
  };
  if (keys.length === 0) return <Empty>There are no partitions yet.</Empty>;
  const one = chosen.size === 1 ? [...chosen][0] : undefined;
  return (
    <>
      <div className="panel">
        <header style={{ flexWrap: "wrap" }}>
          {keys.length} partitions
          <Text size="sm" fw={400} className="quiet">
            {keys.length - missing.length} ran, {failed.length} failed, {missing.length} never ran
          </Text>
          <Group gap={4} ml="auto">
            <Button size="compact-xs" variant="default" onClick={() => setChosen(new Set(keys))}>
              Choose all
            </Button>
            <Button size="compact-xs" variant="default" onClick={() => setChosen(new Set(missing))}>
              Missing
            </Button>
            <Button size="compact-xs" variant="default" onClick={() => setChosen(new Set(failed))}>
              Failed
            </Button>
            <Button size="compact-xs" variant="default" onClick={() => setChosen(new Set())}>
              None
            </Button>
          </Group>
        </header>
        <div style={{ padding: 10 }}>
          <Text size="xs" className="quiet" mb={6}>
            {keys[0]} to {keys.at(-1)}. A click chooses one, with Shift all from the one before.
          </Text>
          <Cells keys={shown} states={states} chosen={chosen} onClick={click} />
          {shown.length < keys.length && (
            <Button size="xs" variant="subtle" onClick={() => setAll(true)}>
              Show the {keys.length - shown.length} before
            </Button>
          )}
          {one && states[one] && (
            <Group mt="xs" gap="xs">
              <Text size="sm">{one}:</Text>
              <Status of={states[one][1]} />
              <RunLink id={states[one][0]} />
            </Group>
          )}
        </div>
      </div>
      <Ask location={location} job={job} keys={keys.filter((key) => chosen.has(key))} />
    </>
  );
}

function Ask({ location, job, keys }: { location: string; job: string; keys: string[] }) {
  const client = useClient();
  const [, go] = useLocation();
  const { good, bad } = useMessages();
  const [may, whyNot] = usePermission("launch");
  const [title, setTitle] = useState("");
  const [tags, setTags] = useState("");
  const [ops, setOps] = useState("");
  const [atOnce, setAtOnce] = useState<number | "">("");
  const [fromFailure, setFromFailure] = useState(false);
  const [singleRun, setSingleRun] = useState(false);
  const launch = async () => {
    const params = {
      selector: { partitionSetName: job, repositorySelector: { repositoryLocationName: location } },
      partitionNames: keys,
      title: title || null,
      tags: tagsOf(tags),
      reexecutionSteps: ops.trim() ? ops.split(",").map((each) => each.trim()) : null,
      atOnce: atOnce === "" ? null : atOnce,
      fromFailure,
      singleRun,
    };
    const result = await client.mutation(BackfillDocument, { params }).toPromise();
    const answer = result.data?.launchPartitionBackfill;
    const problem = refusal(answer, result.error);
    if (problem !== undefined) bad(problem);
    else if (answer?.__typename === "LaunchBackfillSuccess") {
      good(`Backfill ${answer.backfillId} is asked for.`);
      go(`/backfills/${answer.backfillId}`);
    }
  };
  return (
    <div className="panel" style={{ marginTop: 12 }}>
      <header>
        Backfill{" "}
        <Text size="sm" fw={400} className="quiet">
          {keys.length} chosen
        </Text>
        <Link href="/backfills" style={{ marginLeft: "auto", fontWeight: 400 }}>
          All backfills
        </Link>
      </header>
      <Group p={10} align="flex-end" gap="sm">
        <TextInput size="xs" label="Title" value={title} onChange={(event) => setTitle(event.currentTarget.value)} />
        <TextInput
          size="xs"
          label="Tags"
          placeholder="key=value"
          value={tags}
          onChange={(event) => setTags(event.currentTarget.value)}
        />
        <TextInput
          size="xs"
          label="Ops"
          placeholder="all"
          value={ops}
          onChange={(event) => setOps(event.currentTarget.value)}
        />
        <NumberInput
          size="xs"
          w={130}
          label="Runs at a time"
          placeholder="no limit"
          min={1}
          value={atOnce}
          onChange={(value) => setAtOnce(value === "" ? "" : Number(value))}
        />
        <Switch
          size="xs"
          label="Go on from failures"
          checked={fromFailure}
          disabled={singleRun}
          onChange={(event) => setFromFailure(event.currentTarget.checked)}
        />
        <Switch
          size="xs"
          label="In a single run"
          checked={singleRun}
          disabled={fromFailure}
          onChange={(event) => setSingleRun(event.currentTarget.checked)}
        />
        <Tooltip label={whyNot} disabled={may}>
          <Button size="xs" disabled={!may || keys.length === 0} onClick={launch}>
            Launch backfill
          </Button>
        </Tooltip>
      </Group>
    </div>
  );
}
