/** The tabs a first visit starts with, in the order of a first walk through the product. */
import signIn from "./examples/1-sign-in.graphql?raw";
import generate from "./examples/2-generate.graphql?raw";
import watch from "./examples/3-watch.graphql?raw";
import history from "./examples/4-history.graphql?raw";
import settings from "./examples/5-settings.graphql?raw";
import publish from "./examples/6-publish.graphql?raw";

interface Example {
  readonly query: string;
  readonly variables: string;
}

function example(query: string, variables: Readonly<Record<string, unknown>>): Example {
  return { query, variables: JSON.stringify(variables, null, 2) };
}

export const EXAMPLES: Example[] = [
  example(signIn, { username: "", password: "", email: "" }),
  example(generate, { prompt: "Write a short guide to keeping bees on a city roof with a checklist and a table of the year" }),
  example(watch, { id: "latest" }),
  example(history, { first: 10 }),
  example(settings, { input: { systemPrompt: "Answer briefly." } }),
  example(publish, { token: "", parent: "", title: null, generationId: "latest" }),
];
