"""Documents made to keep the server busy are turned away after little work, whatever they are made of."""

import sys
from typing import Any

import pytest
from graphql import GraphQLSyntaxError, parse
from strawberry.types import ExecutionResult

from domain.errors import InvalidInput
from domain.rate_limit import Rate
from schema.cost import costs_of
from schema.limits import MAX_DOCUMENT_CHARS, DocumentLimits, count
from schema.request import read_operation
from schema.root import SCHEMA
from tests.api.floods import FLOODS

# Calls of functions, Python's and C's, that take some 10 ms.
_MANY_CALLS = 200_000


class _Context:
    """A visitor who may spend what they like."""

    viewer = None
    may_inspect = True
    cost = 0

    async def spend(self, rate: Rate, *, points: int) -> None:
        """Counted elsewhere."""


async def _ask(query: str) -> tuple[ExecutionResult, int]:
    """The answer to what is not too long to be looked at, and how many functions were called for it."""
    calls = 0

    def on_call(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(on_call)
    try:
        result = await SCHEMA.execute(query, context_value=_Context())
    finally:
        sys.setprofile(None)
    return result, calls


@pytest.mark.parametrize("name", FLOODS)
async def test_floods_are_turned_away_after_little_work(name: str) -> None:
    query = FLOODS[name]
    if len(query) > MAX_DOCUMENT_CHARS:
        with pytest.raises(InvalidInput, match="65,536 characters"):
            read_operation({"query": query})
        return
    result, calls = await _ask(query)
    assert result.data is None
    assert result.errors
    assert len(result.errors) < 101
    assert calls < _MANY_CALLS


def test_counting_stops_at_the_limit() -> None:
    limits = DocumentLimits()
    for query in FLOODS.values():
        try:
            document = parse(query, max_source_length=limits.max_chars, max_lexical_tokens=20_000)
        except GraphQLSyntaxError:
            continue
        found = count(document, limits)
        assert found.fields <= limits.max_fields + 1
        assert found.fragments <= max(limits.max_fragments + 1, len(document.definitions))
        assert found.depth <= limits.max_depth + 1
        assert found.comparisons <= limits.max_comparisons + limits.max_fields


@pytest.mark.parametrize(
    ("query", "variables", "points"),
    [
        ("{ server { version } }", {}, 2),
        ("{ viewer { id } }", {}, 2),
        ("{ ...A } fragment A on Query { server { version } ... { __typename } }", {}, 3),
        # 20 where no size is said; lists that come whole count as 10
        ("{ viewer { history { totalCount } } }", {}, 2 + 20),
        ("{ viewer { apiKeys { id hint } } }", {}, 2 + 10 * 2),
        ("{ viewer { history(first: 5) { nodes { id content } } } }", {}, 2 + 5 * 3),
        ("{ viewer { history(last: 7) { edges { node { id } } } } }", {}, 2 + 7 * 3),
        ("query ($n: Int) { viewer { history(first: $n) { totalCount } } }", {"n": 50}, 2 + 50),
        ("query ($n: Int = 3) { viewer { history(first: $n) { totalCount } } }", {}, 2 + 3),
        ("query ($n: Int = 3) { viewer { history(first: $n) { totalCount } } }", {"n": 4}, 2 + 4),
        ("query ($n: Int) { viewer { history(first: $n) { totalCount } } }", {"n": None}, 2 + 20),
        # a size that is refused later neither takes off nor explodes
        ("{ viewer { history(first: -5) { totalCount } } }", {}, 2 + 1),
        ("{ viewer { history(first: 2000000000) { totalCount } } }", {}, 2 + 100),
        ("mutation { logout { errors { code } } }", {}, 10 + 2 + 10),
        ("{ providers { models { id } } }", {}, 1 + 10 * (1 + 10)),
        ("{ __schema { types { fields { name } } } }", {}, 1),
    ],
)
def test_what_an_operation_costs(query: str, variables: dict[str, Any], points: int) -> None:
    (cost,) = costs_of(parse(query), SCHEMA._schema).values()
    assert cost.points(variables) == points


async def test_an_operation_that_costs_too_much_is_refused_however_it_says_so() -> None:
    pages = " ".join(f"p{n}: history(first: $n) {{ edges {{ node {{ id content prompt }} }} }}" for n in range(60))
    query = f"query ($n: Int) {{ viewer {{ {pages} }} }}"
    context = _Context()
    for size, is_refused in ((10, False), (100, True), (10, False)):
        result = await SCHEMA.execute(query, {"n": size}, context_value=context)
        assert (result.errors is not None) is is_refused
        assert context.cost == 2 + 60 - 1 + 60 * size * 5
    result = await SCHEMA.execute(query, {"n": 100}, context_value=context)
    assert [str(each.message) for each in result.errors or ()] == [
        "The operation costs 30,061 points; at most 20,000 are allowed."
    ]
