"""Asks a running server everything that its schema allows, at random, and judges what it answers.

The documents are schemathesis'. Left alone, nearly all of them would end at the first rule that an argument breaks; so
some of their arguments are put in from the table of tests/api/access_table.py, which is known to go through.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import httpx
from graphql import (
    ArgumentNode,
    DocumentNode,
    FieldNode,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLObjectType,
    GraphQLSchema,
    NameNode,
    ObjectFieldNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    ast_from_value,
    get_nullable_type,
    parse,
    print_ast,
)

from domain.errors import ErrorCode
from schema.documents import VALIDATION_FAILED
from schema.errors import BAD_REQUEST, OPERATION_NOT_FOUND, PARSE_FAILED
from tests.api.access_table import TABLE

if TYPE_CHECKING:
    from schemathesis.specs.graphql.schemas import GraphQLSchema as AskedSchema

_KNOWN_CODES: Final = {each.value for each in ErrorCode} | {
    PARSE_FAILED,
    VALIDATION_FAILED,
    OPERATION_NOT_FOUND,
    BAD_REQUEST,
}
_KEPT_OUT: Final = frozenset({ErrorCode.UNAUTHENTICATED.value, ErrorCode.FORBIDDEN.value})
_FAULTS: Final = "faultsOfMutation"  # no alias that schemathesis thinks of
# These take away whose things all the others ask for.
_LAST: Final = ("Mutation.logout", "Mutation.updateUser", "Mutation.deleteUser", "Mutation.deleteAccount")


@dataclass(slots=True)
class Asker:
    """Somebody who asks; `sign_in` gives the headers by which they are known, also after they were thrown out."""

    name: str
    sign_in: Callable[[], Mapping[str, str]]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fault:
    """An answer that should not be."""

    asker: str
    operation: str
    document: str
    what: str

    def __str__(self) -> str:
        return f"{self.asker}, {self.operation}: {self.what}\n{self.document}"


@dataclass(slots=True)
class Tally:
    """What came of the questions, by who asked and for which root field: all are counted in `asked`.

    `let_in`: the field's resolver was run. `done`: and the field has a value, whatever is missing below it.
    """

    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    let_in: Counter[tuple[str, str]] = field(default_factory=Counter)
    done: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)

    def share(self, asker: str) -> float:
        """How much of what they asked, and may ask, has reached a resolver."""
        return self._sum(self.let_in, asker) / self._sum(self.asked, asker)

    def __str__(self) -> str:
        return "; ".join(
            f"{asker}: {self._sum(self.asked, asker)} asked of what they may ask, "
            f"{self._sum(self.let_in, asker)} reached a resolver, {self._sum(self.done, asker)} were answered"
            for asker in dict.fromkeys(asker for asker, _ in self.asked)
        )

    def _sum(self, counter: Counter[tuple[str, str]], asker: str) -> int:
        return sum(count for (by, name), count in counter.items() if by == asker and may_ask(asker, name))


def may_ask(asker: str, name: str) -> bool:
    """Whether they are let in to a root field, says the table."""
    return getattr(TABLE[name], asker) not in _KEPT_OUT


class Fuzzer:
    """Asks by one HTTP connection, one question after the other. It blocks: give it a thread of its own."""

    def __init__(
        self,
        http: httpx.Client,
        *,
        arguments: Mapping[str, Mapping[str, Any]],
        askers: Sequence[Asker],
        mend: Callable[[], None],
        introspect_as: Mapping[str, str],
    ) -> None:
        self._http = http
        self._arguments = arguments
        self._askers = askers
        self._mend = mend
        self._introspect_as = introspect_as
        self.tally = Tally()

    def run(self, *, examples: int, seed: int) -> Tally:
        """So many documents of each root field by each asker, every fourth of them with something wrong in it."""
        schema = _load(str(self._http.base_url.join("/graphql")), self._introspect_as)
        operations = {each.label: each for root in schema for each in schema[root].values()}
        # A new field comes without a row, which tests/api/test_access.py says better.
        names = [name for name in TABLE if name in operations and name not in _LAST] + list(_LAST)
        for name in names:
            documents = _documents(operations[name], examples, seed)
            self._mend()
            for asker in self._askers:
                asker.headers = asker.sign_in()
                for place, (text, is_sound) in enumerate(documents):
                    chance = random.Random(f"{seed} {asker.name} {name} {place}")
                    # The first goes through for certain, if anything does.
                    likelihood = chance.choice((0.0, 0.5, 0.8, 1.0)) if is_sound and place else float(is_sound)
                    known = self._arguments[name]
                    document = _with_known_arguments(text, name, known, schema.client_schema, likelihood, chance)
                    self._ask(asker, name, document)
        return self.tally

    def _ask(self, asker: Asker, name: str, document: str) -> None:
        response = self._http.post("/graphql", json={"query": document}, headers=dict(asker.headers))
        place = (asker.name, name)
        self.tally.asked[place] += 1
        try:
            wrongs = list(_wrongs(response))
        except ValueError:
            wrongs = [f"the answer is not JSON: {response.text[:200]!r}"]
        self.tally.faults += [Fault(asker.name, name, document, what) for what in wrongs]
        if wrongs:
            return
        answer = response.json()
        codes = set(_codes(answer))
        if answer.get("data") is not None or any("path" in each for each in answer["errors"]):
            self.tally.let_in[place] += not codes & _KEPT_OUT
            self.tally.done[place] += _is_done(answer)
        if asker.headers and ErrorCode.UNAUTHENTICATED.value in codes:
            # They have signed themselves out, or worse. What comes next is to be asked by somebody again.
            self._mend()
            asker.headers = asker.sign_in()


def _load(url: str, headers: Mapping[str, str]) -> AskedSchema:
    # Slow to import, and of no use to all the other tests that a worker collects.
    import schemathesis
    from hypothesis import strategies as st
    from schemathesis.graphql import nodes

    moments = st.datetimes().map(lambda moment: f"{moment.isoformat()}Z")
    schemathesis.graphql.scalar("DateTime", (moments | st.text(max_size=30)).map(nodes.String))
    numbers = st.decimals() | st.decimals(min_value=0, max_value=100, places=2)
    schemathesis.graphql.scalar("Decimal", numbers.map(str).map(nodes.String))
    schemathesis.graphql.scalar("JSONObject", _json_objects().map(_literal))
    return schemathesis.graphql.from_url(url, headers=dict(headers))


def _json_objects() -> Any:
    from hypothesis import strategies as st

    names = st.from_regex(r"\A[_A-Za-z][_0-9A-Za-z]{0,20}\Z")
    leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
    values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(names, inner), max_leaves=8)
    return st.dictionaries(names, values)


def _literal(value: object) -> ValueNode:
    """A JSON value as GraphQL writes it."""
    from schemathesis.graphql import nodes

    match value:
        case None:
            return nodes.Null
        case bool():
            return nodes.Boolean(value)
        case int():
            return nodes.Int(value)
        case float():
            return nodes.Float(value)
        case str():
            return nodes.String(value)
        case list():
            return nodes.List([_literal(each) for each in value])
        case dict():
            return nodes.Object(
                [ObjectFieldNode(name=NameNode(value=name), value=_literal(each)) for name, each in value.items()]
            )
    raise TypeError(type(value).__name__)


def _documents(operation: Any, examples: int, seed: int) -> list[tuple[str, bool]]:
    """As many as are wanted, the same for the same seed, each with whether it is sound."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded
    from schemathesis import GenerationMode

    def drawn(mode: GenerationMode, count: int) -> list[str]:
        texts: list[str] = []

        def collect(case: Any) -> None:  # of a type with four parameters that say nothing here
            texts.append(str(case.body))

        limits = settings(
            max_examples=count,
            database=None,
            deadline=None,
            phases=[Phase.generate],  # nothing can fail, so nothing is to be made smaller
            suppress_health_check=list(HealthCheck),
        )
        given(case=operation.as_strategy(generation_mode=mode))(limits(seeded(seed)(collect)))()
        return texts

    unsound = examples // 4
    return [
        *((text, True) for text in drawn(GenerationMode.POSITIVE, examples - unsound)),
        *((text, False) for text in drawn(GenerationMode.NEGATIVE, unsound)),
    ]


