"""Personal access tokens."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain import access_token as domain
from domain.account import Scope
from resolvers import access_token as resolve
from schema.access import OWNER
from schema.node import Node


@strawberry.type(
    description=(
        "A token that a program uses in its owner's name, as `Authorization: Bearer nat_…`. It never does more than "
        "its owner may, and manages no sessions, passwords or tokens."
    ),
    directives=[OWNER],
)
class AccessToken(Node):
    name: str = strawberry.field(description="What it is for.")
    prefix: str = strawberry.field(description="Its first characters, to tell it by.")
    scopes = strawberry.field(resolver=resolve.scopes, graphql_type=list[Scope], description="What it may be used for.")
    created_at: datetime = strawberry.field(description="When it was made.")
    expires_at: datetime | None = strawberry.field(description="When it stops being accepted, if ever.")
    last_used_at: datetime | None = strawberry.field(description="When it was last used, to the minute; null if never.")

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        """Called by GraphQL to tell nodes apart."""
        return isinstance(value, domain.PersonalAccessToken)
