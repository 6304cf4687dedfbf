/** Queries that are asked again when the server says that something has changed. */
import type { TypedDocumentNode } from "@urql/core";
import { useEffect, useRef, useSyncExternalStore } from "react";
import { type AnyVariables, useQuery } from "urql";
import { client, whenDenied, whenDisconnected, whenReconnected } from "./client";
import { ChangesDocument, type ChangesSubscription, type ChangeTopic } from "./gql";

type Change = ChangesSubscription["changes"];
type Listener = (change: Change) => void;

const listeners = new Set<Listener>();
let stop: (() => void) | undefined;

const EVERYTHING: Change = {
  topics: ["RUNS", "TICKS", "AUTOMATION", "BACKFILLS", "FLEET", "LOCATIONS"],
  runIds: null,
};

const LOST = "The connection to the service is lost, and is tried again.";
/** Milliseconds that a connection may be away before it is told: a proxy ends some now and then. */
const LOST_FOR = 3_000;

function tell(change: Change): void {
  for (const each of listeners) each(change);
}

function listen(listener: Listener): () => void {
  listeners.add(listener);
  if (!stop) {
    const changes = client.subscription(ChangesDocument, {}).subscribe((result) => {
      if (result.data) tell(result.data.changes);
    });
    let first = true;
    let lost: ReturnType<typeof setTimeout> | undefined;
    const clear = () => {
      clearTimeout(lost);
      lost = undefined;
      setTrouble(listeners, undefined);
    };
    const again = whenReconnected(() => {
      clear();
      if (!first) tell(EVERYTHING);
      first = false;
    });
    let denied = false;
    const signedOut = whenDenied(() => {
      denied = true; // who is to sign in has lost nothing, and loads the page anew
      clear();
    });
    const away = whenDisconnected(() => {
      if (!denied) lost ??= setTimeout(() => setTrouble(listeners, LOST), LOST_FOR);
    });
    stop = () => {
      changes.unsubscribe();
      again();
      signedOut();
      away();
      clear();
    };
  }
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      stop?.();
      stop = undefined;
    }
  };
}

/** Call back when one of the topics changes, at most once in `every` ms; with a run, only when that one does. */
export function useChanges(topics: ChangeTopic[], call: () => void, runId?: string, every = 400): void {
  const latest = useRef(call);
  latest.current = call;
  const key = topics.join();
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let last = 0;
    const off = listen((change) => {
      const mine = change.topics.some((topic) => key.split(",").includes(topic));
      if (!mine || (runId && change.runIds && !change.runIds.includes(runId))) return;
      if (timer) return;
      const wait = Math.max(0, last + every - Date.now());
      timer = setTimeout(() => {
        timer = undefined;
        last = Date.now();
        latest.current();
      }, wait);
    });
    return () => {
      clearTimeout(timer);
      off();
    };
  }, [key, runId, every]);
}

/** Why something that is shown could not be brought up to date. */
const troubles = new Map<object, string>();
const onTrouble = new Set<() => void>();

function setTrouble(whose: object, why: string | undefined): void {
  if (why === undefined) troubles.delete(whose);
  else troubles.set(whose, why);
  for (const call of onTrouble) call();
}

function watchTroubles(call: () => void): () => void {
  onTrouble.add(call);
  return () => onTrouble.delete(call);
}

/** One of the reasons, while there are any. */
export const useTrouble = (): string | undefined =>
  useSyncExternalStore(watchTroubles, () => troubles.values().next().value);

/** Milliseconds after which a query that failed is asked again: perhaps nothing changes that would have it asked. */
export const AGAIN = 5_000;

/** A query that stays current. Where it fails, what was there before stays: people are at work with it. */
export function useLive<Data, Variables extends AnyVariables>(
  query: TypedDocumentNode<Data, Variables>,
  variables: Variables,
  topics: ChangeTopic[],
  options: { runId?: string; pause?: boolean; every?: number } = {},
): { data: Data | undefined; error: string | undefined; refetch: () => void; fetching: boolean } {
  const [result, execute] = useQuery<Data, Variables>({
    query,
    variables,
    requestPolicy: "cache-and-network",
    pause: options.pause ?? false,
  } as never);
  const refetch = () => execute({ requestPolicy: "network-only" });
  useChanges(
    topics,
    () => {
      if (!options.pause) refetch();
    },
    options.runId,
    options.every,
  );
  // biome-ignore lint/correctness/useExhaustiveDependencies: once for each answer
  useEffect(() => {
    if (!result.error || options.pause) return;
    const timer = setTimeout(refetch, AGAIN);
    return () => clearTimeout(timer);
  }, [result.error, options.pause]);
  const kept = useRef<{ data: Data; of: string }>(undefined);
  if (result.data) kept.current = { data: result.data, of: JSON.stringify(result.operation?.variables) };
  const data = result.data ?? (kept.current?.of === JSON.stringify(variables) ? kept.current.data : undefined);
  const error = result.error?.message;
  const trouble = data && error;
  useEffect(() => {
    if (!trouble) return;
    const whose = {};
    setTrouble(whose, trouble);
    return () => setTrouble(whose, undefined);
  }, [trouble]);
  return { data, error, refetch, fetching: result.fetching };
}
