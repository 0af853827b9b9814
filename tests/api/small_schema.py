"""A schema of a few fields that show every way in which an operation can go, and its endpoint."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID

import strawberry
from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute

from domain.account import Client, Role, User, Viewer
from domain.errors import (
    InvalidInput,
    NotFound,
    ProviderFailed,
    ProviderFailureReason,
    RateLimited,
    Unauthenticated,
    Unavailable,
)
from domain.rate_limit import Rate
from resolvers.context import Context, Services
from schema.access import ANYONE
from schema.caller import Callers, CookieRules
from schema.endpoint import GraphQLEndpoint
from schema.executable import ExecutableSchema
from schema.limits import DocumentLimits
from schema.transport import Transport, TransportLimits

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_ID = UUID(int=1)


@dataclass(slots=True)
class Happenings:
    """What the schema's resolvers and the authentication have seen."""

    mutations: int = 0
    running: int = 0
    ended: int = 0
    agents: list[str | None] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    spent: list[int] = field(default_factory=list)
    budget: int = 1_000_000
    is_closed: bool = False
    is_schema_open: bool = True
    clock_ahead: timedelta = timedelta()
    news: asyncio.Event = field(default_factory=asyncio.Event)
    session_ended: asyncio.Event = field(default_factory=asyncio.Event)
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    speak: asyncio.Event = field(default_factory=asyncio.Event)

    async def until_ended(self, count: int) -> None:
        """Waits until this many endless subscriptions have ended."""
        async with asyncio.timeout(60):
            while self.ended < count:
                self.news.clear()
                await self.news.wait()
        assert self.ended == count


@dataclass(slots=True, kw_only=True)
class SmallContext(Context):
    """A context without services."""

    happenings: Happenings

    @property
    def may_inspect(self) -> bool:
        return self.viewer is not None or self.happenings.is_schema_open

    def ensure_open(self) -> None:
        if self.happenings.is_closed:
            raise RateLimited("Too fast.", retry_after_seconds=8)

    async def spend(self, rate: Rate, *, points: int = 1) -> None:
        self.happenings.spent.append(points)
        if sum(self.happenings.spent) > self.happenings.budget:
            raise RateLimited("Too fast.", retry_after_seconds=9)


Info = strawberry.Info[SmallContext, None]


@strawberry.type
class Query:
    """Queries."""

    @strawberry.field(directives=[ANYONE])
    def hello(self, info: Info, name: str = "world") -> str:
        info.context.happenings.agents.append(info.context.client.user_agent)
        return f"Hello, {name}!"

    @strawberry.field(directives=[ANYONE])
    def me(self, info: Info) -> str | None:
        return None if info.context.viewer is None else info.context.viewer.user.username

    @strawberry.field(directives=[ANYONE])
    def again(self) -> "Query":
        return Query()

    @strawberry.field(directives=[ANYONE])
    def missing(self) -> str | None:
        raise NotFound("There is no such thing.", field=("id",))

    @strawberry.field(directives=[ANYONE])
    def provider(self) -> str | None:
        raise ProviderFailed(
            "Too fast.", reason=ProviderFailureReason.RATE_LIMITED, retryable=True, retry_after_seconds=7
        )

    @strawberry.field(directives=[ANYONE])
    async def stuck(self, info: Info) -> str | None:
        seen: Happenings = info.context.happenings
        seen.running += 1
        try:
            await asyncio.Event().wait()
        finally:
            seen.running -= 1
            seen.ended += 1
            seen.news.set()
        return None

    @strawberry.field(directives=[ANYONE])
    def crash(self) -> str | None:
        raise RuntimeError("the database's password is tiger")

    @strawberry.field(directives=[ANYONE])
    def broken_promise(self) -> str:
        return None  # type: ignore[return-value]  # the point: a resolver that breaks the schema's promise


