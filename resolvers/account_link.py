"""Invitations and forgotten passwords."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Protocol

import strawberry

from domain.account import Role, User
from domain.account_link import AccountLink
from domain.account_link_service import NewAccountLink
from domain.page import PageRequest
from domain.sign_in import SignIn
from resolvers import ids
from resolvers.connection import After, Before, Connection, First, Last
from resolvers.context import Info
from resolvers.inputs import IdInput


@strawberry.input(description="An invitation to make an account.")
class CreateInvitationInput:
    role: Role = strawberry.field(default=Role.USER, description="The rights of the account that is made by it.")
    expires_in_hours: int = strawberry.field(default=168, description="How long it is good, 1 to 720 hours.")


@strawberry.input(description="Whose password is forgotten.")
class CreatePasswordResetInput:
    user_id: strawberry.ID = strawberry.field(description="The user.")
    expires_in_hours: int = strawberry.field(default=24, description="How long the link is good, 1 to 720 hours.")


@strawberry.input(description="Another password, by a link that an administrator has made.")
class ResetPasswordInput:
    secret: str = strawberry.field(description="The link's secret: what follows `#passwordReset=`.")
    new_password: str = strawberry.field(
        description="The new password: 15 characters at least, any characters, and not easy to guess."
    )


async def create_invitation(
    info: Info,
    input_: Annotated[CreateInvitationInput, strawberry.argument(name="input", description="The invitation.")],
) -> NewAccountLink:
    """Makes an invitation."""
    context = info.context
    return await context.services.account_links.invite(
        context.require_viewer(), role=input_.role, hours=input_.expires_in_hours, client=context.client
    )


async def create_password_reset(
    info: Info,
    input_: Annotated[CreatePasswordResetInput, strawberry.argument(name="input", description="Whose password.")],
) -> NewAccountLink:
    """Makes a link to choose another password by."""
    context = info.context
    user_id = ids.decode_as(ids.NodeType.USER, input_.user_id, field=("userId",))
    return await context.services.account_links.offer_reset(
        context.require_viewer(), user_id, hours=input_.expires_in_hours, client=context.client
    )


async def reset_password(
    info: Info,
    input_: Annotated[ResetPasswordInput, strawberry.argument(name="input", description="Link and password.")],
) -> SignIn:
    """Puts another password in place, and signs in."""
    context = info.context
    return await context.sign_in(
        lambda: context.services.account_links.reset_password(
            secret=input_.secret, new_password=input_.new_password, client=context.client
        )
    )


class LinkOutcome(Protocol):
    """What became of a link that was to be made; None after a failure."""

    made: NewAccountLink | None


def link_secret(root: strawberry.Parent[LinkOutcome]) -> str | None:
    """The link's secret."""
    return None if root.made is None else root.made.secret.reveal()


def link_url(root: strawberry.Parent[LinkOutcome]) -> str | None:
    """The link."""
    return None if root.made is None else root.made.url.reveal()


def link_expires_at(root: strawberry.Parent[LinkOutcome]) -> datetime | None:
    """When the link runs out."""
    return None if root.made is None else root.made.link.expires_at


def made_link(root: strawberry.Parent[LinkOutcome]) -> AccountLink | None:
    """The link itself."""
    return None if root.made is None else root.made.link


async def account_links(
    info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
) -> Connection[AccountLink]:
    """A page of the links that have not run out."""
    service = info.context.services.account_links
    page = await service.list_links(PageRequest.of(first=first, after=after, last=last, before=before))
    return Connection(page=page, count=service.count_links)


async def withdraw_account_link(
    info: Info, input_: Annotated[IdInput, strawberry.argument(name="input", description="The link to withdraw.")]
) -> strawberry.ID:
    """Makes a link void."""
    context = info.context
    link_id = ids.decode_as(ids.NodeType.ACCOUNT_LINK, input_.id)
    await context.services.account_links.withdraw(context.require_viewer(), link_id, client=context.client)
    return input_.id


def link_id(root: strawberry.Parent[AccountLink]) -> strawberry.ID:
    """The link's id."""
    return strawberry.ID(ids.encode(ids.NodeType.ACCOUNT_LINK, root.id))


async def link_user(info: Info, root: strawberry.Parent[AccountLink]) -> User | None:
    """Whose password it is for."""
    return None if root.user_id is None else await info.context.loaders.users.load(root.user_id)


async def link_created_by(info: Info, root: strawberry.Parent[AccountLink]) -> User | None:
    """Who has made it."""
    return await info.context.loaders.users.load(root.created_by)
