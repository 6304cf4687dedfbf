/** What a schedule or sensor did at each tick. */
import { Tooltip } from "@mantine/core";
import type { TickFragment } from "../api/gql";
import { duration, exact } from "../lib/time";
import { Empty, ErrorBox, RunLink, Status, When } from "./Bits";

/** One small bar a tick, oldest first. */
export function TickStrip({ ticks }: { ticks: readonly TickFragment[] }) {
  if (!ticks.length) return <span className="quiet">none yet</span>;
  const tone: Record<string, string> = { SUCCESS: "var(--ok)", FAILURE: "var(--bad)", SKIPPED: "var(--off)" };
  const counts = ticks.reduce<Record<string, number>>((found, tick) => {
    found[tick.status] = (found[tick.status] ?? 0) + 1;
    return found;
  }, {});
  const said = Object.entries(counts)
    .map(([status, count]) => `${count} ${status.toLowerCase()}`)
    .join(", ");
  return (
    <span
      style={{ display: "inline-flex", gap: 2, alignItems: "flex-end", height: 18 }}
      role="img"
      aria-label={`Last ticks: ${said}`}
    >
      {[...ticks].reverse().map((tick) => (
        <Tooltip key={tick.id} label={`${exact(tick.timestamp)}: ${tick.status.toLowerCase()}`}>
          <span
            style={{
              width: 5,
              borderRadius: 1,
              background: tone[tick.status],
              height: tick.status === "FAILURE" ? 18 : tick.status === "SUCCESS" ? 13 : 6,
            }}
          />
        </Tooltip>
      ))}
    </span>
  );
}

export function TickTable({ ticks }: { ticks: readonly TickFragment[] }) {
  if (!ticks.length) return <Empty>It has not ticked yet.</Empty>;
  return (
    <table className="rows">
      <thead>
        <tr>
          <th>Tick</th>
          <th>Status</th>
          <th>Took</th>
          <th>What came of it</th>
        </tr>
      </thead>
      <tbody>
        {ticks.map((tick) => (
          <tr key={tick.id}>
            <td>
              <When at={tick.timestamp} />
            </td>
            <td>
              <Status of={tick.status} />
            </td>
            <td className="nowrap">{duration(tick.endTimestamp - tick.timestamp)}</td>
            <td>
              {tick.runIds.map((id) => (
                <span key={id} style={{ marginRight: 8 }}>
                  <RunLink id={id} />
                </span>
              ))}
              {tick.skipReason && <span className="quiet">{tick.skipReason}</span>}
              {tick.error && <ErrorBox error={tick.error} />}
              {tick.log.length > 0 && (
                <details>
                  <summary>{tick.log.length} lines of log</summary>
                  <pre className="code">{tick.log.join("\n")}</pre>
                </details>
              )}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
