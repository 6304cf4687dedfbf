/** When each step waited and ran. Only the rows in view exist in the page. */
import { useElementSize } from "@mantine/hooks";
import { useVirtualizer } from "@tanstack/react-virtual";
import { memo, type ReactNode, type Ref, useMemo, useRef, useState } from "react";
import { useRows } from "../lib/rows";
import { look, worst } from "../lib/status";
import { barsOf, type Ran, type Row, ranByWorker, type Span, type StepTimes, type View } from "../lib/steps";
import { duration, ticks } from "../lib/time";
import { counted } from "../lib/words";
import { Empty } from "./Bits";
import { Icon } from "./Icons";
import { useTip } from "./Tip";

const HEIGHT = 26;
const NAMES = "var(--names)";
/** Pixels that a long label of the axis takes. */
const LABEL = 80;
/** Pixels of a letter of it. */
const LETTER = 7;

/** Pixels that are drawn beyond what is seen, on either side; so often is drawn anew while somebody scrolls. */
const BEYOND = 500;

type Scale = { start: number; end: number; now: number };

const place = (at: number, { start, end }: Scale): number => ((at - start) / (end - start)) * 100;

const SpanBar = memo(function SpanBar({
  span,
  scale,
  label,
  tip = true,
}: {
  span: Span;
  scale: Scale;
  label: string;
  tip?: boolean;
}) {
  const [attempt, dispatched, started, ended, outcome, worker] = span;
  const tone = look(outcome).tone;
  const until = ended ?? scale.now;
  const parts: ReactNode[] = [];
  if (dispatched !== null && (started ?? until) - dispatched > 0)
    parts.push(
      <span
        key="queue"
        className="bar queue"
        style={{
          left: `${place(dispatched, scale)}%`,
          width: `${place(started ?? until, scale) - place(dispatched, scale)}%`,
        }}
      />,
    );
  if (started !== null)
    parts.push(
      <span
        key="run"
        className={`bar ${tone}`}
        style={{
          left: `${place(started, scale)}%`,
          width: `${Math.max(place(until, scale) - place(started, scale), 0)}%`,
        }}
      />,
    );
  const waited = dispatched !== null ? `waited ${duration((started ?? until) - dispatched)}` : "";
  const ran = started !== null ? `ran ${duration(until - started)}` : "";
  const text = [label, `attempt ${attempt}`, look(outcome).text, waited, ran, worker].filter(Boolean).join(", ");
  return <span data-tip={tip ? text : undefined}>{parts}</span>;
});

/** The part of the time that is seen, of lanes that are as many pixels wide. */
function viewOf({ start, end }: Scale, width: number, left: number): View {
  const pixel = (end - start) / Math.max(width, 1);
  return { from: start + (left - BEYOND) * pixel, to: start + (left + window.innerWidth + BEYOND) * pixel, pixel };
}

/** A label, or none where it would be cut off. */
function fits(label: string, pixels: number): string {
  return label.length * LETTER + 8 <= pixels ? label : "";
}

function Axis({ start, end, view, ref }: Scale & { view: View; ref: Ref<HTMLDivElement> }) {
  const [from, to] = [Math.max(start, view.from), Math.min(end, view.to)];
  const label = view.pixel * Math.max(LABEL, Math.min((end - start) / view.pixel, window.innerWidth) / 9);
  const count = Math.max(2, Math.floor((to - from) / label));
  return (
    <div className="axis">
      <div style={{ width: NAMES, flex: "none", borderRight: "1px solid var(--line)" }} />
      <div ref={ref} className="ticks" aria-hidden="true">
        {ticks(from, to, count, start).map((at) => (
          <span
            key={at}
            style={{
              left: `${((at - start) / (end - start)) * 100}%`,
              borderLeft: "1px solid var(--line)",
              paddingLeft: 2,
            }}
          >
            {fits(duration(at - start) || "0", (end - at) / view.pixel)}
          </span>
        ))}
      </div>
    </div>
  );
}

type Rowed<T> = {
  rows: T[];
  start: number;
  end: number;
  now: number;
  zoom: number;
  render: (
    row: T,
    scale: Scale,
    view: View,
    tabIndex: 0 | -1,
  ) => { name: ReactNode; lane: ReactNode; selected: boolean };
  keyOf: (row: T) => string;
};

/** Where there were none for a while, it is another chart: seen from its beginning. */
function Rows<T>(props: Rowed<T>) {
  return props.rows.length === 0 ? <Empty>There are no such steps.</Empty> : <Chart {...props} />;
}

