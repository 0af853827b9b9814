/**
 * The audits of graphql-http: what the GraphQL over HTTP specification asks of a server. Prints their results.
 *
 *     node clients/audits.mjs http://localhost:8080
 */
import { auditServer } from "graphql-http";

const baseUrl = process.argv[2] ?? process.env.BASE_URL ?? "http://localhost:8080";
// Against forged requests the server takes a GET only with this header, which Apollo Client sends by itself.
const fetchFn = (url, { headers, ...rest } = {}) =>
  fetch(url, { ...rest, headers: { ...headers, "apollo-require-preflight": "true" } });

const results = await auditServer({ url: new URL("/graphql", baseUrl).href, fetchFn });

const shown = results.map(({ id, name, status, reason }) => ({ id, name, status, reason: reason ?? null }));
console.log(JSON.stringify(shown, null, 2));
process.exitCode = results.every(({ status }) => status === "ok") ? 0 : 1;
