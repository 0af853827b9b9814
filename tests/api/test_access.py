"""The whole schema, asked by everybody: who gets what is in the table here, and what is not in it fails."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any, Final
from uuid import uuid4

import pytest
from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLObjectType,
    get_named_type,
    is_composite_type,
    is_required_argument,
)

from domain.account import Scope
from resolvers import ids
from schema.access import rule_of
from schema.root import SCHEMA
from tests.api.access_table import NULL, OK, TABLE
from tests.api.assistant import at_work, everything_in, outside
from tests.api.product import Person, Product
from tests.api.things import SETTINGS, filled_in, things_of

_GRAPHQL: Final = SCHEMA._schema
# Their answer is whose it is that asks, so nothing of another can be in it; and what each does is recorded.
_RECORDED: Final = frozenset({"Mutation.deleteGenerations"})


def _root_fields() -> dict[str, GraphQLField]:
    roots = (_GRAPHQL.query_type, _GRAPHQL.mutation_type, _GRAPHQL.subscription_type)
    return {f"{root.name}.{name}": each for root in roots if root for name, each in root.fields.items()}


def _document(name: str) -> str:
    """An operation of this root field alone, with all its arguments as variables."""
    root, _, field_name = name.partition(".")
    given = {
        argument: each for argument, each in _root_fields()[name].args.items() if argument in TABLE[name].arguments
    }
    declared = ", ".join(f"${argument}: {each.type}" for argument, each in given.items())
    passed = ", ".join(f"{argument}: ${argument}" for argument in given)
    selection = "{ errors { code } }" if root == "Mutation" else "{ __typename }"
    head = f"{root.lower()} Asked" + (f"({declared})" if declared else "")
    return f"{head} {{ {field_name}{f'({passed})' if passed else ''} {selection} }}"


async def _ask(person: Person, document: str, variables: dict[str, Any]) -> str:
    """The body of the answer; of a subscription, its first event."""
    accept = "text/event-stream" if document.startswith("subscription") else "application/json"
    headers = {**person.headers, "accept": accept}
    response = await person.http.post("/graphql", json={"query": document, "variables": variables}, headers=headers)
    if accept == "application/json":
        return response.text
    return next(line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: "))


def _gist(body: str) -> str:
    """Whether it went through, or the code of its only error."""
    answer = json.loads(body)
    if "errors" in answer:
        (error,) = answer["errors"]
        assert not any((answer.get("data") or {}).values())
        return str(error["extensions"]["code"])
    (value,) = answer["data"].values()
    if value is None:
        return NULL
    errors = value.get("errors") if isinstance(value, dict) else None
    return str(errors[0]["code"]) if errors else OK


async def _program(running: Product, owner: Person, scopes: list[str]) -> Person:
    """Somebody who has a token of the owner's."""
    create = (
        "mutation ($input: CreateAccessTokenInput!) { createAccessToken(input: $input) { secret errors { code } } }"
    )
    payload = await owner.do(create, input={"name": "Test", "scopes": scopes})
    program = await running.visitor()
    program.headers = {"authorization": f"Bearer {payload['secret']}"}
    return program


@pytest.mark.timeout(300)  # some hundred questions, and most of the time what is stored is read before and after
async def test_everybody_gets_what_the_table_says(database_url: str, subtests: pytest.Subtests) -> None:
    async with outside() as world, at_work(database_url, world, SETTINGS) as running:
        ada, bob = await running.person("ada"), await running.person("bob")
        root, visitor = await running.administrator(), await running.visitor()
        things = await things_of(running, ada, root, world)
        programs = {
            scope: await _program(running, ada, [each for each in Scope if each is not scope])
            for scope in [None, *Scope]
        }
        for name, case in TABLE.items():
            rule = rule_of(_root_fields()[name])
            assert rule is not None
            callers = {
                "visitor": visitor,
                "program": programs[rule.scope],
                "stranger": bob,
                "administrator": root,
                "owner": ada,
            }
            for caller, person in callers.items():
                expected = getattr(case, caller)
                is_kept_out = expected in ("FORBIDDEN", NULL) or (caller == "visitor" and expected == "UNAUTHENTICATED")
                before = await _at_rest(database_url) if is_kept_out else {}
                with subtests.test(name, asked_by=caller):
                    answer = _gist(await _ask(person, _document(name), filled_in(case.arguments, things)))
                    assert answer == expected
                    if is_kept_out:
                        after = await everything_in(database_url)
                        assert _without_sign_ins(after) == _without_sign_ins(before)


async def _at_rest(database_url: str) -> dict[str, list[str]]:
    """What is stored, once nothing is at work any more; read twice, for not all work can be seen."""
    before = None
    while True:
        rows = await everything_in(database_url)
        is_at_work = any(state in row for row in rows["content_history"] for state in ("QUEUED", "RUNNING"))
        if rows == before and not is_at_work:
            return rows
        before = rows
        await asyncio.sleep(0.02)


def _id_arguments() -> Iterator[tuple[str, tuple[str, ...]]]:
    """All arguments that take a global id. A provider's id is a name, and not a person's."""
    for name, each in _root_fields().items():
        for argument, definition in each.args.items():
            type_ = get_named_type(definition.type)
            inner = type_.fields if isinstance(type_, GraphQLInputObjectType) else {}
            found = [(argument, field_name) for field_name, part in inner.items() if _is_id(part.type)]
            for path in [*found, *([(argument,)] if _is_id(definition.type) else [])]:
                if "rovider" not in f"{name}{path}":
                    yield name, path


