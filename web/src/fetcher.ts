/** Carries GraphiQL's operations to the server: queries and mutations over HTTP, subscriptions over a WebSocket. */
import type { Fetcher, FetcherOpts, FetcherParams, Unsubscribable } from "@graphiql/toolkit";
import { getOperationAST } from "graphql";
import { createClient } from "graphql-ws";
import { type Answer, ENDPOINT, failure, post } from "./http";
import { hasErrorCode, isObject, textAt } from "./json";
import { noticeGeneration, withLatestId } from "./latest";
import { beginLive, endLive, followLive, markLive } from "./live";
import { authorization, noticeSignIn, noticeSignOut, renew } from "./session";

type Headers = Readonly<Record<string, string>>;

interface Sink {
  next(answer: Answer): void;
  complete(): void;
}

const ACK_TIMEOUT_MS = 10_000;
const RETRIES = 5;
const TOKEN_REFUSED = [4401, 4403];

// GraphiQL's type wants errors to be instances of a class and subscribe() to be callable in three ways. It prints the
// errors as JSON, which is what the wire brings, and calls subscribe() with an observer only.
export const fetcher = carry as Fetcher;

async function carry(
  params: FetcherParams,
  options?: FetcherOpts,
): Promise<Answer | { subscribe(sink: Sink): Unsubscribable }> {
  const request = withLatestId(params);
  if (request === null) return failure('Nothing has been generated yet: run the "Generate" tab first.');
  const written = headersOf(options);
  const operation = options?.documentAST && getOperationAST(options.documentAST, request.operationName);
  if (operation?.operation !== "subscription") return ask(request, written);
  return { subscribe: (sink) => watch(request, written, sink) };
}

async function ask(request: FetcherParams, written: Headers): Promise<Answer> {
  const headers = await withAuthorization(written);
  const isOurs = headers !== written;
  let answer = await post(request, headers);
  if (isOurs && hasErrorCode(answer.errors, "UNAUTHENTICATED")) {
    // Refused before its time (revoked, or another server's): either it can be renewed or nobody is signed in. An answer
    // without "data" says that nothing was run, so then it is safe to ask again.
    await renew();
    if (answer.data === undefined) answer = await post(request, await withAuthorization(written));
  }
  if (isOurs) noticeSignOut(answer);
  noticeSignIn(answer);
  noticeGeneration(answer);
  return answer;
}

function watch(request: FetcherParams, written: Headers, sink: Sink): Unsubscribable {
  beginLive();
  const client = createClient({
    url: new URL(ENDPOINT, location.href.replace(/^http/, "ws")).href,
    // Asked anew for every connection, so that one which is made again carries a token that is still good.
    connectionParams: () => withAuthorization(written),
    connectionAckWaitTimeout: ACK_TIMEOUT_MS,
    retryAttempts: RETRIES,
    retryWait: (retries) => new Promise((resolve) => setTimeout(resolve, 500 * 2 ** retries + 500 * Math.random())),
    // By itself graphql-ws gives up when a connection can't be made; a server that restarts is away for a moment.
    shouldRetry: () => true,
    on: {
      connecting: (isRetry) => isRetry && markLive("reconnecting"),
      connected: (_socket, _payload, wasRetry) => wasRetry && beginLive(),
      closed: (event) => {
        const code = isObject(event) ? event["code"] : null;
        if (TOKEN_REFUSED.some((refused) => refused === code)) void renew();
      },
    },
  });
  const stop = client.subscribe(
    { ...request, operationName: request.operationName ?? null },
    {
      next: (answer: Answer) => {
        followLive(answer.data);
        if (answer.errors) markLive("failed", answer.errors[0]?.message);
        sink.next(answer);
      },
      error: (error) => {
        const answer = asAnswer(error);
        markLive("failed", answer.errors?.[0]?.message);
        sink.next(answer);
        sink.complete();
      },
      complete: () => {
        endLive();
        sink.complete();
      },
    },
  );
  return { unsubscribe: stop };
}

/** Why a subscription failed: the server's errors, or how the connection was closed. */
function asAnswer(error: unknown): Answer {
  if (Array.isArray(error)) return { errors: error };
  if (error instanceof CloseEvent) return failure(`The connection was closed: ${error.code} ${error.reason}`.trim());
  return failure(textAt(error, "message") ?? "The server could not be reached. Is it running?");
}

/** These headers, or when they say nothing of authorization, these and the signed-in session's. */
async function withAuthorization(written: Headers): Promise<Headers> {
  if (Object.keys(written).some((name) => name.toLowerCase() === "authorization")) return written;
  const header = await authorization();
  return header === null ? written : { ...written, authorization: header };
}

function headersOf(options: FetcherOpts | undefined): Headers {
  return Object.fromEntries(Object.entries(options?.headers ?? {}).map(([name, value]) => [name, String(value)]));
}
