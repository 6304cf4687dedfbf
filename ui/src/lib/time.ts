/** Times as people read them. All are Unix seconds. */

/** "3 s", "2 min 5 s", "1 h 2 min". */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "";
  const s = Math.max(0, seconds);
  if (s < 0.9995) return `${Math.round(s * 1000)} ms`;
  if (s < 10) return `${s.toFixed(2)} s`;
  if (s < 60) return `${s.toFixed(1)} s`;
  if (s < 3600) return both(s, 60, "min", 1, "s");
  if (s < 86400) return both(s, 3600, "h", 60, "min");
  return both(s, 86400, "d", 3600, "h");
}

/** "2 min 5 s"; "2 min" where nothing is left. */
function both(seconds: number, large: number, name: string, small: number, rest: string): string {
  const left = Math.floor((seconds % large) / small);
  return `${Math.floor(seconds / large)} ${name}${left ? ` ${left} ${rest}` : ""}`;
}

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

/** "2 minutes ago", "in 3 hours". */
export function ago(at: number, now: number): string {
  const difference = at - now;
  const size = Math.abs(difference);
  if (size < 5) return "just now";
  if (size < 60) return relative.format(Math.round(difference), "second");
  if (size < 3600) return relative.format(Math.round(difference / 60), "minute");
  if (size < 86400) return relative.format(Math.round(difference / 3600), "hour");
  if (size < 86400 * 30) return relative.format(Math.round(difference / 86400), "day");
  return new Date(at * 1000).toLocaleDateString();
}

/** The moment to the second, in the zone of whoever looks. */
export function exact(at: number): string {
  return new Date(at * 1000).toLocaleString(undefined, {
    year: "numeric",
    month: "short",
    day: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    timeZoneName: "short",
  });
}

/** "Wed 25 Nov, 03:00", in the zone of whoever looks. */
export function moment(at: number): string {
  const day = { weekday: "short", day: "numeric", month: "short" } as const;
  return new Date(at * 1000).toLocaleString("en-GB", { ...day, hour: "2-digit", minute: "2-digit" });
}

/** "14:03:05.120" */
export function clock(at: number): string {
  const moment = new Date(at * 1000);
  const two = (value: number) => String(value).padStart(2, "0");
  const ms = String(moment.getMilliseconds()).padStart(3, "0");
  return `${two(moment.getHours())}:${two(moment.getMinutes())}:${two(moment.getSeconds())}.${ms}`;
}

const STEPS = [
  0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200,
  10800, 21600, 43200, 86400,
];

/** Round places between two times, so that about `count` of them fit. */
export function ticks(start: number, end: number, count: number, from = 0): number[] {
  const span = Math.max(end - start, 1e-9);
  const step = STEPS.find((each) => span / each <= count) ?? Math.ceil(span / count / 86400) * 86400;
  const found: number[] = [];
  for (let at = from + Math.ceil((start - from) / step) * step; at <= end && found.length < 500; at += step)
    found.push(at);
  return found;
}
