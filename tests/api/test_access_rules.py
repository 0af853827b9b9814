"""Every root field and every type of thing with an owner has a rule, and each rule is applied."""

import logging
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
import strawberry
from strawberry.types import ExecutionResult

from domain.account import Role, Scope, User, Viewer
from domain.rate_limit import Rate
from schema.access import ANYONE, GENERATE, OWNER, OWNER_READS, READ, UnruledError, rule_of
from schema.executable import ExecutableSchema
from schema.payload import Payload, mutation
from schema.root import SCHEMA

_NOW = datetime(2026, 11, 30, tzinfo=UTC)


@strawberry.interface
class Node:
    """A thing with an owner."""

    name: str


@strawberry.type(directives=[OWNER])
class Note(Node):
    """Somebody's note."""

    text: str = strawberry.field(resolver=lambda: "a secret", directives=[OWNER_READS])

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        return isinstance(value, SimpleNamespace)


def _note(owner: int) -> SimpleNamespace:
    return SimpleNamespace(name="n", user_id=UUID(int=owner))


@strawberry.type
class Outcome(Payload):
    """What a mutation answers."""

    note: Note | None


async def _write() -> SimpleNamespace:
    _written.append(1)
    return _note(1)


_written: list[int] = []


@strawberry.type
class Query:
    """Queries."""

    mine: Note | None = strawberry.field(resolver=lambda: _note(1), directives=[READ])
    anothers: Note | None = strawberry.field(resolver=lambda: _note(2), directives=[READ])


@strawberry.type
class Mutation:
    """Mutations."""

    write = mutation(_write, Outcome, result="note", access=GENERATE, description="")


async def _numbers() -> AsyncGenerator[int, None]:
    yield 1


@strawberry.type
class Subscription:
    """Subscriptions."""

    numbers = strawberry.subscription(resolver=_numbers, directives=[READ])


_SMALL = ExecutableSchema(query=Query, mutation=Mutation, subscription=Subscription, types=(Note,))


def _context(scopes: frozenset[Scope] | None = None) -> Any:
    user = User(
        id=UUID(int=1),
        email="ada@example.org",
        username="ada",
        role=Role.USER,
        is_active=True,
        created_at=_NOW,
        updated_at=_NOW,
    )
    viewer = Viewer(user=user, session_id=UUID(int=9), authenticated_until=_NOW, scopes=scopes)
    return _context_of(viewer)


def _context_of(viewer: Viewer | None) -> Any:
    return SimpleNamespace(
        viewer=viewer,
        refusal=None,
        may_inspect=True,
        spend=_spend,
        wait_for_events=_wait,
        begin_mutation=_begin_mutation,
    )


async def _spend(_: Rate, *, points: int = 1) -> None:
    """Counted elsewhere."""


def _wait() -> None:
    """Bounded elsewhere."""


async def _begin_mutation() -> bool:
    """There is one in each operation here."""
    return False


_NOBODY = _context_of(None)


def test_the_product_declares_who_may_have_what() -> None:
    graphql = SCHEMA._schema
    for root in (graphql.query_type, graphql.mutation_type, graphql.subscription_type):
        assert root is not None
        assert all(rule_of(field) is not None for field in root.fields.values())


def test_a_root_field_without_a_rule_is_not_built() -> None:
    @strawberry.type
    class Unruled:
        hello: str = strawberry.field(resolver=lambda: "hello")

    with pytest.raises(UnruledError, match=r"Unruled\.hello"):
        ExecutableSchema(query=Unruled)
    with pytest.raises(UnruledError, match=r"Unruled\.hello"):
        ExecutableSchema(query=Query, mutation=Unruled, types=(Note,))


def test_a_thing_with_an_owner_without_a_rule_is_not_built() -> None:
    @strawberry.type
    class Diary(Node):
        pass

    with pytest.raises(UnruledError, match="Diary"):
        ExecutableSchema(query=Query, types=(Note, Diary))


async def test_a_query_is_refused_before_it_is_resolved() -> None:
    result = await _SMALL.execute("{ mine { name } }", context_value=_NOBODY)
    assert result.data == {"mine": None}
    assert [str(error.original_error) for error in result.errors or ()] == ["Sign in first."]
    result = await _SMALL.execute("{ mine { name text } }", context_value=_context())
    assert result.data == {"mine": {"name": "n", "text": "a secret"}}


async def test_a_mutation_says_it_in_its_payload_and_does_nothing() -> None:
    query = "mutation { write { note { name } errors { code } } }"
    for context, code in ((_NOBODY, "UNAUTHENTICATED"), (_context(frozenset({Scope.READ})), "FORBIDDEN")):
        result = await _SMALL.execute(query, context_value=context)
        assert result.data == {"write": {"note": None, "errors": [{"code": code}]}}
        assert result.errors is None
    assert _written == []
    result = await _SMALL.execute(query, context_value=_context())
    assert result.data == {"write": {"note": {"name": "n"}, "errors": []}}
    assert _written == [1]


async def test_a_subscription_is_refused_where_it_begins() -> None:
    async def results(context: object) -> list[ExecutionResult]:
        stream = await _SMALL.stream("subscription { numbers }", context_value=context)
        return [each async for each in stream if isinstance(each, ExecutionResult)]

    for context in (_NOBODY, _context(frozenset({Scope.GENERATE}))):
        (refused,) = await results(context)
        assert refused.data is None
        assert len(refused.errors or ()) == 1
    assert [each.data for each in await results(_context())] == [{"numbers": 1}]


async def test_what_belongs_to_another_is_withheld_even_if_a_service_lets_it_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        result = await _SMALL.execute("{ anothers { name text } }", context_value=_context())
    assert result.data == {"anothers": None}
    assert [str(error.original_error) for error in result.errors or ()] == ["There is no such thing."]
    assert [record.getMessage() for record in caplog.records] == ["foreign_object_withheld"]


async def test_a_field_may_need_more_than_what_leads_to_it() -> None:
    query = "mutation { write { note { name text } } }"
    result = await _SMALL.execute(query, context_value=_context(frozenset({Scope.GENERATE})))
    assert [str(error.original_error) for error in result.errors or ()] == ["The token lacks the scope READ."]


def test_anyone_means_it() -> None:
    assert ANYONE.rule.find_refusal(None) is None
