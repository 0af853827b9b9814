"""What is too much for an answer of GraphQL and is downloaded: the audit log, and everything that is a user's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from domain.access import Rule
from domain.account import Client, Viewer
from domain.audit import AuditAction, AuditFilter, AuditRecord
from domain.errors import AssistantError, InvalidInput, RateLimited, Unauthenticated
from resolvers import ids
from resolvers.context import Services
from schema.access import ADMINISTER, READ
from schema.account_archive import archive
from schema.caller import Callers
from schema.http import failure_response

DOWNLOAD_TIMEOUT_SECONDS = 1_800.0
MAX_DOWNLOADS = 4  # at a time, of an instance: each one that is made takes processor time from the streams
_HEADERS: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}

Produce = Callable[[Viewer, Client, Request], Awaitable[AsyncIterator[bytes]]]


def download_routes(services: Services, callers: Callers) -> list[BaseRoute]:
    """`/export/audit` (NDJSON; for administrators) and `/export/account` (a zip file), by GET, for the signed-in.

    A browser that is signed in by cookies fetches them with the header that says so: a plain link has none.
    """
    places = asyncio.Semaphore(MAX_DOWNLOADS)

    def route(path: str, produce: Produce, rule: Rule, *, media_type: str, name: str) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                caller = await callers.of_request(request)
                if caller.viewer is None:
                    raise caller.refusal or Unauthenticated("Sign in first.")
                if (refusal := rule.find_refusal(caller.viewer)) is not None:
                    raise refusal
                if places.locked():
                    raise RateLimited("Too many files are being made at the moment.", retry_after_seconds=30)
                content = await produce(caller.viewer, caller.client, request)
            except AssistantError as failure:
                return failure_response(failure)
            disposition = f'attachment; filename="{name}"'
            return _Sent(
                content, places, media_type=media_type, headers={**_HEADERS, "content-disposition": disposition}
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
    """Takes one of the places, and no longer than it may."""

    def __init__(self, content: AsyncIterator[bytes], places: asyncio.Semaphore, **options: object) -> None:
        super().__init__(content, **options)  # type: ignore[arg-type]  # passed on as given
        self._places = places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._places, asyncio.timeout(DOWNLOAD_TIMEOUT_SECONDS):
            await super().__call__(scope, receive, send)


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
    except ValueError as error:
        raise InvalidInput("This is not a time, such as 2026-01-31T12:00:00Z.", field=(name,)) from error
    if moment.tzinfo is None:
        raise InvalidInput("This time has no offset, such as Z.", field=(name,))
    return moment


def _plain(record: AuditRecord) -> dict[str, object]:
    return {
        "at": record.at,
        "action": record.action.value,
        "actorId": None if record.actor_id is None else ids.encode(ids.NodeType.USER, record.actor_id),
        "target": record.target,
        "ip": record.ip,
        "details": dict(record.details),
    }
