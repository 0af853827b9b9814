"""What the transports share: the schema, who asks, and the bounds of what may be sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, aclosing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, cast
from uuid import UUID, uuid4

import orjson
import strawberry
from starlette.types import Scope
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError
from strawberry.types.graphql import OperationType

from domain.account import Client, Viewer
from domain.errors import RateLimited, Unauthenticated, Unavailable
from domain.rate_limit import Rate
from resolvers.context import Context
from schema.caller import Caller, Callers
from schema.request import OperationRequest

_ESCAPED_BYTES_PER_CHAR = 12  # \uXXXX\uXXXX, for a character outside the basic plane
_ENVELOPE_BYTES = 65_536
OPERATION_GRACE = timedelta(minutes=1)  # for what an operation does besides waiting for its generation
_MIN_REQUEST_BYTES = 1_048_576
_REFUSED_POINTS = 50


class WatchSession(Protocol):
    """Lets a connection know that its viewer's session, or personal access token, has ended."""

    def __call__(self, credential_id: UUID, /) -> AbstractContextManager[asyncio.Event]:
        """An event that is set when it ends."""


class NewContext(Protocol):
    """Makes the context of one operation."""

    def __call__(self, viewer: Viewer | None, client: Client, request_id: str, /) -> Context:
        """The context, with loaders of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportLimits:
    """Bounds on a request (a message, over WebSocket) and on one WebSocket connection."""

    max_request_bytes: int = _MIN_REQUEST_BYTES
    max_operations_per_socket: int = 20
    connection_init_timeout: timedelta = timedelta(seconds=10)
    operation_timeout: timedelta = timedelta(minutes=11)  # of a query or mutation; a subscription may last

    @classmethod
    def admitting(cls, *, max_prompt_chars: int, longest_generation: timedelta) -> TransportLimits:
        """Bounds within which the longest prompt fits, however escaped, and the longest wait for an answer."""
        needed = _ESCAPED_BYTES_PER_CHAR * max_prompt_chars + _ENVELOPE_BYTES
        return cls(
            max_request_bytes=max(_MIN_REQUEST_BYTES, needed),
            operation_timeout=longest_generation + OPERATION_GRACE,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """The schema with everything that a transport needs to run its operations."""

    schema: strawberry.Schema
    callers: Callers
    renew: Callable[[Viewer], Awaitable[Viewer]]
    new_context: NewContext
    watch_session: WatchSession
    clock: Callable[[], datetime]
    leaving: asyncio.Event
    limits: TransportLimits = field(default_factory=TransportLimits)
    allowed_origins: frozenset[str] = frozenset()

    def context_of(self, caller: Caller, viewer: Viewer | None, request_id: str) -> Context:
        """The context of one operation of the caller's, with the viewer as they are by now."""
        context = self.new_context(viewer, caller.client, request_id)
        context.cookie_session = caller.cookies
        context.refusal = caller.refusal
        return context

    async def session_end(self, viewer: Viewer) -> Unauthenticated:
        """Waits until the viewer may not be served any more; tells whether by then a fresh token would help."""
        with self.watch_session(viewer.credential_id) as ended:
            try:
                async with asyncio.timeout(self._remaining_seconds(viewer)):
                    await ended.wait()
            except TimeoutError:
                # Nothing fresher is to be had for a personal access token.
                return Unauthenticated("The access token has expired", expired=viewer.access_token_id is None)
            return Unauthenticated("The session has ended")

    async def departure(self, context: Context) -> None:
        """Waits until the server leaves and the operation, a subscription, would go on; any other comes to its end."""
        await self.leaving.wait()
        await context.lasts.wait()

    def _remaining_seconds(self, viewer: Viewer) -> float | None:
        if viewer.authenticated_until is None:
            return None
        return max(0.0, (viewer.authenticated_until - self.clock()).total_seconds())

    async def execute(
        self, operation: OperationRequest, context: Context, *, allowed: frozenset[OperationType]
    ) -> ExecutionResult:
        """Runs a query or mutation.

        Raises what Strawberry raises for an operation that is missing or not allowed, RateLimited and Unavailable.
        """
        context.ensure_open()
        try:
            async with asyncio.timeout(self.limits.operation_timeout.total_seconds()):
                result = await self.schema.execute(
                    operation.query,
                    variable_values=operation.variables,
                    context_value=context,
                    operation_name=operation.operation_name,
                    operation_extensions=operation.extensions,
                    allowed_operation_types=allowed,
                )
        except TimeoutError as error:
            raise _took_too_long() from error
        if isinstance(result, PreExecutionError):
            await _spend_on_refusal(result, context)
        return result

    async def stream(
        self, operation: OperationRequest, context: Context, *, allowed: frozenset[OperationType]
    ) -> AsyncGenerator[ExecutionResult, None]:
        """Runs any operation; what is refused before execution is the only result, a PreExecutionError.

        Raises RateLimited; and where it is iterated, Unavailable for a query or mutation that takes too long.
        """
        context.ensure_open()
        results = await self.schema.stream(
            operation.query,
            variable_values=operation.variables,
            context_value=context,
            operation_name=operation.operation_name,
            operation_extensions=operation.extensions,
            allowed_operation_types=allowed,
        )
        # Other kinds of results come from @defer and @stream alone, which the schema does not have.
        return self._watched(cast("AsyncGenerator[ExecutionResult, None]", results), context)

    async def _watched(
        self, results: AsyncGenerator[ExecutionResult, None], context: Context
    ) -> AsyncGenerator[ExecutionResult, None]:
        async with aclosing(results):
            try:
                # Once it is read, a subscription takes the bound away: it waits for events.
                async with asyncio.timeout(self.limits.operation_timeout.total_seconds()) as context.patience:
                    result = await anext(results, None)
            except TimeoutError as error:
                raise _took_too_long() from error
            while result is not None:
                if isinstance(result, PreExecutionError):
                    await _spend_on_refusal(result, context)
                yield result
                result = await anext(results, None)


def _took_too_long() -> Unavailable:
    return Unavailable("The operation took too long, and was given up.")


async def _spend_on_refusal(result: ExecutionResult, context: Context) -> None:
    """A document that was parsed in vain has cost work too; its sender hears why it was refused all the same."""
    with suppress(RateLimited):
        if not any(isinstance(each.original_error, RateLimited) for each in result.errors or ()):
            await context.spend(Rate.COST, points=_REFUSED_POINTS)


def request_id_of(scope: Scope) -> str:
    """The id that a middleware has given the request, or a new one."""
    given = scope.get("state", {}).get("request_id")
    return given if isinstance(given, str) else uuid4().hex


def encode(body: Mapping[str, object]) -> bytes:
    """JSON."""
    return orjson.dumps(body, default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