def _with_known_arguments(
    text: str,
    name: str,
    known: Mapping[str, Any],
    schema: GraphQLSchema,
    likelihood: float,
    chance: random.Random,
) -> str:
    """The document with some of its arguments, or all, or none, as they are known to go through.

    A mutation is asked for its errors besides, by which it is known how that went.
    """
    document = parse(text)
    root, _, field_name = name.partition(".")
    type_ = schema.type_map[root]
    assert isinstance(type_, GraphQLObjectType)
    (operation,) = document.definitions
    assert isinstance(operation, OperationDefinitionNode)
    selections = []
    for selection in operation.selection_set.selections:
        if isinstance(selection, FieldNode) and selection.name.value == field_name:
            types = {argument: each.type for argument, each in type_.fields[field_name].args.items()}
            given = {each.name.value: each.value for each in selection.arguments or ()}
            arguments = tuple(
                ArgumentNode(name=NameNode(value=argument), value=value)
                for argument, value in _mixed(given, known, types, likelihood, chance).items()
            )
            below = selection.selection_set
            if root == "Mutation" and below is not None:
                errors = parse(f"{{ {_FAULTS}: errors {{ code }} }}").definitions[0]
                assert isinstance(errors, OperationDefinitionNode)
                below = SelectionSetNode(selections=(*below.selections, *errors.selection_set.selections))
            selection = FieldNode(
                alias=selection.alias,
                name=selection.name,
                arguments=arguments,
                directives=selection.directives,
                selection_set=below,
            )
        selections.append(selection)
    asked = OperationDefinitionNode(
        operation=operation.operation,
        name=operation.name,
        variable_definitions=operation.variable_definitions,
        directives=operation.directives,
        selection_set=SelectionSetNode(selections=tuple(selections)),
    )
    return print_ast(DocumentNode(definitions=(asked,)))


