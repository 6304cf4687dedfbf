/** The one connection to the API: queries over HTTP, subscriptions over graphql-transport-ws. */
import {
  type Client,
  cacheExchange,
  createClient,
  type Exchange,
  fetchExchange,
  mapExchange,
  subscriptionExchange,
} from "@urql/core";
import { createClient as createSocket } from "graphql-ws";

const base = document.querySelector("base") ? new URL(document.baseURI) : new URL("/", location.href);

/** Path under which the pages are served, without a slash at its end. */
export const BASE = base.pathname.replace(/\/$/, "");

/** Address of something that the server has, next to the pages. */
export const address = (path: string): string => new URL(path, base).href;

/** Sent with everything that our pages ask: other sites cannot. */
export const HEADERS = { "x-opgrid": "1" };

const onDenied = new Set<() => void>();

/** Call back when the server asks for a token. */
export function whenDenied(call: () => void): () => void {
  onDenied.add(call);
  return () => onDenied.delete(call);
}

const socket = createSocket({
  url: address("graphql").replace(/^http/, "ws"),
  lazy: true,
  keepAlive: 20_000,
  retryAttempts: Number.POSITIVE_INFINITY,
  retryWait: async (tries) => {
    await new Promise((done) => setTimeout(done, Math.min(500 * 2 ** tries, 5_000)));
  },
  shouldRetry: () => true,
});

const asking = (...kept: Exchange[]): Client =>
  createClient({
    url: address("graphql"),
    preferGetMethod: false,
    fetchOptions: { headers: HEADERS },
    exchanges: [
      mapExchange({
        onError(error) {
          if (error.response?.status === 401) for (const call of onDenied) call();
        },
      }),
      ...kept,
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: (operation) => ({
          subscribe: (sink) => ({
            unsubscribe: socket.subscribe({ ...operation, query: operation.query ?? "" }, sink as never),
          }),
        }),
      }),
    ],
  });

/** Keeps every answer: a page that somebody comes back to is there at once. */
export const client = asking(cacheExchange);

/** Keeps none: for questions that nobody asks a second time, and that never end. */
export const passing = asking();

/** Called with each new connection: what happened in between was missed. */
export function whenReconnected(call: () => void): () => void {
  return socket.on("connected", call);
}

/** Called with each connection that ends; it is tried again. */
export function whenDisconnected(call: () => void): () => void {
  return socket.on("closed", call);
}