function Chart<T>({ rows, start, end, now, zoom, render, keyOf }: Rowed<T>) {
  const scroller = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => HEIGHT,
    overscan: 12,
    getItemKey: (index) => {
      const row = rows[index];
      return row ? keyOf(row) : index;
    },
  });
  const scale = useMemo(() => ({ start, end, now }), [start, end, now]);
  const { ref: lanes, width } = useElementSize();
  const [left, setLeft] = useState(0);
  const view = useMemo(() => viewOf(scale, width, left), [scale, width, left]);
  const { handlers, shown } = useTip();
  const { stop, onKeyDown, onFocus } = useRows(scroller, virtual, rows.length, "gantt-name");
  const items = virtual.getVirtualItems();
  return (
    <div
      ref={scroller}
      tabIndex={0}
      role="region"
      aria-label="Gantt chart"
      className="gantt-scroll"
      onKeyDown={onKeyDown}
      onScroll={({ currentTarget }) => setLeft(Math.floor(currentTarget.scrollLeft / BEYOND) * BEYOND)}
      {...handlers}
      onFocus={(event) => {
        handlers.onFocus(event);
        onFocus(event);
      }}
    >
      <div style={{ width: `calc(${NAMES} + (100% - ${NAMES}) * ${zoom})`, minWidth: "100%" }}>
        {shown}
        <Axis {...scale} view={view} ref={lanes} />
        <div className="gantt" style={{ height: virtual.getTotalSize() }}>
          {items.map((item) => {
            const row = rows[item.index];
            if (row === undefined) return null;
            const { name, lane, selected } = render(row, scale, view, item.index === stop ? 0 : -1);
            return (
              <div
                key={item.key}
                className="gantt-row"
                style={{ transform: `translateY(${item.start}px)` }}
                data-selected={selected}
                data-index={item.index}
              >
                {name}
                <div className="gantt-lane">{lane}</div>
              </div>
            );
          })}
        </div>
      </div>
    </div>
  );
}

export function Gantt({
  rows,
  chosen,
  choose,
  toggle,
  ...scale
}: {
  rows: Row[];
  start: number;
  end: number;
  now: number;
  zoom: number;
  chosen: string | null;
  choose: (key: string | null) => void;
  toggle: (key: string) => void;
}) {
  return (
    <Rows
      rows={rows}
      {...scale}
      keyOf={(row) => `${row.kind} ${row.key}`}
      render={(row, by, _, tabIndex) => {
        const { tone, sign, text } = look(row.status);
        if (row.kind === "group") {
          const total = row.steps.length;
          const told = toldCounts(row.counts);
          return {
            selected: false,
            name: (
              <button
                type="button"
                className="gantt-name"
                tabIndex={tabIndex}
                aria-expanded={row.open}
                onClick={() => toggle(row.key)}
                title={told}
              >
                <Icon name={row.open ? "down" : "right"} />
                <Icon name={sign} className={`${tone} ${sign === "spin" ? "spin" : ""}`} strokeWidth={3} />
                <span className="text">{row.label}</span>
                <span className="quiet">{total ? `× ${total}` : "mapped"}</span>
                <Apart counts={row.counts} />
              </button>
            ),
            lane: row.open ? null : <GroupBar steps={row.steps} scale={by} label={`${row.label}: ${told}`} />,
          };
        }
        return {
          selected: chosen === row.key,
          name: (
            <button
              type="button"
              className="gantt-name"
              tabIndex={tabIndex}
              aria-pressed={chosen === row.key}
              onClick={() => choose(chosen === row.key ? null : row.key)}
              style={{ paddingLeft: 8 + row.depth * 18, fontWeight: chosen === row.key ? 700 : undefined }}
              title={`${row.label}: ${text}`}
            >
              <Icon
                name={sign}
                className={`${tone} ${sign === "spin" ? "spin" : ""}`}
                strokeWidth={3}
                aria-hidden={undefined}
                role="img"
                aria-label={text}
              />
              <span className="text">{row.label}</span>
            </button>
          ),
          lane: row.step?.spans.map((span) => <SpanBar key={span[0]} span={span} scale={by} label={row.label} />),
        };
      }}
    />
  );
}

const toldCounts = (counts: Record<string, number>): string =>
  Object.entries(counts)
    .map(([status, count]) => `${count} ${look(status).text.toLowerCase()}`)
    .join(", ");

/** What of a folded row did not simply succeed. */
function Apart({ counts }: { counts: Record<string, number> }) {
  return TOLD.filter((status) => counts[status]).map((status) => {
    const { tone, sign, text } = look(status);
    return (
      <span key={status} className={`status ${tone}`} title={text} style={{ gap: 2, fontSize: "1em" }}>
        <Icon name={sign} strokeWidth={3} />
        {counts[status]}
      </span>
    );
  });
}

const TOLD = ["FAILURE", "RUNNING", "WAITING", "DISPATCHED"];
const SLICES = 160;

/** How many ran at a time, in slices of time: from the first dispatch to the last end. */
export function density(steps: readonly StepTimes[], now: number) {
  let waits = Number.POSITIVE_INFINITY;
  let from = Number.POSITIVE_INFINITY;
  let to = 0;
  for (const step of steps)
    for (const span of step.spans) {
      waits = Math.min(waits, span[1] ?? waits);
      if (span[2] === null) continue;
      from = Math.min(from, span[2]);
      to = Math.max(to, span[3] ?? now);
    }
  if (!to) return null;
  const width = Math.max((to - from) / SLICES, 1e-6);
  const busy = new Array<number>(SLICES).fill(0);
  for (const step of steps)
    for (const [, , start, end] of step.spans) {
      if (start === null) continue;
      const last = (end ?? now) - from;
      for (let slice = Math.floor((start - from) / width); slice < SLICES && slice * width <= last; slice++)
        busy[slice] =
          (busy[slice] ?? 0) +
          Math.min(last, (slice + 1) * width) / width -
          Math.max(start - from, slice * width) / width;
    }
  return { waits: Math.min(waits, from), from, to, busy, most: Math.max(...busy, 1e-9) };
}

