/** All runs: filtered by what is in the URL, live, and steered many at a time. */
import { Button, Group, Menu, SegmentedControl, Text, TextInput } from "@mantine/core";
import { useEffect, useRef, useState } from "react";
import { useClient } from "urql";
import { useSearchParams } from "wouter";
import {
  DeleteRunDocument,
  RelaunchDocument,
  RunsPageDocument,
  TagKeysDocument,
  TagValuesDocument,
  TerminateDocument,
} from "../api/gql";
import { useLive } from "../api/live";
import { Confirmed, PageTitle, Problem, Waiting } from "../components/Bits";
import { Icon } from "../components/Icons";
import { useMessages } from "../components/Messages";
import { RunTable } from "../components/RunTable";
import { usePermission } from "../components/Shell";
import { filterOf, leftOut, parse, type Token, withToken, write } from "../lib/filter";
import { refusal } from "../lib/results";
import { RUN_STATUSES } from "../lib/status";
import { counted } from "../lib/words";

const PAGE = 50;
const TABS: Record<string, string[]> = {
  all: [],
  queued: ["QUEUED"],
  "in progress": ["STARTING", "STARTED", "CANCELING"],
  failed: ["FAILURE"],
  done: ["SUCCESS", "FAILURE", "CANCELED"],
};

export function Runs() {
  const [search, setSearch] = useSearchParams();
  const text = search.get("q") ?? "";
  const cursors = search.getAll("after");
  const tokens = parse(text);
  const left = leftOut(text);
  const [typed, setTyped] = useState(text);
  useEffect(() => setTyped(text), [text]);
  const show = (wanted: Token[] | string) => {
    const q = typeof wanted === "string" ? wanted : write(wanted);
    setSearch(q ? { q } : {});
  };
  const { data, error, refetch } = useLive(
    RunsPageDocument,
    { filter: filterOf(tokens), cursor: cursors.at(-1) ?? null, limit: PAGE },
    ["RUNS"],
    { every: 700 },
  );
  const statuses = tokens.filter((each) => each.kind === "status").map((each) => each.value.toUpperCase());
  const tab = Object.keys(TABS).find((name) => TABS[name]?.join() === statuses.join()) ?? "";
  return (
    <>
      <PageTitle title="Runs" />
      <Group mb="xs" gap="xs">
        <SegmentedControl
          size="xs"
          aria-label="Which runs"
          value={tab}
          data={Object.keys(TABS)}
          onChange={(name) =>
            show([
              ...tokens.filter((each) => each.kind !== "status"),
              ...(TABS[name] ?? []).map((value): Token => ({ kind: "status", value })),
            ])
          }
        />
        <form
          style={{ flex: 1, minWidth: 240 }}
          onSubmit={(event) => {
            event.preventDefault();
            show(/\w:/.test(typed) || !typed.trim() ? typed : `id:${typed.trim()}`);
          }}
        >
          <TextInput
            size="xs"
            aria-label="Filter runs"
            placeholder="status:FAILURE job:name tag:key=value id:… after:2026-11-01"
            value={typed}
            leftSection={<Icon name="search" />}
            onChange={(event) => setTyped(event.currentTarget.value)}
          />
        </form>
        <AddToken onAdd={(token) => show(withToken(tokens, token))} />
        {text && (
          <Button size="xs" variant="default" onClick={() => show("")}>
            Clear
          </Button>
        )}
      </Group>
      {tokens.length > 0 && (
        <Group gap={4} mb="xs">
          {tokens.map((token) => (
            <button
              key={`${token.kind} ${token.value}`}
              type="button"
              className="tag"
              aria-label={`Without ${write([token])}`}
              title="Click to take it away"
              onClick={() => show(tokens.filter((each) => each !== token))}
            >
              <span className="quiet">{token.kind}</span> {token.value} <Icon name="cross" width={10} height={10} />
            </button>
          ))}
        </Group>
      )}
      {left.length > 0 && (
        <Text size="sm" mb="xs" className="bad" role="status">
          Not understood, and left out: {left.join(" ")}
        </Text>
      )}
      {!data ? (
        <Waiting error={error} />
      ) : data.runsOrError.__typename !== "Runs" ? (
        <Problem>{"message" in data.runsOrError ? data.runsOrError.message : data.runsOrError.__typename}</Problem>
      ) : (
        <Listed
          runs={data.runsOrError.results}
          count={data.runsOrError.count}
          page={cursors.length}
          refetch={refetch}
          onTag={(key, value) => show(withToken(tokens, { kind: "tag", value: `${key}=${value}` }))}
          onNext={(last) =>
            setSearch((before) => {
              const next = new URLSearchParams(before);
              next.append("after", last);
              return next;
            })
          }
          onBack={() =>
            setSearch((before) => {
              const next = new URLSearchParams(before);
              const left = next.getAll("after").slice(0, -1);
              next.delete("after");
              for (const each of left) next.append("after", each);
              return next;
            })
          }
        />
      )}
    </>
  );
}

