"""The viewer's personal access tokens: made, listed, revoked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Protocol

import strawberry

from domain.access_token import PersonalAccessToken
from domain.access_token_service import NewAccessToken
from domain.account import Scope
from resolvers import ids
from resolvers.context import Info
from resolvers.inputs import IdInput


@strawberry.input(description="A token to make.")
class CreateAccessTokenInput:
    name: str = strawberry.field(description="What it is for, in 1 to 100 characters.")
    scopes: list[Scope] = strawberry.field(description="What it may be used for, one at least.")
    expires_at: datetime | None = strawberry.field(default=None, description="When it stops being accepted, if ever.")


async def access_tokens(info: Info) -> Sequence[PersonalAccessToken]:
    """The viewer's tokens."""
    return await info.context.services.access_tokens.list_of(info.context.require_viewer())


async def create_access_token(
    info: Info, input_: Annotated[CreateAccessTokenInput, strawberry.argument(name="input", description="The token.")]
) -> NewAccessToken:
    """Makes a token."""
    context = info.context
    return await context.services.access_tokens.create(
        context.require_viewer(),
        name=input_.name,
        scopes=input_.scopes,
        expires_at=input_.expires_at,
        client=context.client,
    )


async def revoke_access_token(
    info: Info, input_: Annotated[IdInput, strawberry.argument(name="input", description="The token to revoke.")]
) -> Sequence[PersonalAccessToken]:
    """Ends a token; answers those that are left."""
    context = info.context
    viewer = context.require_viewer()
    token_id = ids.decode_as(ids.NodeType.ACCESS_TOKEN, input_.id)
    await context.services.access_tokens.revoke(viewer, token_id, client=context.client)
    return await context.services.access_tokens.list_of(viewer)


def scopes(root: strawberry.Parent[PersonalAccessToken]) -> Sequence[Scope]:
    """What the token may be used for."""
    return [scope for scope in Scope if scope in root.scopes]


class CreationOutcome(Protocol):
    """What became of a token that was to be made; None after a failure."""

    made: NewAccessToken | None


def made_token(root: strawberry.Parent[CreationOutcome]) -> PersonalAccessToken | None:
    """The new token."""
    return None if root.made is None else root.made.token


def made_secret(root: strawberry.Parent[CreationOutcome]) -> str | None:
    """The new token's secret."""
    return None if root.made is None else root.made.secret.reveal()
