"""What administrators ask and do: accounts, the audit log, maintenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import UNSET

from domain.account import Role, User
from domain.administration import UserChange
from domain.audit import AuditAction, AuditFilter, AuditRecord
from domain.errors import InvalidInput
from domain.page import PageRequest
from domain.server_settings import SignUpPolicy
from resolvers import ids
from resolvers.connection import After, Before, Connection, First, Last
from resolvers.context import Info
from resolvers.server import ServerView, server


@strawberry.input(name="AuditFilter", description="Which events; everything that is given must hold.")
class AuditFilterInput:
    action: list[AuditAction] | None = strawberry.field(default=None, description="One of these things happened.")
    actor: strawberry.ID | None = strawberry.field(default=None, description="Who did it: a user's id.")
    target: str | None = strawberry.field(default=None, description="What it was done to, as the event names it.")
    ip: str | None = strawberry.field(default=None, description="From which address.")
    after: datetime | None = strawberry.field(default=None, description="At this moment or later.")
    before: datetime | None = strawberry.field(default=None, description="Before this moment.")

    def to_domain(self) -> AuditFilter:
        """As the services take it."""
        actor = self.actor
        return AuditFilter(
            actions=frozenset(self.action or ()),
            actor_id=None if actor is None else ids.decode_as(ids.NodeType.USER, actor, field=("filter", "actor")),
            target=self.target,
            ip=self.ip,
            after=self.after,
            before=self.before,
        )


@strawberry.input(description="A change of an account. What is left out stays.")
class UpdateUserInput:
    id: strawberry.ID = strawberry.field(description="Whose.")
    role: Role | None = strawberry.field(
        default=None, description="The account's rights from now on. No token makes an administrator."
    )
    is_active: bool | None = strawberry.field(
        default=None,
        description="Whether the account can be used. False ends its sign-ins, tokens, sockets and generations.",
    )
    sign_out: bool = strawberry.field(default=False, description="Whether to end all its sign-ins.")


@strawberry.input(description="An account to delete.")
class DeleteUserInput:
    id: strawberry.ID = strawberry.field(description="Whose.")
    dry_run: bool = strawberry.field(default=False, description="Whether only to tell what would go.")


@strawberry.input(description="The viewer's account, to be deleted.")
class DeleteAccountInput:
    password: str = strawberry.field(description="The account's password.")
    dry_run: bool = strawberry.field(default=False, description="Whether only to tell what would go.")


@strawberry.input(description="Maintenance: while it lasts only administrators can start anything new.")
class SetMaintenanceInput:
    is_on: bool = strawberry.field(description="Whether there is any.")
    message: str | None = strawberry.field(default=None, description="What people are told meanwhile.")


@strawberry.input(description="Who may make an account from now on.")
class SetSignUpPolicyInput:
    policy: SignUpPolicy | None = strawberry.field(
        default=UNSET,
        description="The policy; null takes an earlier decision back, so that the server's configuration counts.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletedData:
    """How many rows of one kind went, or would go."""

    kind: str
    count: int


async def users(
    info: Info,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
    search: Annotated[str | None, strawberry.argument(description="A part of the name or the address.")] = None,
) -> Connection[User]:
    """A page of the accounts."""
    administration = info.context.services.administration
    page = await administration.list_users(
        PageRequest.of(first=first, after=after, last=last, before=before), search=search
    )
    return Connection(page=page, count=lambda: administration.count_users(search=search))


async def audit_log(
    info: Info,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
    filter_: Annotated[AuditFilterInput | None, strawberry.argument(name="filter", description="Which events.")] = None,
) -> Connection[AuditRecord]:
    """A page of the audit log."""
    administration = info.context.services.administration
    where = AuditFilter() if filter_ is None else filter_.to_domain()
    page = await administration.list_audit(
        PageRequest.of(first=first, after=after, last=last, before=before), where=where
    )
    return Connection(page=page, count=lambda: administration.count_audit(where=where))


async def actor(info: Info, root: strawberry.Parent[AuditRecord]) -> User | None:
    """Who did it, as long as the account exists."""
    return None if root.actor_id is None else await info.context.loaders.users.load(root.actor_id)


def actor_id(root: strawberry.Parent[AuditRecord]) -> strawberry.ID | None:
    """Who did it."""
    return None if root.actor_id is None else strawberry.ID(ids.encode(ids.NodeType.USER, root.actor_id))


async def update_user(
    info: Info, input_: Annotated[UpdateUserInput, strawberry.argument(name="input", description="The change.")]
) -> User:
    """Changes an account."""
    context = info.context
    change = UserChange(role=input_.role, is_active=input_.is_active, signs_out=input_.sign_out)
    user_id = ids.decode_as(ids.NodeType.USER, input_.id)
    return await context.services.administration.update_user(
        context.require_viewer(), user_id, change, client=context.client
    )


async def delete_user(
    info: Info, input_: Annotated[DeleteUserInput, strawberry.argument(name="input", description="The account.")]
) -> Sequence[DeletedData]:
    """Deletes an account."""
    context = info.context
    deleted = await context.services.administration.delete_user(
        context.require_viewer(),
        ids.decode_as(ids.NodeType.USER, input_.id),
        is_dry_run=input_.dry_run,
        client=context.client,
    )
    return _deleted(deleted)


async def delete_account(
    info: Info, input_: Annotated[DeleteAccountInput, strawberry.argument(name="input", description="A confirmation.")]
) -> Sequence[DeletedData]:
    """Deletes the viewer's own account."""
    context = info.context
    deleted = await context.services.privacy.delete_account(
        context.require_viewer(), password=input_.password, is_dry_run=input_.dry_run, client=context.client
    )
    if not input_.dry_run:
        context.forget_viewer()
    return _deleted(deleted)


async def set_maintenance(
    info: Info, input_: Annotated[SetMaintenanceInput, strawberry.argument(name="input", description="The change.")]
) -> ServerView:
    """Begins or ends maintenance."""
    context = info.context
    viewer, maintenance = context.require_viewer(), context.services.maintenance
    if input_.is_on:
        await maintenance.begin(viewer, input_.message, client=context.client)
    else:
        await maintenance.end(viewer, client=context.client)
    return await server(info)


async def set_sign_up_policy(
    info: Info, input_: Annotated[SetSignUpPolicyInput, strawberry.argument(name="input", description="The policy.")]
) -> ServerView:
    """Decides who may make an account."""
    context = info.context
    if input_.policy is UNSET:
        raise InvalidInput("Name a policy, or give null for the server's configuration.", field=("policy",))
    await context.services.sign_up.set_policy(context.require_viewer(), input_.policy, client=context.client)
    return await server(info)


def _deleted(counts: Mapping[str, int]) -> list[DeletedData]:
    return [DeletedData(kind=kind, count=count) for kind, count in counts.items() if count]