def _mixed(
    given: Mapping[str, ValueNode],
    known: Mapping[str, Any],
    types: Mapping[str, GraphQLInputType],
    likelihood: float,
    chance: random.Random,
) -> dict[str, ValueNode]:
    """Each value that is known put in with this likelihood, and what is not known left out as often."""
    mixed: dict[str, ValueNode] = {}
    for name in dict.fromkeys([*known, *given]):
        old = given.get(name)
        if name not in types or name not in known:
            if old is not None and (name not in types or chance.random() >= likelihood):
                mixed[name] = old
            continue
        type_ = get_nullable_type(types[name])
        if isinstance(type_, GraphQLInputObjectType):
            fields = (
                {each.name.value: each.value for each in old.fields or ()} if isinstance(old, ObjectValueNode) else {}
            )
            inner = {field_name: each.type for field_name, each in type_.fields.items()}
            mixed[name] = ObjectValueNode(
                fields=tuple(
                    ObjectFieldNode(name=NameNode(value=field_name), value=value)
                    for field_name, value in _mixed(fields, known[name], inner, likelihood, chance).items()
                )
            )
        elif chance.random() < likelihood:
            value = ast_from_value(known[name], types[name])
            assert value is not None
            mixed[name] = value
        elif old is not None:
            mixed[name] = old
    return mixed


def _wrongs(response: httpx.Response) -> Iterable[str]:
    if response.status_code >= 500:
        yield f"status {response.status_code}: {response.text[:500]}"
    answer = response.json()
    if not isinstance(answer, dict) or not answer.keys() & {"data", "errors"}:
        yield f"this is no answer of GraphQL: {response.text[:500]}"
        return
    for code in _codes(answer):
        if code not in _KNOWN_CODES:
            yield f"an error without a code that is known: {answer['errors']}"
        elif code == ErrorCode.INTERNAL.value:
            yield f"a fault of the server: {response.text[:500]}"


def _is_done(answer: Mapping[str, Any]) -> bool:
    values = (answer.get("data") or {}).values()
    return bool(values) and all(
        value is not None and not (isinstance(value, dict) and value.get(_FAULTS)) for value in values
    )


def _codes(answer: Mapping[str, Any]) -> Iterable[str | None]:
    """The codes of all its errors, those that mutations answer as data too."""
    for error in answer.get("errors") or ():
        code = error.get("extensions", {}).get("code")
        yield code if isinstance(code, str) else None
    for payload in (answer.get("data") or {}).values():
        if isinstance(payload, dict):
            for error in payload.get(_FAULTS) or ():
                yield error["code"]
