"""Connecting the viewer to Notion."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Protocol

import strawberry

from domain.errors import Conflict
from domain.notion import NotionConnection
from domain.notion_authorization_service import AUTHORIZATION_TTL, StartedAuthorization
from domain.secret import Secret
from resolvers.context import Info

BROWSER_COOKIE = "notion_authorization"
CALLBACK_PATH = "/notion/callback"


@strawberry.input(description="A connection to a Notion workspace.")
class ConnectNotionInput:
    token: str = strawberry.field(
        description="The integration's token. It is checked with Notion, stored encrypted and never shown again."
    )


async def connect_notion(
    info: Info,
    input_: Annotated[ConnectNotionInput, strawberry.argument(name="input", description="What to connect with.")],
) -> NotionConnection:
    """Checks the token with Notion and keeps it."""
    context = info.context
    return await context.services.notion.connect(context.require_viewer(), Secret(input_.token), client=context.client)


@strawberry.input(description="A sign-in at Notion.")
class StartNotionAuthorizationInput:
    return_to: str | None = strawberry.field(
        default=None,
        description="Where to take the person afterwards: an address of this server or of an allowed origin, which "
        "gets `notion=connected` or `notion=failed` in its query. Without it they see a small page of this server.",
    )


async def start_notion_authorization(
    info: Info,
    input_: Annotated[
        StartNotionAuthorizationInput | None, strawberry.argument(name="input", description="Where it ends.")
    ] = None,
) -> StartedAuthorization:
    """Begins a sign-in at Notion, in the browser that this answer goes to."""
    context = info.context
    viewer = context.require_viewer()
    if context.cookies is None:
        raise Conflict("Send this as an ordinary POST: its answer sets a cookie, which a stream cannot.")
    service = context.services.notion_authorizations
    started = await service.start(viewer, return_to=None if input_ is None else input_.return_to)
    context.cookies.append(browser_cookie(started.browser, ttl=AUTHORIZATION_TTL, is_secure=service.is_secure))
    return started


class AuthorizationOutcome(Protocol):
    """What became of a beginning; None after a failure."""

    started: StartedAuthorization | None


def authorize_url(root: strawberry.Parent[AuthorizationOutcome]) -> str | None:
    """Where to send the browser."""
    return None if root.started is None else root.started.url


def expires_at(root: strawberry.Parent[AuthorizationOutcome]) -> datetime | None:
    """Until when they must have come back."""
    return None if root.started is None else root.started.expires_at


def browser_cookie(secret: Secret, *, ttl: timedelta, is_secure: bool) -> str:
    """The Set-Cookie header by which the callback knows the browser again. Lax, for Notion's redirect brings it."""
    attributes = f"Path={CALLBACK_PATH}; Max-Age={int(ttl.total_seconds())}; HttpOnly; SameSite=Lax"
    return f"{BROWSER_COOKIE}={secret.reveal()}; {attributes}{'; Secure' if is_secure else ''}"


async def disconnect_notion(info: Info) -> None:
    """Forgets the token."""
    context = info.context
    await context.services.notion.disconnect(context.require_viewer(), client=context.client)
