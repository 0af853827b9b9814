/**
 * One journey with graphql-sse in its distinct connections mode: every operation is a request of its own, and the
 * subscription's answer is a stream of server-sent events.
 *
 *     node clients/sse.mjs http://localhost:8080
 */
import { createClient } from "graphql-sse";
import { journey, main, settings } from "./journey.mjs";

function sse(endpoint) {
  let token = null;
  const authorization = () => (token ? { authorization: `Bearer ${token}` } : {});
  const client = createClient({ url: endpoint, singleConnection: false, headers: authorization });

  return {
    signIn(accessToken) {
      token = accessToken;
    },
    async run(query, variables) {
      const response = await fetch(endpoint, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          accept: "application/graphql-response+json, application/json;q=0.9",
          ...authorization(),
        },
        body: JSON.stringify({ query, variables }),
      });
      return dataOf(await response.json());
    },
    async watch(query, variables, onData) {
      for await (const answer of client.iterate({ query, variables })) onData(dataOf(answer));
    },
  };
}

function dataOf({ data, errors }) {
  if (errors) throw new Error(JSON.stringify(errors));
  return data;
}

main(() => {
  const { endpoint, ...rest } = settings();
  return journey(sse(endpoint), rest);
});
