"""The viewer's own keys at AI providers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import UNSET

from domain.api_key_service import ApiKeyTest
from domain.provider import ApiKey
from domain.secret import Secret
from domain.unset import UNSET as UNCHANGED
from resolvers import ids
from resolvers.context import Info
from resolvers.inputs import IdInput


@strawberry.input(description="A key to add.")
class AddApiKeyInput:
    provider: strawberry.ID = strawberry.field(description="The provider that the key opens, such as `openai`.")
    key: str = strawberry.field(description="The key itself. It is stored encrypted and never shown again.")
    expires_at: datetime | None = strawberry.field(default=None, description="When it stops being used, if ever.")


@strawberry.input(description="A key's change. What is left out stays.")
class UpdateApiKeyInput:
    id: strawberry.ID = strawberry.field(description="The key's id.")
    is_active: bool | None = strawberry.field(
        default=UNSET, description="Whether it is used; of a provider's keys that are, the newest one."
    )
    expires_at: datetime | None = strawberry.field(
        default=UNSET, description="When it stops being used; null for never."
    )


async def add_api_key(
    info: Info, input_: Annotated[AddApiKeyInput, strawberry.argument(name="input", description="The key.")]
) -> ApiKey:
    """Stores a key."""
    context = info.context
    return await context.services.api_keys.add(
        context.require_viewer(),
        provider_id=input_.provider,
        key=Secret(input_.key),
        expires_at=input_.expires_at,
        client=context.client,
    )


async def update_api_key(
    info: Info, input_: Annotated[UpdateApiKeyInput, strawberry.argument(name="input", description="The change.")]
) -> ApiKey:
    """Has a key used or not used."""
    context = info.context
    is_active = input_.is_active
    return await context.services.api_keys.update(
        context.require_viewer(),
        ids.decode_as(ids.NodeType.API_KEY, input_.id),
        is_active=UNCHANGED if is_active is UNSET or is_active is None else is_active,
        expires_at=UNCHANGED if input_.expires_at is UNSET else input_.expires_at,
        client=context.client,
    )


async def test_api_key(
    info: Info, input_: Annotated[IdInput, strawberry.argument(name="input", description="The key to try.")]
) -> ApiKeyTest:
    """Asks the provider what it thinks of a key."""
    context = info.context
    key_id = ids.decode_as(ids.NodeType.API_KEY, input_.id)
    return await context.services.api_keys.test(context.require_viewer(), key_id, client=context.client)


async def remove_api_key(
    info: Info, input_: Annotated[IdInput, strawberry.argument(name="input", description="The key to remove.")]
) -> Sequence[ApiKey]:
    """Deletes a key; answers those that are left."""
    context = info.context
    viewer = context.require_viewer()
    key_id = ids.decode_as(ids.NodeType.API_KEY, input_.id)
    await context.services.api_keys.remove(viewer, key_id, client=context.client)
    return await context.services.api_keys.list_of(viewer)
