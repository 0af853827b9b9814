/**
 * What both client scripts do, without the client: the operations of one journey through the product (sign in,
 * generate, watch, look into the history), and what is kept of it.
 */
import { randomUUID } from "node:crypto";

export const REGISTER = `mutation Register($input: RegisterInput!) {
  register(input: $input) { accessToken errors { code message field } }
}`;

export const LOGIN = `mutation Login($input: LoginInput!) {
  login(input: $input) { accessToken errors { code message field } }
}`;

export const GENERATE = `mutation Generate($input: GenerateContentInput!) {
  generateContent(input: $input) { generation { id } errors { code message field } }
}`;

export const WATCH = `subscription Watch($id: ID!) {
  generationEvents(id: $id) {
    __typename
    ... on GenerationText { cursor text }
    ... on GenerationRestarted { cursor reason }
    ... on GenerationFinished { cursor generation { id status error { code message } } }
  }
}`;

export const HISTORY = `query History {
  viewer { id history(first: 20) { nodes { id status } } }
}`;

const DEADLINE_MS = 60_000;

/** Settings from the command line and the environment; LOGIN and PASSWORD sign in, without them a new user registers. */
export function settings() {
  const { BASE_URL, LOGIN: login, PASSWORD: password, PROVIDER, PROMPT } = process.env;
  const baseUrl = process.argv[2] ?? BASE_URL ?? "http://localhost:8080";
  return {
    endpoint: new URL("/graphql", baseUrl).href,
    account: login && password ? { login, password } : null,
    generation: { prompt: PROMPT ?? "Write a short note on the sea.", provider: PROVIDER ?? "demo" },
  };
}

/**
 * The whole journey through `client`, which has signIn(accessToken), run(document, variables), which gives the data,
 * and watch(document, variables, onData), which ends when the subscription does.
 */
export async function journey(client, { account, generation }) {
  const signedIn = account
    ? payload(await client.run(LOGIN, { input: account }), "login")
    : payload(await client.run(REGISTER, { input: newUser() }), "register");
  client.signIn(signedIn.accessToken);

  const generated = payload(await client.run(GENERATE, { input: generation }), "generateContent");
  const { id } = generated.generation;
  const seen = { id, text: "", events: 0, status: null, historyIds: [] };
  await client.watch(WATCH, { id }, ({ generationEvents: event }) => {
    seen.events += 1;
    if (event.__typename === "GenerationText") seen.text += event.text;
    if (event.__typename === "GenerationRestarted") seen.text = "";
    if (event.__typename === "GenerationFinished") seen.status = event.generation.status;
  });
  if (seen.status === null) throw new Error("The events ended without a GenerationFinished.");

  const { viewer } = await client.run(HISTORY, {});
  seen.historyIds = viewer.history.nodes.map((node) => node.id);
  return seen;
}

/** Runs `start`, prints what it returns as one line of JSON, and ends the process with 0, or 1 on any error. */
export function main(start) {
  const late = setTimeout(() => fail(new Error(`Not done after ${DEADLINE_MS / 1000} seconds.`)), DEADLINE_MS);
  start().then((seen) => {
    clearTimeout(late);
    console.log(JSON.stringify(seen));
  }, fail);
}

function fail(error) {
  console.error(error);
  process.exit(1);
}

function payload(data, field) {
  const { errors, ...rest } = data[field];
  if (errors.length > 0) throw new Error(`${field}: ${JSON.stringify(errors)}`);
  return rest;
}

function newUser() {
  const username = `u${randomUUID().replaceAll("-", "").slice(0, 20)}`;
  return { email: `${username}@example.com`, username, password: randomUUID() };
}
