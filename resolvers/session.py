"""The viewer's sign-ins: listed and ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import strawberry

from domain.account import Session
from domain.errors import InvalidInput
from resolvers import ids
from resolvers.context import Info


@strawberry.input(description="Which sessions to end: one, or all but the viewer's own.")
class RevokeSessionInput:
    id: strawberry.ID | None = strawberry.field(default=None, description="The session to end.")
    all_others: bool = strawberry.field(default=False, description="Whether to end all but the viewer's own instead.")


async def sessions(info: Info) -> Sequence[Session]:
    """The viewer's sign-ins."""
    return await info.context.services.sessions.list_of(info.context.require_viewer())


async def revoke_session(
    info: Info,
    input_: Annotated[RevokeSessionInput, strawberry.argument(name="input", description="Which sessions to end.")],
) -> Sequence[Session]:
    """Ends one or all others; answers those that are left, as far as the viewer may know."""
    context = info.context
    viewer = context.require_viewer()
    service = context.services.sessions
    if (input_.id is None) != input_.all_others:
        raise InvalidInput("Name one session by `id`, or set `allOthers`.", field=("id",))
    if input_.id is None:
        await service.revoke_others(viewer, client=context.client)
        return await service.list_of(viewer)
    session_id = ids.decode_as(ids.NodeType.SESSION, input_.id)
    await service.revoke(viewer, session_id, client=context.client)
    if session_id == viewer.session_id:
        context.forget_viewer()  # Who has signed out is not told of the others.
        return ()
    return await service.list_of(viewer)


def is_current(info: Info, root: strawberry.Parent[Session]) -> bool:
    """Whether the viewer speaks by this session."""
    return info.context.viewer is not None and info.context.viewer.session_id == root.id
