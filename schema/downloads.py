"""What is too much for an answer of GraphQL and is downloaded: the audit log, and everything that is a user's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from typing import Final
from uuid import UUID

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from domain.access import Rule
from domain.account import Client, Viewer
from domain.audit import AuditAction, AuditFilter, AuditRecord
from domain.errors import AssistantError, InvalidInput, RateLimited, Unauthenticated
from domain.text import is_storable
from resolvers import ids
from resolvers.context import Services
from schema.access import ADMINISTER, READ
from schema.account_archive import archive
from schema.caller import Callers
from schema.http import failure_response

DOWNLOAD_TIMEOUT_SECONDS = 1_800.0
MAX_DOWNLOADS = 4  # at a time, of an instance: each one that is made takes processor time from the streams
RECHECK_SECONDS = 10.0  # who was signed out, or has lost a right, gets no more than is on its way
_HEADERS: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}

Renew = Callable[[Viewer], Awaitable[Viewer]]
Produce = Callable[[Viewer, Client, Request], Awaitable[AsyncIterator[bytes]]]


def download_routes(services: Services, callers: Callers) -> list[BaseRoute]:
    """`/export/audit` (NDJSON; for administrators) and `/export/account` (a zip file), by GET, for the signed-in.

    A browser that is signed in by cookies fetches them with the header that says so: a plain link has none.
    """
    places = asyncio.Semaphore(MAX_DOWNLOADS)
    busy: set[UUID] = set()

    def route(path: str, produce: Produce, rule: Rule, *, media_type: str, name: str) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                caller = await callers.of_request(request)
                if (viewer := caller.viewer) is None:
                    raise caller.refusal or Unauthenticated("Sign in first.")
                if (refusal := rule.find_refusal(viewer)) is not None:
                    raise refusal
                if places.locked():
                    raise RateLimited("Too many files are being made at the moment.", retry_after_seconds=30)
                if viewer.user.id in busy:
                    raise RateLimited("A file is being made for you already.", retry_after_seconds=30)
                with ExitStack() as stack:
                    busy.add(viewer.user.id)
                    stack.callback(busy.discard, viewer.user.id)
                    content = await produce(viewer, caller.client, request)
                    kept = stack.pop_all()
            except AssistantError as failure:
                return failure_response(failure)
            disposition = f'attachment; filename="{name}"'
            return _Sent(
                _while_allowed(content, viewer, rule, services.authentication.renew),
                places,
                kept,
                media_type=media_type,
                headers={**_HEADERS, "content-disposition": disposition},
            )

        return Route(path, endpoint, methods=["GET"], name=name)

    return [
        route(
            "/export/audit",
            partial(_audit, services),
            ADMINISTER.rule,
            media_type="application/x-ndjson",
            name="audit.ndjson",
        ),
        route(
            "/export/account", partial(_account, services), READ.rule, media_type="application/zip", name="account.zip"
        ),
    ]


class _Sent(StreamingResponse):
    """Takes one of the places, and no longer than it may; what is `kept` is let go in the end."""

    def __init__(
        self, content: AsyncIterator[bytes], places: asyncio.Semaphore, kept: ExitStack, **options: object
    ) -> None:
        super().__init__(content, **options)  # type: ignore[arg-type]  # passed on as given
        self._places = places
        self._kept = kept

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._kept:
            async with self._places, asyncio.timeout(DOWNLOAD_TIMEOUT_SECONDS):
                await super().__call__(scope, receive, send)


async def _while_allowed(
    content: AsyncIterator[bytes], viewer: Viewer, rule: Rule, renew: Renew
) -> AsyncIterator[bytes]:
    """The content as long as the viewer may have it. Raises what they are refused for; the file is cut off then."""
    checked_at = time.monotonic()
    async for piece in content:
        if time.monotonic() - checked_at >= RECHECK_SECONDS:
            if (refusal := rule.find_refusal(await renew(viewer))) is not None:
                raise refusal
            checked_at = time.monotonic()
        yield piece


async def _audit(services: Services, viewer: Viewer, client: Client, request: Request) -> AsyncIterator[bytes]:
    batches = services.administration.export_audit(viewer, where=_filter_of(request), client=client)

    async def lines() -> AsyncIterator[bytes]:
        async for batch in batches:
            yield b"".join(orjson.dumps(_plain(each), option=orjson.OPT_APPEND_NEWLINE) for each in batch)

    return lines()


async def _account(services: Services, viewer: Viewer, client: Client, _request: Request) -> AsyncIterator[bytes]:
    tables = await services.privacy.begin_export(viewer, client=client)
    return archive(tables, partial(services.privacy.read, viewer))


def _filter_of(request: Request) -> AuditFilter:
    """The same as the filter of `auditLog`, as query parameters; `action` may come several times."""
    given = request.query_params
    unknown = given.keys() - {"action", "actor", "target", "ip", "after", "before"}
    if unknown:
        raise InvalidInput(f"There is no parameter `{min(unknown)}`.", field=(min(unknown),))
    for name, value in given.items():
        if not is_storable(value):
            raise InvalidInput("A text has no NUL and is valid Unicode.", field=(name,))
    actor = given.get("actor")
    return AuditFilter(
        actions=frozenset(_action(each) for each in given.getlist("action")),
        actor_id=None if actor is None else ids.decode_as(ids.NodeType.USER, actor, field=("actor",)),
        target=given.get("target"),
        ip=given.get("ip"),
        after=_moment(request, "after"),
        before=_moment(request, "before"),
    )


def _action(name: str) -> AuditAction:
    try:
        return AuditAction(name)
    except ValueError as error:
        raise InvalidInput("There is no such action.", field=("action",)) from error


def _moment(request: Request, name: str) -> datetime | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)  # the first and the last day of the calendar overflow
    except (ValueError, OverflowError) as error:
        raise InvalidInput("This is not a time, such as 2026-01-31T12:00:00Z.", field=(name,)) from error
    raise InvalidInput("This time has no offset, such as Z.", field=(name,))


def _plain(record: AuditRecord) -> dict[str, object]:
    return {
        "at": record.at,
        "action": record.action.value,
        "actorId": None if record.actor_id is None else ids.encode(ids.NodeType.USER, record.actor_id),
        "target": record.target,
        "ip": record.ip,
        "details": dict(record.details),
    }