def test_no_id_of_a_thing_is_asked_for_where_none_is_tried() -> None:
    # What is a name, and nobody's.
    names = {"provider", "model"}
    tried = {get_named_type(each.type).name for field in _root_fields().values() for each in field.args.values()}
    deeper = set()
    for type_ in _GRAPHQL.type_map.values():
        if isinstance(type_, GraphQLInputObjectType) and type_.name not in tried:
            deeper |= {f"{type_.name}.{name}" for name, each in type_.fields.items() if _is_id(each.type)}
        if isinstance(type_, GraphQLObjectType) and type_ not in (_GRAPHQL.query_type, _GRAPHQL.subscription_type):
            for name, field in type_.fields.items():
                deeper |= {f"{type_.name}.{name}.{each}" for each, part in field.args.items() if _is_id(part.type)}
    assert {each for each in deeper if each.rpartition(".")[2] not in names} == set()


def _is_id(type_: Any) -> bool:
    return bool(get_named_type(type_).name == "ID")


async def test_what_is_somebody_elses_is_like_what_does_not_exist(database_url: str, subtests: pytest.Subtests) -> None:
    async with outside() as world, at_work(database_url, world, SETTINGS) as running:
        ada, bob = await running.person("ada"), await running.person("bob")
        root = await running.administrator()
        things = await things_of(running, ada, root, world)
        of_hers = [value for name, value in things.items() if name not in ("parent", "notion")]
        assert {ids.decode(each).type for each in of_hers} == set(ids.NodeType)
        for name, path in _id_arguments():
            for global_id in of_hers:
                type_ = ids.decode(global_id).type
                with subtests.test(name, of=type_.value):
                    before = _without_sign_ins(await everything_in(database_url), but=name)
                    answers = [
                        await _ask(bob, _document(name), _with_id(name, path, each, things))
                        for each in (global_id, ids.encode(type_, uuid4()))
                    ]
                    assert answers[0] == answers[1]
                    assert global_id not in answers[0]
                    assert _without_sign_ins(await everything_in(database_url), but=name) == before
        for name in ("generation", "key", "page"):
            assert (await ada.ask("query ($id: ID!) { node(id: $id) { id } }", id=things[name]))["node"] is not None


def _with_id(name: str, path: tuple[str, ...], global_id: str, things: dict[str, str]) -> dict[str, Any]:
    """The arguments of the table with another id in this place."""
    variables: dict[str, Any] = filled_in(TABLE[name].arguments, things)
    *parents, last = path
    place = variables
    for each in parents:
        place = place[each]
    assert last in place, "the table's arguments have to use every argument that takes an id"
    place[last] = [global_id] if isinstance(place[last], list) else global_id
    return variables


def _without_sign_ins(rows: dict[str, list[str]], *, but: str = "") -> dict[str, list[str]]:
    """Without what is noted of everybody who asks: when they were seen, and of some that they did."""
    left_out = {"sessions", "access_tokens", "periodic_slots"} | ({"audit_log"} if but in _RECORDED else set())
    return {name: each for name, each in rows.items() if name not in left_out}


def _whole(type_: GraphQLObjectType, *, depth: int = 2) -> str:
    """All fields of a type that need no arguments, and some of what is below them."""
    parts = []
    for name, each in type_.fields.items():
        if any(is_required_argument(argument) for argument in each.args.values()):
            continue
        of_type = get_named_type(each.type)
        if rule_of(each) is not None:
            continue  # it is asked for by itself
        if not is_composite_type(of_type):
            parts.append(name)
        elif depth and isinstance(of_type, GraphQLObjectType):
            parts.append(f"{name} {{ __typename {_whole(of_type, depth=depth - 1)} }}")
    return " ".join(parts)


async def test_each_field_of_what_has_an_owner_is_the_owners_alone(
    database_url: str, subtests: pytest.Subtests
) -> None:
    async with outside() as world, at_work(database_url, world, SETTINGS) as running:
        ada, bob = await running.person("ada"), await running.person("bob")
        root, visitor = await running.administrator(), await running.visitor()
        things = await things_of(running, ada, root, world)
        blind = await _program(running, ada, ["GENERATE", "PUBLISH", "ADMIN"])
        reader = await _program(running, ada, ["READ"])
        for thing in ("user", "key", "session", "token", "generation", "publication", "page"):
            type_ = _GRAPHQL.type_map[ids.decode(things[thing]).type]
            assert isinstance(type_, GraphQLObjectType)
            assert rule_of(type_) is not None
            for name, each in type_.fields.items():
                of_type = get_named_type(each.type)
                below = f"{{ __typename {_whole(of_type, depth=1)} }}" if isinstance(of_type, GraphQLObjectType) else ""
                query = f"query ($id: ID!) {{ node(id: $id) {{ ... on {type_.name} {{ {name} {below} }} }} }}"
                own_rule, is_credential = rule_of(each), thing in ("session", "token")
                needs_no_sign_in = own_rule is None or own_rule.scope is not None
                with subtests.test(type_.name, field=name):
                    for person, expected in (
                        (visitor, "UNAUTHENTICATED"),
                        (blind, "FORBIDDEN"),
                        (bob, NULL),
                        (root, NULL),
                        (ada, OK),
                        (reader, NULL if is_credential else OK if needs_no_sign_in else "FORBIDDEN"),
                    ):
                        assert _gist(await _ask(person, query, {"id": things[thing]})) == expected