function AddToken({ onAdd }: { onAdd: (token: Token) => void }) {
  const { data } = useLive(TagKeysDocument, {}, []);
  const keys = data?.runTagKeysOrError.__typename === "RunTagKeys" ? data.runTagKeysOrError.keys : [];
  return (
    <Menu>
      <Menu.Target>
        <Button size="xs" variant="default">
          Add filter
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>Status</Menu.Label>
        {RUN_STATUSES.map((status) => (
          <Menu.Item key={status} onClick={() => onAdd({ kind: "status", value: status })}>
            {status}
          </Menu.Item>
        ))}
        {keys.length > 0 && <Menu.Label>Tag</Menu.Label>}
        {keys.slice(0, 15).map((key) => (
          <Menu.Sub key={key}>
            <Menu.Sub.Target>
              <Menu.Sub.Item>{key}</Menu.Sub.Item>
            </Menu.Sub.Target>
            <Menu.Sub.Dropdown mah={360} style={{ overflowY: "auto" }}>
              <TagValues tag={key} onPick={(value) => onAdd({ kind: "tag", value: `${key}=${value}` })} />
            </Menu.Sub.Dropdown>
          </Menu.Sub>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}

/** Asked for when its menu opens. The key that opened it leads to the first, also where that comes later. */
function TagValues({ tag, onPick }: { tag: string; onPick: (value: string) => void }) {
  const { data } = useLive(TagValuesDocument, { key: tag }, []);
  const first = useRef<HTMLButtonElement>(null);
  const found = data?.runTagsOrError.__typename === "RunTags" ? data.runTagsOrError.tags[0]?.values : undefined;
  const isThere = Boolean(found);
  useEffect(() => {
    const opener = first.current?.closest("[role=menu]")?.id.replace(/-dropdown$/, "");
    if (isThere && opener && document.activeElement?.id === opener) first.current?.focus();
  }, [isThere]);
  if (!found) return <Menu.Label>Loading</Menu.Label>;
  return found.map((value, index) => (
    <Menu.Item key={value} ref={index ? undefined : first} onClick={() => onPick(value)}>
      {value.length > 60 ? `${value.slice(0, 60)}…` : value || "(empty)"}
    </Menu.Item>
  ));
}

type Row = Parameters<typeof RunTable>[0]["runs"];

function Listed({
  runs,
  count,
  page,
  refetch,
  onTag,
  onNext,
  onBack,
}: {
  runs: Row;
  count: number;
  page: number;
  refetch: () => void;
  onTag: (key: string, value: string) => void;
  onNext: (last: string) => void;
  onBack: () => void;
}) {
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const choose = (ids: string[], on: boolean) =>
    setChosen((before) => {
      const after = new Set(before);
      for (const id of ids) on ? after.add(id) : after.delete(id);
      return after;
    });
  const last = runs.at(-1)?.runId;
  const from = page * PAGE;
  return (
    <>
      <Bulk
        ids={runs.filter((run) => chosen.has(run.runId)).map((run) => run.runId)}
        done={() => {
          setChosen(new Set());
          refetch();
        }}
      />
      <div className="panel">
        <RunTable runs={runs} chosen={chosen} onChoose={choose} onTag={onTag} />
      </div>
      <Group mt="xs" justify="space-between">
        <Text size="sm" className="quiet">
          {count === 0 ? "" : `${from + 1} to ${from + runs.length} of ${count.toLocaleString("en")}`}
        </Text>
        <Group gap="xs">
          <Button size="xs" variant="default" disabled={page === 0} onClick={onBack}>
            Newer
          </Button>
          <Button
            size="xs"
            variant="default"
            disabled={from + runs.length >= count || !last}
            onClick={() => last && onNext(last)}
          >
            Older
          </Button>
        </Group>
      </Group>
    </>
  );
}

function Bulk({ ids, done }: { ids: string[]; done: () => void }) {
  const client = useClient();
  const { good, bad } = useMessages();
  const [mayEnd] = usePermission("terminate");
  const [mayDelete] = usePermission("delete");
  if (ids.length === 0) return null;
  const each = async (work: (id: string) => Promise<string | undefined>, verb: string) => {
    const problems = (await Promise.all(ids.map(work))).filter((problem) => problem !== undefined);
    if (problems.length) bad(`${problems.length} of ${ids.length} could not be ${verb}: ${problems[0]}`);
    else good(`${ids.length} ${verb}.`);
    done();
  };
  return (
    <Group gap="xs" mb="xs">
      <Text size="sm">{counted(ids.length, "run")} chosen</Text>
      <Confirmed
        label="Cancel"
        question={`Cancel ${counted(ids.length, "run")}?`}
        disabled={!mayEnd}
        onYes={async () => {
          const result = await client.mutation(TerminateDocument, { runIds: ids, policy: null }).toPromise();
          const answer = result.data?.terminateRuns;
          const problem = refusal(answer, result.error);
          const failed =
            answer?.__typename === "TerminateRunsResult"
              ? answer.terminateRunResults.map((one) => refusal(one)).filter((one) => one !== undefined)
              : [];
          if (problem ?? failed.length) bad(problem ?? `${failed.length} of ${ids.length}: ${failed[0]}`);
          else good(`${ids.length} are asked to end.`);
          done();
        }}
      />
      <Button
        size="xs"
        variant="default"
        disabled={!mayEnd}
        onClick={() =>
          each(async (id) => {
            const how = { parentRunId: id, strategy: "ALL_STEPS" as const };
            const result = await client.mutation(RelaunchDocument, { params: null, how }).toPromise();
            return refusal(result.data?.launchRunReexecution, result.error);
          }, "launched again")
        }
      >
        Launch again
      </Button>
      <Button
        size="xs"
        variant="default"
        disabled={!mayEnd}
        onClick={() =>
          each(async (id) => {
            const how = { parentRunId: id, strategy: "FROM_FAILURE" as const };
            const result = await client.mutation(RelaunchDocument, { params: null, how }).toPromise();
            return refusal(result.data?.launchRunReexecution, result.error);
          }, "launched from their failure")
        }
      >
        From failure
      </Button>
      <Confirmed
        label="Delete"
        question={`Delete ${counted(ids.length, "run")} with ${ids.length === 1 ? "its log" : "their logs"} for good?`}
        color="red"
        disabled={!mayDelete}
        onYes={() =>
          each(async (id) => {
            const result = await client.mutation(DeleteRunDocument, { runId: id }).toPromise();
            return refusal(result.data?.deleteRun, result.error);
          }, "deleted")
        }
      />
    </Group>
  );
}
