"""The viewer's past generations as a Relay connection."""

from __future__ import annotations

import strawberry

from resolvers import connection as resolve
from schema.generation import Generation
from schema.page_info import PageInfo


@strawberry.type(description="A generation and its place in the list.")
class HistoryEdge:
    cursor: str = strawberry.field(description="Its place, to be given as `after` or `before`.")
    node: Generation = strawberry.field(description="The generation.")


@strawberry.type(description="A page of past generations.")
class HistoryConnection:
    edges = strawberry.field(
        resolver=resolve.edges, graphql_type=list[HistoryEdge], description="The generations with their cursors."
    )
    nodes = strawberry.field(resolver=resolve.nodes, graphql_type=list[Generation], description="The generations.")
    page_info = strawberry.field(
        resolver=resolve.page_info, graphql_type=PageInfo, description="Where the page begins and ends."
    )
    total_count = strawberry.field(
        resolver=resolve.total_count,
        graphql_type=int,
        description="How many generations the filter lets through, on all pages together.",
    )
