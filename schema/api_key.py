"""A user's own keys at AI providers."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain import provider as domain
from resolvers import provider as resolve
from schema.access import OWNER
from schema.node import Node
from schema.payload import UserError, error_field
from schema.provider import Provider


@strawberry.type(
    description="A user's own key at a provider, which is used instead of the server's. Never shown again.",
    directives=[OWNER],
)
class ApiKey(Node):
    provider = strawberry.field(
        resolver=resolve.provider_of, graphql_type=Provider, description="The provider that it opens."
    )
    hint: str = strawberry.field(description="Its last four characters.")
    is_active: bool = strawberry.field(
        description="Whether it is used: of a provider's keys that are active and have not expired, the newest one."
    )
    created_at: datetime = strawberry.field(description="When it was added.")
    expires_at: datetime | None = strawberry.field(description="When it stops being used, if ever.")
    last_used_at: datetime | None = strawberry.field(
        description="When it was last used, if ever; noted at most once a minute."
    )

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        """Called by GraphQL to tell nodes apart."""
        return isinstance(value, domain.ApiKey)


@strawberry.type(description="What a provider has just said of a key.")
class ApiKeyTest:
    api_key: ApiKey = strawberry.field(description="The key.")
    is_accepted: bool | None = strawberry.field(
        description="Whether the provider accepts it; null when it could not be asked, and `error` says why."
    )
    model_count: int | None = strawberry.field(
        description="How many models the provider lists for it; null when it lists none to it."
    )
    error: UserError | None = error_field(description="What went wrong; null when nothing did.")
