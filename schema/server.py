"""The server, for everyone."""

from __future__ import annotations

import strawberry

from domain.server_settings import SignUpPolicy
from resolvers.server import ServerState


@strawberry.type(description="This server.")
class Server:
    version: str = strawberry.field(description="The version of Notion Assistant that runs here.")
    state: ServerState = strawberry.field(description="Whether it takes new work.")
    maintenance_message: str | None = strawberry.field(description="What people are told during maintenance.")
    sign_up_policy: SignUpPolicy = strawberry.field(
        description="Who may make an account, as an administrator has decided or the server is configured."
    )
    offers_notion_sign_in: bool = strawberry.field(
        description="Whether Notion can be connected by signing in there, with startNotionAuthorization."
    )
    offers_cookie_sessions: bool = strawberry.field(
        description="Whether browsers can have their sign-in kept in cookies, by the header `X-Session: cookie`."
    )
