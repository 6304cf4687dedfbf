/** The events of a run: filtered by the server, loaded page by page, followed while it goes on. */
import { Button, Checkbox, Group, Select, Text, TextInput } from "@mantine/core";
import { useVirtualizer } from "@tanstack/react-virtual";
import { AnsiUp } from "ansi_up";
import { memo, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { passing } from "../api/client";
import { type LogLevel, RunLogsDocument, type RunLogsQuery } from "../api/gql";
import { AGAIN, useChanges } from "../api/live";
import { useRows } from "../lib/rows";
import { clock } from "../lib/time";
import { Empty, ErrorBox, Problem, RunLink, Waiting, When } from "./Bits";

export type LogEvent = Extract<RunLogsQuery["logsForRun"], { __typename: "EventConnection" }>["events"][number];

const PAGE = 500;
const KINDS: Record<string, string[]> = {
  Everything: [],
  Failures: [
    "PIPELINE_FAILURE",
    "STEP_FAILURE",
    "STEP_LOST",
    "HOOK_ERRORED",
    "RESOURCE_INIT_FAILURE",
    "STEP_UP_FOR_RETRY",
  ],
  "Logged messages": ["LOG_MESSAGE"],
  "Run and engine": [
    "PIPELINE_ENQUEUED",
    "PIPELINE_DEQUEUED",
    "PIPELINE_STARTING",
    "PIPELINE_START",
    "PIPELINE_SUCCESS",
    "PIPELINE_FAILURE",
    "PIPELINE_CANCELING",
    "PIPELINE_CANCELED",
    "ENGINE_EVENT",
  ],
  Steps: [
    "STEP_WORKER_STARTING",
    "STEP_START",
    "STEP_SUCCESS",
    "STEP_FAILURE",
    "STEP_LOST",
    "STEP_CANCELED",
    "STEP_SKIPPED",
    "STEP_UP_FOR_RETRY",
    "STEP_RESTARTED",
  ],
  "Inputs and outputs": ["STEP_INPUT", "STEP_OUTPUT", "HANDLED_OUTPUT", "LOADED_INPUT"],
  "Assets and checks": ["ASSET_MATERIALIZATION", "ASSET_OBSERVATION", "STEP_EXPECTATION_RESULT"],
};

export const kindOf = (event: LogEvent): string =>
  event.__typename.replace(/Event$/, "").replace(/^ExecutionStep/, "Step");

/** Pages of the log that match, as one list. */
function useEvents(
  runId: string,
  filter: { types: string[]; stepKey: string | null; text: string; level: string | null },
  live: boolean,
) {
  const [events, setEvents] = useState<LogEvent[]>([]);
  const [hasMore, setHasMore] = useState(false);
  const [loaded, setLoaded] = useState(false);
  const [problem, setProblem] = useState<string>();
  const state = useRef({ cursor: "0", busy: false, again: false, version: 0 });
  const key = JSON.stringify([runId, filter]);
  const load = useCallback(async () => {
    const mine = state.current;
    if (mine.busy) {
      mine.again = true;
      return;
    }
    mine.busy = true;
    const version = mine.version;
    const [, wanted] = JSON.parse(key) as [string, typeof filter];
    const variables = {
      runId,
      after: mine.cursor,
      limit: PAGE,
      filter: {
        types: wanted.types.length ? (wanted.types as never) : null,
        stepKey: wanted.stepKey,
        text: wanted.text || null,
        level: wanted.level as LogLevel | null,
      },
    };
    const result = await passing.query(RunLogsDocument, variables, { requestPolicy: "network-only" }).toPromise();
    if (version !== state.current.version) return;
    mine.busy = false;
    const found = result.data?.logsForRun;
    if (found?.__typename === "EventConnection") {
      mine.cursor = found.cursor;
      setProblem(undefined);
      setHasMore(found.hasMore);
      setLoaded(true);
      if (found.events.length) setEvents((before) => [...before, ...found.events]);
    } else setProblem(result.error?.message ?? found?.message ?? "The events cannot be read.");
    if (mine.again) {
      mine.again = false;
      void load();
    }
  }, [runId, key]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another filter begins anew
  useEffect(() => {
    state.current = { cursor: "0", busy: false, again: false, version: state.current.version + 1 };
    setEvents([]);
    setLoaded(false);
    void load();
  }, [key, load]);
  useChanges(
    ["RUNS"],
    () => {
      if (!hasMore || problem) void load();
    },
    runId,
    300,
  );
  useEffect(() => {
    if (!problem) return;
    const timer = setInterval(() => void load(), AGAIN);
    return () => clearInterval(timer);
  }, [problem, load]);
  void live;
  return { events, hasMore, load, loaded, problem };
}

export function Log({
  runId,
  step,
  onStep,
  live,
  raw = false,
}: {
  runId: string;
  step: string | null;
  onStep: (key: string | null) => void;
  live: boolean;
  raw?: boolean;
}) {
  const [kind, setKind] = useState<string>("Everything");
  const [level, setLevel] = useState<string | null>(null);
  const [text, setText] = useState("");
  const [wanted, setWanted] = useState("");
  const [follow, setFollow] = useState(true);
  useEffect(() => {
    const timer = setTimeout(() => setWanted(text), 250);
    return () => clearTimeout(timer);
  }, [text]);
  const filter = useMemo(
    () => ({ types: raw ? ["LOG_MESSAGE"] : (KINDS[kind] ?? []), stepKey: step, text: wanted, level }),
    [raw, kind, step, wanted, level],
  );
  const { events, hasMore, load, loaded, problem } = useEvents(runId, filter, live);
  const shown = useMemo(
    () => (raw ? events.filter((event) => /std(out|err)/.test(String(event.details?.logger ?? ""))) : events),
    [raw, events],
  );
  return (
    <section className="panel" aria-label={raw ? "Output" : "Events"}>
      <header style={{ flexWrap: "wrap" }}>
        {!raw && (
          <>
            <Select
              size="xs"
              aria-label="Kind of events"
              value={kind}
              data={Object.keys(KINDS)}
              onChange={(value) => setKind(value ?? "Everything")}
              w={170}
              allowDeselect={false}
            />
            <Select
              size="xs"
              aria-label="Lowest level"
              placeholder="Any level"
              value={level}
              data={["INFO", "WARNING", "ERROR"]}
              onChange={setLevel}
              w={120}
              clearable
            />
          </>
        )}
        <TextInput
          size="xs"
          aria-label="Text in events"
          placeholder="Text"
          value={text}
          onChange={(event) => setText(event.currentTarget.value)}
          w={180}
        />
        {step && (
          <Button size="xs" variant="default" onClick={() => onStep(null)}>
            Step {step}: show all
          </Button>
        )}
        <Text size="xs" className="quiet" fw={400}>
          {loaded && shown.length}
          {hasMore ? " so far" : ""}
        </Text>
        <Group ml="auto" gap="xs">
          {live && (
            <Checkbox
              size="xs"
              label="Follow"
              checked={follow}
              onChange={(event) => setFollow(event.currentTarget.checked)}
            />
          )}
        </Group>
      </header>
      {problem && <Problem>{problem}</Problem>}
      {!loaded ? (
        !problem && <Waiting />
      ) : raw ? (
        <Raw events={shown} read={events.length} follow={live && follow} onEnd={hasMore ? load : undefined} />
      ) : (
        <List events={shown} follow={live && follow} onEnd={hasMore ? load : undefined} onStep={onStep} />
      )}
      {hasMore && (
        <Button size="xs" variant="subtle" onClick={() => load()} m={4}>
          Load more
        </Button>
      )}
    </section>
  );
}

function List({
  events,
  follow,
  onEnd,
  onStep,
}: {
  events: LogEvent[];
  follow: boolean;
  onEnd: (() => void) | undefined;
  onStep: (key: string) => void;
}) {
  const scroller = useRef<HTMLDivElement>(null);
  const [open, setOpen] = useState<number | null>(null);
  const virtual = useVirtualizer({
    count: events.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => 24,
    overscan: 20,
    getItemKey: (index) => events[index]?.number ?? index,
  });
  const count = events.length;
  useEffect(() => {
    if (follow && count) virtual.scrollToIndex(count - 1, { align: "end" });
  }, [follow, count, virtual]);
  const { stop, ...handlers } = useRows(scroller, virtual, count, "log-key");
  const items = virtual.getVirtualItems();
  const last = items.at(-1)?.index ?? 0;
  useEffect(() => {
    if (onEnd && count && last >= count - 20) onEnd();
  }, [onEnd, last, count]);
  if (!count) return <Empty>There are no such events.</Empty>;
  return (
    <div
      ref={scroller}
      tabIndex={0}
      role="region"
      aria-label="List of events"
      {...handlers}
      style={{ height: Math.min(480, Math.max(120, count * 25 + 40)), overflow: "auto" }}
    >
      <div style={{ height: virtual.getTotalSize(), position: "relative" }}>
        {items.map((item) => {
          const event = events[item.index];
          if (!event) return null;
          return (
            <div
              key={item.key}
              data-index={item.index}
              ref={virtual.measureElement}
              style={{ position: "absolute", top: 0, left: 0, right: 0, transform: `translateY(${item.start}px)` }}
            >
              <EventRow
                event={event}
                open={open === event.number}
                onOpen={() => setOpen(open === event.number ? null : event.number)}
                onStep={onStep}
                tabIndex={item.index === stop ? 0 : -1}
              />
            </div>
          );
        })}
      </div>
    </div>
  );
}

const EventRow = memo(function EventRow({
  event,
  open,
  onOpen,
  onStep,
  tabIndex,
}: {
  event: LogEvent;
  open: boolean;
  onOpen: () => void;
  onStep: (key: string) => void;
  tabIndex: 0 | -1;
}) {
  return (
    <>
      <div className={`log-row ${event.level}`}>
        <span className="mono quiet">{clock(Number(event.timestamp) / 1000)}</span>
        <button
          type="button"
          className="tag log-key"
          tabIndex={tabIndex}
          aria-expanded={open}
          onClick={onOpen}
          style={{ justifySelf: "start", fontWeight: 600 }}
        >
          {kindOf(event)}
        </button>
        {event.stepKey ? (
          <button
            type="button"
            className="tag log-key"
            tabIndex={-1}
            style={{ justifySelf: "start", maxWidth: "100%" }}
            onClick={() => onStep(event.stepKey ?? "")}
          >
            {event.stepKey}
          </button>
        ) : (
          <span />
        )}
        <span className="text">{event.message}</span>
      </div>
      {open && <Details event={event} />}
    </>
  );
});

export function Details({ event }: { event: LogEvent }) {
  const entries = Object.entries((event.details ?? {}) as Record<string, unknown>);
  return (
    <div style={{ borderBottom: "1px solid var(--line)", padding: "4px 10px 8px 106px" }}>
      {event.error && <ErrorBox error={event.error} />}
      {entries.length > 0 && (
        <table className="rows">
          <tbody>
            {entries.map(([key, value]) => (
              <tr key={key}>
                <th scope="row" style={{ width: 140 }}>
                  {key}
                </th>
                <td>
                  <Value value={value} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {!event.error && entries.length === 0 && <Empty>There is nothing more.</Empty>}
    </div>
  );
}

/** Metadata and other data: links only where they lead to the web. */
export function Value({ value }: { value: unknown }) {
  if (typeof value === "string") {
    if (/^https?:\/\/\S+$/.test(value))
      return (
        <a href={value} target="_blank" rel="noreferrer noopener">
          {value}
        </a>
      );
    return <span style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>{value}</span>;
  }
  if (value === null || typeof value !== "object") return <span className="mono">{String(value)}</span>;
  if (isTyped(value)) return <Typed type={value.type} value={value.value} />;
  return (
    <pre className="code" style={{ padding: 0 }}>
      {JSON.stringify(value, null, 2)}
    </pre>
  );
}

type TypedValue = { type: string; value: unknown };

function isTyped(value: object): value is TypedValue {
  const keys = Object.keys(value);
  return "type" in value && typeof value.type === "string" && keys.every((key) => key === "type" || key === "value");
}

/** Metadata that says what it is. */
function Typed({ type, value }: TypedValue) {
  if (type === "timestamp" && typeof value === "number") return <When at={value} />;
  if (type === "run" && typeof value === "string") return <RunLink id={value} />;
  if (type === "path" && typeof value === "string")
    return (
      <span className="mono" style={{ overflowWrap: "anywhere" }}>
        {value}
      </span>
    );
  if (type === "table") {
    const records = (value as { records?: Record<string, unknown>[] } | null)?.records ?? [];
    const names = Object.keys(records[0] ?? {});
    return (
      <table className="rows">
        <thead>
          <tr>
            {names.map((name) => (
              <th key={name}>{name}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {records.slice(0, 100).map((record, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: rows have no other name
            <tr key={index}>
              {names.map((name) => (
                <td key={name} style={{ overflowWrap: "anywhere" }}>
                  {String(record[name] ?? "")}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    );
  }
  return <Value value={value ?? null} />;
}

/** What steps printed, with the colours of a terminal. */
function Raw({
  events,
  read,
  follow,
  onEnd,
}: {
  events: LogEvent[];
  read: number;
  follow: boolean;
  onEnd: (() => void) | undefined;
}) {
  const scroller = useRef<HTMLDivElement>(null);
  const parts = useHtml(events);
  const count = events.length;
  // biome-ignore lint/correctness/useExhaustiveDependencies: with each page that is read
  useEffect(() => {
    if (follow && scroller.current) scroller.current.scrollTop = scroller.current.scrollHeight;
    if (follow || !count) onEnd?.();
  }, [follow, onEnd, count, read]);
  if (!count && onEnd) return <Waiting />;
  if (!count)
    return (
      <Empty>
        Nothing was printed, or what is printed is not kept: `python_logs: {"{prints: true}"}` in opgrid.yaml keeps it.
      </Empty>
    );
  return (
    <div
      ref={scroller}
      tabIndex={0}
      role="region"
      aria-label="Lines"
      style={{ maxHeight: 480, overflow: "auto" }}
      onScroll={({ currentTarget: at }) => {
        if (at.scrollHeight - at.scrollTop < at.clientHeight + 300) onEnd?.();
      }}
    >
      <pre className="code">
        {parts.map((html, index) => (
          // biome-ignore lint/security/noDangerouslySetInnerHtml: ansi_up escapes everything that it is given
          // biome-ignore lint/suspicious/noArrayIndexKey: parts stay where they are
          <span key={index} dangerouslySetInnerHTML={{ __html: html }} />
        ))}
      </pre>
    </div>
  );
}

/** What was printed, a part for each page that came: only what is new is looked at, with the colour of what was before. */
function useHtml(events: LogEvent[]): string[] {
  const made = useRef<{ ansi: AnsiUp; first: LogEvent | undefined; count: number; parts: string[] }>(undefined);
  return useMemo(() => {
    let known = made.current;
    if (!known || known.first !== events[0] || known.count > events.length) {
      const ansi = new AnsiUp();
      ansi.use_classes = false;
      ansi.escape_html = true;
      ansi.url_allowlist = {};
      known = { ansi, first: events[0], count: 0, parts: [] };
    }
    const added = events.slice(known.count).map((event) => `${event.message}\n`);
    if (added.length) {
      const parts = [...known.parts, known.ansi.ansi_to_html(added.join(""))];
      known = { ...known, count: events.length, parts };
    }
    made.current = known;
    return known.parts;
  }, [events]);
}
