/** When each step waited and ran. Only the rows in view exist in the page. */
import { useElementSize } from "@mantine/hooks";
import { useVirtualizer } from "@tanstack/react-virtual";
import { memo, type PointerEvent, type ReactNode, useCallback, useMemo, useRef, useState } from "react";
import { look } from "../lib/status";
import { type Row, rowsByWorker, type Span, type StepTimes } from "../lib/steps";
import { duration, ticks } from "../lib/time";
import { Empty } from "./Bits";
import { Icon } from "./Icons";

const HEIGHT = 26;
const NAMES = "var(--names)";
/** Pixels that a long label of the axis takes. */
const LABEL = 80;

type Scale = { start: number; end: number; now: number };

const place = (at: number, { start, end }: Scale): number => ((at - start) / (end - start)) * 100;

const SpanBar = memo(function SpanBar({ span, scale, label }: { span: Span; scale: Scale; label: string }) {
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
  return <span data-tip={text}>{parts}</span>;
});

/** One for all bars: what is under the mouse says itself, by ``data-tip``. */
function useTip() {
  const [tip, setTip] = useState<{ text: string; x: number; y: number } | null>(null);
  const onPointerMove = useCallback((event: PointerEvent) => {
    const text = (event.target as Element).closest("[data-tip]")?.getAttribute("data-tip");
    setTip(text ? { text, x: event.clientX, y: event.clientY } : null);
  }, []);
  const onPointerLeave = useCallback(() => setTip(null), []);
  const shown = tip && (
    <div
      role="tooltip"
      className="tip"
      style={{ left: Math.min(tip.x + 12, window.innerWidth - 330), top: tip.y + 16 }}
    >
      {tip.text}
    </div>
  );
  return { handlers: { onPointerMove, onPointerLeave }, shown };
}

function Axis({ start, end, origin }: { start: number; end: number; origin: number }) {
  const { ref, width } = useElementSize();
  const count = Math.max(2, Math.min(9, Math.floor(width / LABEL)));
  return (
    <div className="axis">
      <div style={{ width: NAMES, flex: "none", borderRight: "1px solid var(--line)" }} />
      <div ref={ref} className="ticks" aria-hidden="true">
        {ticks(start, end, count, origin).map((at) => (
          <span
            key={at}
            style={{
              left: `${((at - start) / (end - start)) * 100}%`,
              borderLeft: "1px solid var(--line)",
              paddingLeft: 2,
            }}
          >
            {duration(at - origin) || "0"}
          </span>
        ))}
      </div>
    </div>
  );
}

function Rows<T>({
  rows,
  start,
  end,
  now,
  zoom,
  render,
  keyOf,
}: {
  rows: T[];
  start: number;
  end: number;
  now: number;
  zoom: number;
  render: (row: T, scale: Scale) => { name: ReactNode; lane: ReactNode; selected: boolean };
  keyOf: (row: T) => string;
}) {
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
  const { handlers, shown } = useTip();
  if (rows.length === 0) return <Empty>There are no such steps.</Empty>;
  return (
    <div ref={scroller} tabIndex={0} role="region" aria-label="Gantt chart" className="gantt-scroll" {...handlers}>
      <div style={{ width: `calc(${NAMES} + (100% - ${NAMES}) * ${zoom})`, minWidth: "100%" }}>
        {shown}
        <Axis start={start} end={end} origin={start} />
        <div className="gantt" style={{ height: virtual.getTotalSize() }}>
          {virtual.getVirtualItems().map((item) => {
            const row = rows[item.index];
            if (row === undefined) return null;
            const { name, lane, selected } = render(row, scale);
            return (
              <div
                key={item.key}
                className="gantt-row"
                style={{ transform: `translateY(${item.start}px)` }}
                data-selected={selected}
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
      render={(row, by) => {
        const { tone, sign, text } = look(row.status);
        if (row.kind === "group") {
          const total = row.steps.length;
          const counted = Object.entries(row.counts)
            .map(([status, count]) => `${count} ${look(status).text.toLowerCase()}`)
            .join(", ");
          return {
            selected: false,
            name: (
              <button
                type="button"
                className="gantt-name"
                aria-expanded={row.open}
                onClick={() => toggle(row.key)}
                title={counted}
              >
                <Icon name={row.open ? "down" : "right"} />
                <Icon name={sign} className={`${tone} ${sign === "spin" ? "spin" : ""}`} strokeWidth={3} />
                <span className="text">{row.label}</span>
                <span className="quiet">{total ? `× ${total}` : "mapped"}</span>
                <Apart counts={row.counts} />
              </button>
            ),
            lane: row.open ? null : <GroupBar steps={row.steps} scale={by} label={`${row.label}: ${counted}`} />,
          };
        }
        return {
          selected: chosen === row.key,
          name: (
            <button
              type="button"
              className="gantt-name"
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
      render={(lane, by) => ({
        selected: false,
        name: (
          <span className="gantt-name" style={{ cursor: "default" }}>
            <Icon name="workers" />
            <span className="text">{lane.first ? lane.worker : ""}</span>
          </span>
        ),
        lane: lane.steps.map((step) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents: the same steps are buttons in the other view
          // biome-ignore lint/a11y/noStaticElementInteractions: see above
          <span
            key={`${step.key} ${step.spans[0]?.[0]}`}
            onClick={() => choose(chosen === step.key ? null : step.key)}
            style={{ cursor: "pointer" }}
          >
            {step.spans[0] && (
              <SpanBar
                span={[step.spans[0][0], null, ...(step.spans[0].slice(2) as [number, number | null, string, string])]}
                scale={by}
                label={step.key}
              />
            )}
          </span>
        )),
      })}
    />
  );
}

type Lane = { key: string; worker: string; first: boolean; steps: StepTimes[] };

/** As few lanes a worker as it ran steps at a time. */
function packed(steps: Map<string, StepTimes>): Lane[] {
  const found: Lane[] = [];
  for (const { worker, steps: ran } of rowsByWorker(steps)) {
    const lanes: { end: number; steps: StepTimes[] }[] = [];
    ran.sort((a, b) => (a.spans[0]?.[2] ?? 0) - (b.spans[0]?.[2] ?? 0));
    for (const step of ran) {
      const span = step.spans[0];
      if (!span) continue;
      const end = span[3] ?? Number.POSITIVE_INFINITY;
      const free = lanes.find((lane) => lane.end <= (span[2] ?? 0));
      if (free) {
        free.end = end;
        free.steps.push(step);
      } else lanes.push({ end, steps: [step] });
    }
    for (const [index, lane] of lanes.entries())
      found.push({ key: `${worker} ${index}`, worker, first: index === 0, steps: lane.steps });
  }
  return found;
}