@strawberry.type
class Mutation:
    """Mutations."""

    @strawberry.mutation(directives=[ANYONE])
    def touch(self, info: Info) -> int:
        info.context.happenings.mutations += 1
        return int(info.context.happenings.mutations)


@strawberry.type
class Subscription:
    """Subscriptions."""

    @strawberry.subscription(directives=[ANYONE])
    async def count(self, to: int = 3) -> AsyncGenerator[int, None]:
        for number in range(1, to + 1):
            yield number

    @strawberry.subscription(directives=[ANYONE])
    async def endless(self, info: Info) -> AsyncGenerator[int, None]:
        seen: Happenings = info.context.happenings
        seen.running += 1
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            seen.running -= 1
            seen.ended += 1
            seen.news.set()

    @strawberry.subscription(directives=[ANYONE])
    async def silent(self, info: Info) -> AsyncGenerator[int, None]:
        await info.context.happenings.speak.wait()
        yield 1

    @strawberry.subscription(directives=[ANYONE])
    async def refused(self) -> AsyncGenerator[int, None]:
        if datetime.now(UTC) > _EPOCH:
            raise InvalidInput("`after` is not a cursor.", field=("after",))
        yield 0

    @strawberry.subscription(directives=[ANYONE])
    async def crashing(self) -> AsyncGenerator[int, None]:
        yield 1
        raise RuntimeError("the database's password is tiger")


def small_endpoint(
    happenings: Happenings,
    *,
    limits: TransportLimits | None = None,
    document_limits: DocumentLimits | None = None,
    allowed_origins: frozenset[str] = frozenset(),
    cookies: CookieRules | None = None,
) -> Starlette:
    """The endpoint at /graphql. The access tokens it knows are good, short, expired, revoked, down and crash."""

    def clock() -> datetime:
        return _EPOCH + happenings.clock_ahead

    async def renew(viewer: Viewer) -> Viewer:
        return viewer

    async def authenticate(authorization: str | None, _: Client) -> Viewer | None:
        happenings.authorizations.append(authorization)
        match authorization:
            case None:
                return None
            case "Bearer good":
                return _viewer(until=_EPOCH + timedelta(minutes=10))
            case "Bearer short":
                return _viewer(until=_EPOCH + timedelta(seconds=0.2))
            case "Bearer expired":
                raise Unauthenticated("The access token has expired.", expired=True)
            case "Bearer down":
                raise Unavailable("The database cannot be reached.", retry_after_seconds=5)
            case "Bearer crash":
                raise RuntimeError("the database's password is tiger")
            case _:
                raise Unauthenticated("The session has ended; sign in again.")

    @contextmanager
    def watch_session(_: UUID) -> Iterator[asyncio.Event]:
        yield happenings.session_ended

    def new_context(viewer: Viewer | None, client: Client, request_id: str) -> Context:
        return SmallContext(
            viewer=viewer,
            client=client,
            request_id=request_id,
            services=cast("Services", None),  # no field of this schema calls one
            happenings=happenings,
        )

    schema = ExecutableSchema(query=Query, mutation=Mutation, subscription=Subscription, limits=document_limits)
    endpoint = GraphQLEndpoint(
        Transport(
            schema=schema,
            callers=Callers(authenticate, cookies=cookies),
            renew=renew,
            new_context=new_context,
            watch_session=watch_session,
            clock=clock,
            leaving=happenings.leaving,
            limits=limits or TransportLimits(),
            allowed_origins=allowed_origins,
        )
    )
    return Starlette(routes=[Route("/graphql", endpoint, methods=None), WebSocketRoute("/graphql", endpoint)])


def _viewer(*, until: datetime) -> Viewer:
    user = User(
        id=_ID,
        email="ada@example.org",
        username="ada",
        role=Role.USER,
        is_active=True,
        created_at=_EPOCH,
        updated_at=_EPOCH,
    )
    return Viewer(user=user, session_id=_ID, authenticated_until=until)
