/**
 * One journey with Apollo Client: queries and mutations over HTTP, the subscription over graphql-ws.
 *
 *     node clients/apollo.mjs http://localhost:8080
 */
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { SetContextLink } from "@apollo/client/link/context";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { OperationTypeNode } from "graphql";
import { createClient } from "graphql-ws";
import { journey, main, settings } from "./journey.mjs";

function apollo(endpoint) {
  let token = null;
  const authorization = () => (token ? { authorization: `Bearer ${token}` } : {});

  const http = new SetContextLink(({ headers }) => ({ headers: { ...headers, ...authorization() } })).concat(
    new HttpLink({ uri: endpoint }),
  );
  // Needs a global WebSocket: browsers, and Node from version 22.
  const socket = createClient({ url: endpoint.replace(/^http/, "ws"), connectionParams: authorization });
  const link = ApolloLink.split(
    ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION,
    new GraphQLWsLink(socket),
    http,
  );
  const client = new ApolloClient({ link, cache: new InMemoryCache() });

  return {
    signIn(accessToken) {
      token = accessToken;
    },
    async run(document, variables) {
      const operation = gql(document);
      const isMutation = operation.definitions.some((definition) => definition.operation === "mutation");
      const { data } = isMutation
        ? await client.mutate({ mutation: operation, variables })
        : await client.query({ query: operation, variables, fetchPolicy: "network-only" });
      return data;
    },
    watch(document, variables, onData) {
      const results = client.subscribe({ query: gql(document), variables, fetchPolicy: "no-cache" });
      return new Promise((resolve, reject) => {
        // Apollo Client hands a subscription's errors to next().
        const next = ({ data, error }) => (error ? reject(error) : onData(data));
        results.subscribe({ next, error: reject, complete: resolve });
      });
    },
  };
}

main(() => {
  const { endpoint, ...rest } = settings();
  return journey(apollo(endpoint), rest);
});
