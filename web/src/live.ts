/** The answer of a watched generation, put together from its events as they arrive. */
import { isObject, textAt } from "./json";
import { Store } from "./store";

export type Phase = "connecting" | "streaming" | "reconnecting" | "finished" | "stopped" | "failed";

export interface LiveAnswer {
  readonly phase: Phase;
  readonly text: string;
  readonly reasoning: string;
  /** What became of it: status, tokens, cost, or why it failed; before its end, why it has to wait. */
  readonly outcome: string | null;
  readonly page: { readonly status: string; readonly url: string | null } | null;
}

const NOTHING: LiveAnswer = { phase: "connecting", text: "", reasoning: "", outcome: null, page: null };

/** What the last watched subscription has brought; null before the first. */
export const liveAnswer = new Store<LiveAnswer | null>(null);

/** Starts from nothing: a new subscription, or one that begins again after a lost connection and is sent everything. */
export function beginLive(phase: Phase = "connecting"): void {
  liveAnswer.set({ ...NOTHING, phase });
}

export function markLive(phase: Phase, outcome?: string): void {
  const answer = liveAnswer.get();
  if (answer !== null) liveAnswer.set({ ...answer, phase, outcome: outcome ?? answer.outcome });
}

/** The subscription is over; unless it brought its own ending or failed, somebody stopped it. */
export function endLive(): void {
  const phase = liveAnswer.get()?.phase;
  if (phase !== "finished" && phase !== "failed") markLive("stopped");
}

export function followLive(data: unknown): void {
  const answer = liveAnswer.get();
  if (answer === null || !isObject(data)) return;
  for (const event of Object.values(data)) liveAnswer.set(afterEvent({ ...answer, phase: "streaming" }, event));
}

function afterEvent(answer: LiveAnswer, event: unknown): LiveAnswer {
  if (!isObject(event)) return answer;
  switch (event["__typename"]) {
    case "GenerationText":
      return { ...answer, text: answer.text + (textAt(event, "text") ?? ""), outcome: null };
    case "GenerationReasoning":
      return { ...answer, reasoning: answer.reasoning + (textAt(event, "text") ?? ""), outcome: null };
    case "GenerationAttemptFailed":
      return { ...answer, outcome: failureOf(event["attempt"]) };
    case "GenerationRestarted":
      return { ...answer, text: "", reasoning: "" };
    case "PublicationChanged":
      return { ...answer, page: pageOf(event["publication"]) ?? answer.page };
    case "GenerationFinished":
      return { ...answer, phase: "finished", outcome: outcomeOf(event["generation"]) };
    default:
      return answer;
  }
}

function pageOf(publication: unknown): LiveAnswer["page"] {
  const status = textAt(publication, "status");
  if (status === null || !isObject(publication)) return null;
  const url = textAt(publication["page"], "url");
  return { status, url: url?.startsWith("https://") ? url : null };
}

function failureOf(attempt: unknown): string | null {
  if (!isObject(attempt)) return null;
  const model = textAt(attempt["model"], "id") ?? "A model";
  const next = attempt["retryAt"] === null ? "asking the next one" : "asking it again";
  return `${model}: ${textAt(attempt["error"], "message") ?? "no answer"} (${next} …)`;
}

function outcomeOf(generation: unknown): string {
  if (!isObject(generation)) return "finished";
  const usage = generation["usage"];
  const outputTokens = isObject(usage) ? usage["outputTokens"] : null;
  const cost = textAt(generation, "cost");
  const parts = [
    textAt(generation, "status") ?? "finished",
    typeof outputTokens === "number" ? `${outputTokens} tokens` : null,
    cost === null ? null : `$${cost}`,
    textAt(generation["error"], "message"),
  ];
  return parts.filter((part) => part !== null).join(" · ");
}
