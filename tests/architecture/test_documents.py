"""Every operation that the project shows or sends itself fits the published schema."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from graphql import GraphQLSchema, build_schema, parse, validate

from tests.ops.processes import ROOT

WEB = ROOT / "web"
# A document stands in quotes of some kind, and begins with what it is; or it is the query in a body of JSON.
_IN_CODE = re.compile(
    r"([`\"'])((?:query|mutation|subscription|fragment)\s(?:\\.|(?!\1).)*\{(?:\\.|(?!\1).)*)\1", re.DOTALL
)
_IN_JSON = re.compile(r'"query":\s*("(?:\\.|[^"\\])*")')
_FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    """The committed schema."""
    return build_schema((ROOT / "schema.graphql").read_text(encoding="utf-8"))


def examples() -> list[Path]:
    """The playground's tabs."""
    return sorted((WEB / "src" / "examples").glob("*.graphql"))


def documents_in_code() -> Iterator[tuple[str, str]]:
    """The documents in the playground's own code and in the clients, each with the name of its file."""
    for path in sorted([*(WEB / "src").rglob("*.ts*"), *(WEB / "clients").rglob("*.mjs")]):
        for found in _IN_CODE.finditer(path.read_text(encoding="utf-8")):
            yield path.name, found[2]


def documents_in_prose() -> Iterator[tuple[str, str]]:
    """The documents that readers are given to copy."""
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]):
        for language, text in _FENCED.findall(path.read_text(encoding="utf-8")):
            match language:
                case "graphql":
                    yield path.name, text
                case "sh" | "json":
                    yield from ((path.name, json.loads(found)) for found in _IN_JSON.findall(text))
                case _:
                    yield from ((path.name, found[2]) for found in _IN_CODE.finditer(text))


@pytest.mark.parametrize("path", examples(), ids=lambda path: path.stem)
def test_an_example_of_the_playground_fits_the_schema(schema: GraphQLSchema, path: Path) -> None:
    document = parse(path.read_text(encoding="utf-8"))
    assert [error.message for error in validate(schema, document)] == []


def test_the_playground_has_an_example_for_each_step() -> None:
    assert [path.stem for path in examples()] == [
        "1-sign-in",
        "2-generate",
        "3-watch",
        "4-history",
        "5-settings",
        "6-publish",
    ]


def test_the_documents_in_code_and_prose_fit_the_schema(schema: GraphQLSchema) -> None:
    found = [*documents_in_code(), *documents_in_prose()]
    assert {"journey.mjs", "session.ts", "README.md"} <= {name for name, _ in found}, (
        "they are still found where they were"
    )
    assert sum(name == "journey.mjs" for name, _ in found) == 5
    wrong = {
        (name, text): [error.message for error in errors]
        for name, text in found
        if (errors := validate(schema, parse(text)))
    }
    assert wrong == {}
