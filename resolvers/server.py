"""What anybody may know of this server."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from domain.server_settings import SignUpPolicy
from resolvers.context import Info


class ServerState(StrEnum):
    """Whether this server takes new work."""

    RUNNING = "RUNNING"
    DRAINING = "DRAINING"
    MAINTENANCE = "MAINTENANCE"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerView:
    """The server as clients see it."""

    version: str
    state: ServerState
    maintenance_message: str | None
    sign_up_policy: SignUpPolicy
    offers_notion_sign_in: bool
    offers_cookie_sessions: bool


async def server(info: Info) -> ServerView:
    """The server."""
    services = info.context.services
    maintenance_message = await services.maintenance.find_message()
    state = ServerState.RUNNING if maintenance_message is None else ServerState.MAINTENANCE
    return ServerView(
        version=services.version,
        state=ServerState.DRAINING if services.is_draining() else state,
        maintenance_message=maintenance_message,
        sign_up_policy=await services.sign_up.get_policy(),
        offers_notion_sign_in=services.notion_authorizations.is_offered,
        offers_cookie_sessions=services.offers_cookie_sessions,
    )
