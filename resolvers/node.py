"""Anything that has a global id, if the viewer may see it."""

from __future__ import annotations

from typing import Annotated, assert_never

import strawberry

from resolvers import ids
from resolvers.context import Info

_CREDENTIALS = frozenset({ids.NodeType.SESSION, ids.NodeType.ACCESS_TOKEN})


async def node(
    info: Info,
    id_: Annotated[strawberry.ID, strawberry.argument(name="id", description="Any id that this server has given.")],
) -> ids.Node | None:
    """What has this id; None alike for what does not exist and for what is somebody else's."""
    viewer = info.context.require_viewer()
    services = info.context.services
    found = ids.decode(id_)
    if found.type in _CREDENTIALS and viewer.session_id is None:
        return None  # no token sees what one signs in with
    match found.type:
        case ids.NodeType.USER:
            return viewer.user if found.id == viewer.user.id else None
        case ids.NodeType.SESSION:
            sessions = await services.sessions.list_of(viewer)
            return next((session for session in sessions if session.id == found.id), None)
        case ids.NodeType.ACCESS_TOKEN:
            tokens = await services.access_tokens.list_of(viewer)
            return next((token for token in tokens if token.id == found.id), None)
        case ids.NodeType.API_KEY:
            keys = await services.api_keys.list_of(viewer)
            return next((key for key in keys if key.id == found.id), None)
        case ids.NodeType.GENERATION:
            return await services.generations.find(viewer, found.id)
        case ids.NodeType.PUBLICATION:
            return await services.publications.find(viewer, found.id)
        case ids.NodeType.NOTION_PAGE:
            return await services.publications.find_page(viewer, found.id)
        case ids.NodeType.ACCOUNT_LINK:
            return None  # nobody's own, and no node: administrators list them
        case _:
            assert_never(found.type)


def global_id(root: strawberry.Parent[ids.Node]) -> strawberry.ID:
    """The node's id."""
    return strawberry.ID(ids.id_of(root))
