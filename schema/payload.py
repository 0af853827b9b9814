"""What mutations answer: a result, or the expected failures as data."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

import strawberry
from strawberry.extensions import FieldExtension
from strawberry.types.field import StrawberryField

from domain.errors import AssistantError, ErrorCode, QuotaExceeded, RateLimited
from domain.generation import Failure
from domain.rate_limit import Rate
from resolvers.context import Info
from schema.access import Access
from schema.errors import reason_of

_INPUT = "input"


@strawberry.type(description="An expected failure, told to the person who meets it.")
class UserError:
    message: str = strawberry.field(description="What is wrong and, where possible, what helps.")
    code: ErrorCode = strawberry.field(description="What is wrong, for programs.")
    field: list[str] | None = strawberry.field(
        description="The path of the argument at fault, such as `input`, `prompt`; null when none is."
    )
    reason: str | None = strawberry.field(
        description="How the AI provider or Notion failed, such as `AUTHENTICATION`; null for other failures."
    )
    retry_after_seconds: int | None = strawberry.field(description="When to try again, if that is known.")
    resets_at: datetime | None = strawberry.field(
        default=None, description="When the budget that is used up begins anew; null for other failures."
    )


def user_error_of(failure: AssistantError, *, within: tuple[str, ...] = (_INPUT,)) -> UserError:
    """A mutation's failure. Services name fields within the input, spelt as in the schema."""
    return UserError(
        message=failure.message,
        code=failure.code,
        field=None if failure.field is None else [*within, *failure.field],
        reason=reason_of(failure),
        retry_after_seconds=failure.retry_after_seconds,
        resets_at=failure.resets_at if isinstance(failure, QuotaExceeded) else None,
    )


def error_field(*, description: str) -> Any:  # the type of a field without annotation is the schema's own business
    """The field `error` of something that may have failed some time ago."""

    def error(root: strawberry.Parent[Any]) -> UserError | None:
        failure: Failure | None = root.failure
        if failure is None:
            return None
        return UserError(
            message=failure.message,
            code=failure.code,
            field=None,
            reason=failure.reason,
            retry_after_seconds=failure.retry_after_seconds,
        )

    return strawberry.field(resolver=error, description=description)


def errors_field(*, description: str) -> Any:  # as above
    """The field `errors` of an answer to a query; each `field` begins at the query's arguments."""

    def errors(root: strawberry.Parent[Any]) -> list[UserError]:
        failures: Sequence[AssistantError] = root.failures
        return [user_error_of(each, within=()) for each in failures]

    return strawberry.field(resolver=errors, description=description)


@strawberry.interface(description="What every mutation answers.")
class Payload:
    errors: list[UserError] = strawberry.field(
        description="Why nothing, or not all, was done; empty when all went well."
    )


class _FailuresAsData(FieldExtension):
    """Puts what the resolver returns into its field of the payload, and an expected failure into `errors`."""

    def __init__(
        self, payload: type[Any], result: str | None, *, access: Access, empty: object, rate: Rate | None
    ) -> None:
        self._payload = payload
        self._access = access
        self._rate = rate
        self._result = result
        self._empty = empty

    async def resolve_async(
        self, next_: Callable[..., Awaitable[Any]], source: Any, info: Info, **kwargs: Any
    ) -> object:
        """Called by Strawberry in the resolver's place; `Any` is its own signature."""
        try:
            if await info.context.begin_mutation():
                refusal = self._access.rule.find_refusal(info.context.viewer)
                if refusal is not None:
                    raise refusal
            if self._rate is not None:
                await info.context.spend(self._rate)
            value = await next_(source, info, **kwargs)
        except AssistantError as failure:
            if isinstance(failure, RateLimited):
                info.context.retry_after_seconds = failure.retry_after_seconds
            return self.failed(failure)
        return self._answer([], value)

    def failed(self, failure: AssistantError) -> object:
        """The payload that says so."""
        return self._answer([user_error_of(failure)], self._empty)

    def _answer(self, errors: list[UserError], value: object) -> object:
        return self._payload(errors=errors, **({} if self._result is None else {self._result: value}))


def mutation(
    resolver: Callable[..., Awaitable[Any]],
    payload: type[Any],
    *,
    access: Access,
    description: str,
    result: str | None = None,
    empty: object = None,
    rate: Rate | None = None,
) -> StrawberryField:
    """A mutation whose resolver's value is the payload's field `result`; `empty` stands there after a failure.

    With a `rate`, each call is counted, and too many are refused.
    """
    field: StrawberryField = strawberry.mutation(
        resolver=resolver,
        graphql_type=payload,
        description=description,
        directives=[access],
        extensions=[_FailuresAsData(payload, result, access=access, empty=empty, rate=rate)],
    )
    return field
