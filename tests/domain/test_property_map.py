"""What a page's properties say: placeholders, and what is filled in unasked."""

from __future__ import annotations

import pytest

from domain.errors import InvalidInput
from domain.notion import NotionParent, NotionParentKind
from domain.property_map import Placeholder, check_placeholders, defaults, filled, find_external_id

TEXTS = {each: f"<{each.name}>" for each in Placeholder} | {Placeholder.PROMPT: "{model} {{x}} {nothing}"}


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("{model}", "<MODEL>"),
        ("By {createdBy}, {createdAt}.", "By <CREATED_BY>, <CREATED_AT>."),
        # What is put in is never looked at again.
        ("{prompt}", "{model} {{x}} {nothing}"),
        ("{{model}}", "{model}"),
        ("{{anything}}", "{anything}"),
        ("{}", "{}"),
        ("{ model }", "{ model }"),
        ('{"a": 1}', '{"a": 1}'),
        ("}{", "}{"),
        (["{provider}", 1, None, True], ["<PROVIDER>", 1, None, True]),
        ({"start": "{createdAt}", "{model}": None}, {"start": "<CREATED_AT>", "{model}": None}),
        (None, None),
        (1.5, 1.5),
    ],
)
def test_placeholders_stand_for_what_they_name(said: object, value: object) -> None:
    assert filled({"{model}": said}, TEXTS, {}) == {"{model}": value}


@pytest.mark.parametrize("wrong", ["{Model}", "{created_at}", "a {x} b", ["{x}"], {"start": "{x}"}])
def test_what_is_no_placeholder_is_refused_by_its_propertys_name(wrong: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_placeholders({"Good": "{model}", "Bad": wrong})
    assert caught.value.field == ("Bad",)
    assert "{generationId}" in caught.value.message


def _parent(**properties: str) -> NotionParent:
    return NotionParent(
        kind=NotionParentKind.DATA_SOURCE, id="x", title="x", title_property="Name", properties=properties
    )


def test_properties_of_known_names_and_fitting_types_are_filled_in_unasked() -> None:
    parent = _parent(
        **{
            "Name": "title",
            "MODEL": "select",
            "Provider": "multi_select",
            "Prompt": "number",
            "Created by": "created_by",
            "author": "rich_text",
            "Date": "date",
            "Created": "date",
            "External ID": "rich_text",
            "Other": "rich_text",
        }
    )
    found = defaults(parent, may_add_options=True, beside={})
    assert found == {
        "MODEL": "{model}",
        "Provider": ["{provider}"],
        "author": "{createdBy}",
        "Date": "{createdAt}",
        "External ID": "{generationId}",
    }
    assert find_external_id(found, parent.properties) == "External ID"
    assert defaults(parent, may_add_options=True, beside={"MODEL": None, "Date": 1}).keys() == {
        "Provider",
        "author",
        "Created",
        "External ID",
    }
    assert defaults(parent, may_add_options=False, beside={}).keys() == {"author", "Date", "External ID"}
    assert defaults(_parent(Name="title"), may_add_options=True, beside={}) == {}


def test_only_a_text_that_is_the_id_alone_tells_pages_apart() -> None:
    types = {"A": "rich_text", "B": "url", "C": "rich_text"}
    assert find_external_id({"A": "no {generationId}", "B": "{generationId}"}, types) is None
    assert find_external_id({"C": "{generationId}"}, types) == "C"


def test_an_option_is_short_and_has_no_commas() -> None:
    texts = TEXTS | {Placeholder.PROVIDER: "Demo, offline", Placeholder.PROMPT: "x" * 200}
    said: dict[str, object] = {"A": "{provider}", "B": ["{provider}", "{prompt}"], "C": "{provider}"}
    types = {"A": "select", "B": "multi_select", "C": "rich_text"}
    assert filled(said, texts, types) == {
        "A": "Demo offline",
        "B": ["Demo offline", "x" * 100],
        "C": "Demo, offline",
    }
