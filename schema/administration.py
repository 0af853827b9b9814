"""What administrators see: accounts, and the audit log."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain.audit import AuditAction
from resolvers import administration as resolve
from resolvers import connection
from resolvers.scalars import JSONObject
from schema.account import User
from schema.page_info import PageInfo


@strawberry.type(description="An account and its place in the list.")
class UserEdge:
    cursor: str = strawberry.field(description="Its place, to be given as `after` or `before`.")
    node: User = strawberry.field(description="The account.")


@strawberry.type(description="A page of accounts, the oldest first.")
class UserConnection:
    edges = strawberry.field(
        resolver=connection.edges, graphql_type=list[UserEdge], description="The accounts with their cursors."
    )
    nodes = strawberry.field(resolver=connection.nodes, graphql_type=list[User], description="The accounts.")
    page_info = strawberry.field(
        resolver=connection.page_info, graphql_type=PageInfo, description="Where the page begins and ends."
    )
    total_count = strawberry.field(
        resolver=connection.total_count,
        graphql_type=int,
        description="How many accounts the search finds, on all pages together.",
    )


@strawberry.type(description="Something that happened, as the audit log keeps it for good.")
class AuditEvent:
    at: datetime = strawberry.field(description="When.")
    action: AuditAction = strawberry.field(description="What.")
    actor_id = strawberry.field(
        resolver=resolve.actor_id,
        graphql_type=strawberry.ID | None,
        description="Who did it; null for the server itself and for somebody unknown.",
    )
    actor = strawberry.field(
        resolver=resolve.actor, graphql_type=User | None, description="Who did it, as long as the account exists."
    )
    target: str = strawberry.field(description="What it was done to, such as `user:` or `session:` with an id.")
    ip: str | None = strawberry.field(description="From which address.")
    details: JSONObject = strawberry.field(description="More of it, such as what was before and what is after.")


@strawberry.type(description="An event and its place in the log.")
class AuditEdge:
    cursor: str = strawberry.field(description="Its place, to be given as `after` or `before`.")
    node: AuditEvent = strawberry.field(description="The event.")


@strawberry.type(description="A page of the audit log, the newest events first.")
class AuditConnection:
    edges = strawberry.field(
        resolver=connection.edges, graphql_type=list[AuditEdge], description="The events with their cursors."
    )
    nodes = strawberry.field(resolver=connection.nodes, graphql_type=list[AuditEvent], description="The events.")
    page_info = strawberry.field(
        resolver=connection.page_info, graphql_type=PageInfo, description="Where the page begins and ends."
    )
    total_count = strawberry.field(
        resolver=connection.total_count,
        graphql_type=int,
        description="How many events the filter lets through, on all pages together.",
    )


@strawberry.type(description="How much of one kind was deleted, or would be.")
class DeletedData:
    kind: str = strawberry.field(description="What it is.")
    count: int = strawberry.field(description="How many.")
