"""Sign-ins."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain import account as domain
from resolvers import session as resolve
from schema.access import OWNER
from schema.node import Node


@strawberry.type(description="A sign-in that lasts.", directives=[OWNER])
class Session(Node):
    user_agent: str | None = strawberry.field(description="What the device called itself when it signed in.")
    ip: str | None = strawberry.field(description="The address from which it was seen last.")
    created_at: datetime = strawberry.field(description="When it was signed in.")
    last_seen_at: datetime = strawberry.field(description="When it was seen last, to the minute.")
    expires_at: datetime = strawberry.field(description="When it ends unless it is refreshed before.")
    is_current = strawberry.field(
        resolver=resolve.is_current, graphql_type=bool, description="Whether this request speaks by it."
    )

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        """Called by GraphQL to tell nodes apart."""
        return isinstance(value, domain.Session)
