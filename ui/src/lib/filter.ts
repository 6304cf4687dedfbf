/** The filter of the runs list as text: `status:FAILURE job:census location:eu.py tag:team=a id:1f3b`. It lives in the URL. */
import type { RunStatus, RunsFilter } from "../api/gql";
import { RUN_STATUSES } from "./status";

const KINDS = ["status", "job", "location", "tag", "id", "after", "before"] as const;

export type Token = { kind: (typeof KINDS)[number]; value: string };

/** Of these, one at a time. */
const SINGLE: ReadonlySet<string> = new Set(["job", "location"]);

const TOKEN = /(\w+):(?:"((?:[^"\\]|\\.)*)"|(\S+))/g;

function tokenOf(match: RegExpMatchArray): Token | undefined {
  const kind = KINDS.find((each) => each === match[1]);
  const value = match[2]?.replace(/\\(.)/g, "$1") ?? match[3];
  return kind && value ? { kind, value } : undefined;
}

/** What cannot be read is left out. */
export function parse(text: string): Token[] {
  return [...text.matchAll(TOKEN)].map(tokenOf).filter((token) => token !== undefined);
}

/** What is left out: words that are no filter, and filters that choose nothing. */
export function leftOut(text: string): string[] {
  const found: string[] = [];
  const rest = text.replace(TOKEN, (...match) => {
    const token = tokenOf(match as unknown as RegExpMatchArray);
    if (!token || Object.keys(filterOf([token])).length === 0) found.push(match[0]);
    return " ";
  });
  return [...rest.split(/\s+/).filter(Boolean), ...found];
}

export function write(tokens: Token[]): string {
  return tokens.map(({ kind, value }) => `${kind}:${/[\s"]/.test(value) ? quoted(value) : value}`).join(" ");
}

const quoted = (value: string): string => `"${value.replace(/["\\]/g, "\\$&")}"`;

/** Several statuses, ids, or values of a tag are any of them; of all else, everything has to hold. */
export function filterOf(tokens: Token[]): RunsFilter {
  const filter: RunsFilter = {};
  for (const { kind, value } of tokens) {
    if (kind === "status") {
      const status = value.toUpperCase();
      if ((RUN_STATUSES as readonly string[]).includes(status))
        filter.statuses = [...(filter.statuses ?? []), status as RunStatus];
    } else if (kind === "job") filter.jobName = value;
    else if (kind === "location") filter.repositoryLocationName = value;
    else if (kind === "id") filter.runIds = [...(filter.runIds ?? []), value];
    else if (kind === "tag") {
      const [key = "", ...rest] = value.split("=");
      filter.tags = [...(filter.tags ?? []), { key, value: rest.join("=") }];
    } else {
      const at = Date.parse(value) / 1000;
      if (!Number.isNaN(at)) filter[kind === "after" ? "createdAfter" : "createdBefore"] = at;
    }
  }
  return filter;
}

/** With a token more; a job or a location replaces the one before. */
export function withToken(tokens: Token[], token: Token): Token[] {
  const kept = tokens.filter(
    (each) => !(each.kind === token.kind && (SINGLE.has(token.kind) || each.value === token.value)),
  );
  return [...kept, token];
}
