/** One GraphQL operation over HTTP, on the server this page came from. */
import type { FetcherParams } from "@graphiql/toolkit";
import type { FormattedExecutionResult } from "graphql-ws";
import { isObject } from "./json";

/** What the wire brings; errors are plain objects. */
export type Answer = FormattedExecutionResult;

export const ENDPOINT = "/graphql";

/** An answer for what went wrong before the server could give one, in the shape of its own errors. */
export function failure(message: string): Answer {
  return { errors: [{ message }] };
}

export async function post(
  request: FetcherParams,
  headers: Readonly<Record<string, string>>,
  signal?: AbortSignal,
): Promise<Answer> {
  let response: Response;
  try {
    response = await fetch(ENDPOINT, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        accept: "application/graphql-response+json, application/json;q=0.9",
        ...headers,
      },
      body: JSON.stringify(request),
      signal: signal ?? null,
    });
  } catch (error) {
    return failure(`The server could not be reached (${String(error)}). Is it running?`);
  }
  try {
    const answer: unknown = await response.json();
    if (isObject(answer)) return answer;
  } catch {
    // Falls through: what is not JSON is told the same way as JSON that is no GraphQL answer.
  }
  return failure(`The server answered ${response.status} ${response.statusText} without a GraphQL result.`);
}
