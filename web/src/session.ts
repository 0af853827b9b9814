/** Who is signed in: keeps the tokens while this browser tab lives, and renews them before they expire. */
import { type Answer, post } from "./http";
import { hasErrorCode, isObject, textAt } from "./json";
import { Store } from "./store";

export interface Session {
  readonly accessToken: string;
  readonly refreshToken: string;
  readonly username: string | null;
  /** By this machine's clock, in milliseconds since 1970. */
  readonly renewAt: number;
}

const STORAGE_KEY = "notion-assistant:session";
const DEFAULT_LIFETIME_SECONDS = 600;
const RENEW_EARLY_SECONDS = 60;
const RENEW_TIMEOUT_MS = 10_000;

const RENEW = `mutation RenewSession($refreshToken: String!) {
  refreshSession(input: { refreshToken: $refreshToken }) { accessToken refreshToken errors { code } }
}`;
const LOGOUT = "mutation Logout { logout { __typename } }";

export const session = new Store<Session | null>(restore());

// A duplicated browser tab starts with a copy of this session. A refresh token is good for one use, and a second use
// ends the session for everybody who holds it, so tabs tell each other what has replaced what.
interface Replacement {
  readonly refreshToken: string;
  readonly by: Session | null;
}
const otherTabs = new BroadcastChannel(STORAGE_KEY);
otherTabs.onmessage = ({ data }: MessageEvent<Replacement>) => {
  if (session.get()?.refreshToken === data.refreshToken) keep(data.by);
};

let renewal: Promise<void> | null = null;

/** The Authorization header for the next request, renewed first when it is about to expire; null when signed out. */
export async function authorization(): Promise<string | null> {
  const current = session.get();
  if (current !== null && (renewal !== null || Date.now() >= current.renewAt)) await renew();
  const fresh = session.get();
  return fresh === null ? null : `Bearer ${fresh.accessToken}`;
}

/** Exchanges the refresh token, once however many ask at the same time; signs out when the server refuses it. */
export function renew(): Promise<void> {
  renewal ??= exchange().finally(() => {
    renewal = null;
  });
  return renewal;
}

async function exchange(): Promise<void> {
  const old = session.get();
  if (old === null) return;
  const variables = { refreshToken: old.refreshToken };
  const answer = await post({ query: RENEW, variables }, {}, AbortSignal.timeout(RENEW_TIMEOUT_MS));
  if (session.get() !== old) return;
  const payload: unknown = answer.data?.["refreshSession"];
  const next = asSession(payload, old.username);
  const refused = hasErrorCode(answer.errors, "UNAUTHENTICATED")
    || hasErrorCode(isObject(payload) ? payload["errors"] : null, "UNAUTHENTICATED");
  // Any other failure (no network, too many requests) leaves the session for the next request to try again.
  if (next !== null || refused) replace(next);
}

/** Signs in with the tokens an answer brings: of register, login, changePassword or refreshSession. */
export function noticeSignIn(answer: Answer): void {
  for (const payload of Object.values(answer.data ?? {})) {
    const signedIn = asSession(payload, null);
    if (signedIn !== null) replace(signedIn);
  }
}

/** Signs out when an answer says that this session was logged out. */
export function noticeSignOut(answer: Answer): void {
  if (isObject(answer.data?.["logout"])) replace(null);
}

export async function signOut(): Promise<void> {
  const header = await authorization();
  replace(null);
  if (header !== null) {
    await post({ query: LOGOUT }, { authorization: header }, AbortSignal.timeout(RENEW_TIMEOUT_MS));
  }
}

function replace(next: Session | null): void {
  const old = session.get();
  keep(next);
  if (old !== null) otherTabs.postMessage({ refreshToken: old.refreshToken, by: next } satisfies Replacement);
}

function keep(next: Session | null): void {
  session.set(next);
  if (next === null) sessionStorage.removeItem(STORAGE_KEY);
  else sessionStorage.setItem(STORAGE_KEY, JSON.stringify(next));
}

function restore(): Session | null {
  try {
    const stored: unknown = JSON.parse(sessionStorage.getItem(STORAGE_KEY) ?? "null");
    const renewAt = isObject(stored) ? stored["renewAt"] : null;
    const restored = asSession(stored, textAt(stored, "username"));
    return restored !== null && typeof renewAt === "number" ? { ...restored, renewAt } : null;
  } catch {
    return null;
  }
}

/** The session in a payload that has both tokens, whatever else was selected with them; otherwise null. */
function asSession(payload: unknown, username: string | null): Session | null {
  const accessToken = textAt(payload, "accessToken");
  const refreshToken = textAt(payload, "refreshToken");
  if (accessToken === null || refreshToken === null) return null;
  const user = isObject(payload) ? payload["user"] : null;
  return {
    accessToken,
    refreshToken,
    username: textAt(user, "username") ?? textAt(user, "email") ?? username,
    renewAt: Date.now() + (lifetimeSeconds(accessToken) - RENEW_EARLY_SECONDS) * 1000,
  };
}

/** How long the token lives by its own claims: a span, so that this machine's clock need not agree with the server's. */
function lifetimeSeconds(accessToken: string): number {
  try {
    const claims = accessToken.split(".")[1] ?? "";
    const { iat, exp } = JSON.parse(atob(claims.replaceAll("-", "+").replaceAll("_", "/")));
    const seconds = Number(exp) - Number(iat);
    return seconds > 0 ? seconds : DEFAULT_LIFETIME_SECONDS;
  } catch {
    return DEFAULT_LIFETIME_SECONDS;
  }
}
