/** "latest" as an id: stands for the generation that was started last from this page. */
import type { FetcherParams } from "@graphiql/toolkit";
import type { Answer } from "./http";
import { isObject, textAt } from "./json";

const LATEST = "latest";
const VARIABLES = ["id", "generationId"];
const STORAGE_KEY = "notion-assistant:latest-generation";

/** Remembers the id of a generation that a mutation's payload carries. */
export function noticeGeneration(answer: Answer): void {
  for (const payload of Object.values(answer.data ?? {})) {
    const id = isObject(payload) ? textAt(payload["generation"], "id") : null;
    if (id !== null) sessionStorage.setItem(STORAGE_KEY, id);
  }
}

/** The request with "latest" replaced by that id, or null when nothing has been generated yet. */
export function withLatestId(request: FetcherParams): FetcherParams | null {
  const given: unknown = request.variables;
  if (!isObject(given)) return request;
  const asked = VARIABLES.filter((name) => given[name] === LATEST);
  if (asked.length === 0) return request;
  const latest = sessionStorage.getItem(STORAGE_KEY);
  if (latest === null) return null;
  return { ...request, variables: { ...given, ...Object.fromEntries(asked.map((name) => [name, latest])) } };
}