/** All instances in one lane: the wait for the first, then as high as many ran, and marks where some failed. */
const GroupBar = memo(function GroupBar({ steps, scale, label }: { steps: StepTimes[]; scale: Scale; label: string }) {
  const found = useMemo(() => density(steps, scale.now), [steps, scale.now]);
  const failed = useMemo(() => {
    const at = steps.flatMap((step) =>
      step.spans.flatMap((span) => (span[4] === "FAILURE" && span[3] ? [span[3]] : [])),
    );
    return [...new Set(at)].slice(0, 200);
  }, [steps]);
  if (!found) return null;
  const running = steps.some((step) => step.status === "RUNNING");
  const outline = found.busy
    .map((busy, slice) => {
      const top = 20 - 4 - (busy / found.most) * 16;
      return `L${slice} ${top.toFixed(1)}L${slice + 1} ${top.toFixed(1)}`;
    })
    .join("");
  const said = `${label}, at most ${Math.max(1, Math.round(found.most))} at a time`;
  return (
    <span data-tip={said}>
      <span
        className="bar queue"
        style={{
          left: `${place(found.waits, scale)}%`,
          width: `${place(found.from, scale) - place(found.waits, scale)}%`,
          minWidth: 0,
        }}
      />
      <svg
        className={`density ${running ? "going" : "ok"}`}
        viewBox={`0 0 ${SLICES} 20`}
        preserveAspectRatio="none"
        aria-hidden="true"
        style={{
          left: `${place(found.from, scale)}%`,
          width: `max(3px, ${place(found.to, scale) - place(found.from, scale)}%)`,
        }}
      >
        <path d={`M0 20${outline}L${SLICES} 20Z`} />
      </svg>
      {failed.map((at) => (
        <span
          key={at}
          className="bar bad"
          style={{ left: `calc(${place(at, scale)}% - 2px)`, width: 3, top: 2, height: 22, minWidth: 3 }}
        />
      ))}
    </span>
  );
});

export function WorkerGantt({
  steps,
  chosen,
  choose,
  ...scale
}: {
  steps: Map<string, StepTimes>;
  start: number;
  end: number;
  now: number;
  zoom: number;
  chosen: string | null;
  choose: (key: string | null) => void;
}) {
  const lanes = useMemo(() => packed(steps), [steps]);
  return (
    <Rows
      rows={lanes}
      {...scale}
      keyOf={(lane) => lane.key}
      render={(lane, by, view) => ({
        selected: false,
        name: (
          <span className="gantt-name" style={{ cursor: "default" }}>
            <Icon name="workers" />
            <span className="text">{lane.first ? lane.worker : ""}</span>
          </span>
        ),
        lane: <LaneBars ran={lane.ran} scale={by} view={view} chosen={chosen} choose={choose} />,
      })}
    />
  );
}

/** What a worker ran, as many bars as there is room for. */
const LaneBars = memo(function LaneBars({
  ran,
  scale,
  view,
  chosen,
  choose,
}: {
  ran: readonly Ran[];
  scale: Scale;
  view: View;
  chosen: string | null;
  choose: (key: string | null) => void;
}) {
  const bars = useMemo(() => barsOf(ran, view, scale.now, worst), [ran, view, scale.now]);
  return bars.map(({ key, span, count, counts }) => (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the same steps are buttons in the other view
    // biome-ignore lint/a11y/noStaticElementInteractions: see above
    <span
      key={`${key} ${span[0]}`}
      onClick={() => choose(chosen === key ? null : key)}
      style={{ cursor: "pointer" }}
      data-tip={count > 1 ? `${counted(count, "step")}: ${toldCounts(counts)}` : undefined}
    >
      <SpanBar span={span} scale={scale} label={key} tip={count === 1} />
    </span>
  ));
});

type Lane = { key: string; worker: string; first: boolean; ran: Ran[] };

/** As few lanes a worker as it ran steps at a time. */
function packed(steps: Map<string, StepTimes>): Lane[] {
  const found: Lane[] = [];
  for (const { worker, ran } of ranByWorker(steps)) {
    const lanes: { end: number; ran: Ran[] }[] = [];
    ran.sort((a, b) => (a.span[2] ?? 0) - (b.span[2] ?? 0));
    for (const each of ran) {
      const end = each.span[3] ?? Number.POSITIVE_INFINITY;
      const free = lanes.find((lane) => lane.end <= (each.span[2] ?? 0));
      if (free) {
        free.end = end;
        free.ran.push(each);
      } else lanes.push({ end, ran: [each] });
    }
    for (const [index, lane] of lanes.entries())
      found.push({ key: `${worker} ${index}`, worker, first: index === 0, ran: lane.ran });
  }
  return found;
}
