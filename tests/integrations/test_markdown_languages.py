"""The names of languages: Notion's own, and what people write instead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from integrations import markdown_languages
from integrations.markdown_languages import LANGUAGES, notion_language

NOTIONS = json.loads((Path(__file__).parents[1] / "data" / "notion_languages.json").read_text("utf-8"))


def test_the_languages_are_those_that_notion_knows() -> None:
    assert frozenset(NOTIONS) == LANGUAGES
    assert len(LANGUAGES) == 90


@pytest.mark.parametrize("name", NOTIONS)
def test_notions_own_names_are_found_in_any_spelling(name: str) -> None:
    assert notion_language(name) == notion_language(name.upper()) == notion_language(name.replace(" ", "-")) == name


@pytest.mark.parametrize(
    ("alias", "language"),
    [
        ("py", "python"),
        ("sh", "shell"),
        ("zsh", "shell"),
        ("js", "javascript"),
        ("TSX", "typescript"),
        ("yml", "yaml"),
        ("text", "plain text"),
        ("c++", "c++"),
        ("cpp", "c++"),
        ("cs", "c#"),
        ("golang", "go"),
        ("dockerfile", "docker"),
        ("objective-c", "objective-c"),
        ("visual_basic", "visual basic"),
        ("tex", "latex"),
        ("rs", "rust"),
    ],
)
def test_an_alias_is_found(alias: str, language: str) -> None:
    assert notion_language(alias) == language


@pytest.mark.parametrize("name", ["", "brainfuck", "text/x-python", "pythonic"])
def test_an_unknown_name_is_not_found(name: str) -> None:
    assert notion_language(name) is None


def test_no_alias_stands_for_two_languages_or_hides_a_name() -> None:
    aliases = markdown_languages.ALIASES
    written = " ".join(aliases.values()).split()
    assert len(written) == len(set(written))
    assert not LANGUAGES.intersection(written)
    assert LANGUAGES.issuperset(aliases)
