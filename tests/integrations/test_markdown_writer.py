"""The way back: what is written as Markdown is read as the same document."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.document import Block, Callout, Code, Divider, Document, InlineEquation, Mark, Prose, ProseKind, Text
from integrations.markdown import parse
from integrations.markdown_writer import write
from tests.integrations.test_markdown import (
    IMAGE_HOSTS,
    Case,
    CommonMarkCase,
    commonmark_cases,
    jumbles,
    our_cases,
    whole_documents,
)

PARAGRAPH = ProseKind.PARAGRAPH


def read_again(document: Document) -> tuple[Block, ...]:
    return parse(write(document), image_hosts=IMAGE_HOSTS).blocks


@pytest.mark.parametrize("case", commonmark_cases(), ids=lambda case: case.name)
def test_an_example_of_commonmark_comes_back(case: CommonMarkCase) -> None:
    document = parse(case.markdown)
    assert read_again(document) == document.blocks


@pytest.mark.parametrize("case", our_cases(), ids=lambda case: case.name)
def test_our_examples_come_back(case: Case) -> None:
    document = parse(case.markdown, image_hosts=IMAGE_HOSTS)
    assert read_again(document) == document.blocks


@pytest.mark.parametrize(
    "markdown",
    [
        r"Let \(f(x) = \text{1 if $x>0$}\) be.",
        r"\(\{x : \text{with $x_1*y*z$}\}\) stays",
        "\\[\na = \\text{$$}\n\\]",
        "**.** **<br>z**",
        "<b>z</b> <b><br>></b>",
        "<td>>\n\n```b",
        "<mark>&#32;*&#32;***</mark>",
        "a\\\n<mark>&#32;*&#32;***",
        "<kbd>>\\\n<img src=http://ok.x>>\n=",
        "```!&#10;<\nx\n```",
    ],
)
def test_a_text_with_pitfalls_comes_back(markdown: str) -> None:
    document = parse(markdown)
    assert read_again(document) == document.blocks


@settings(max_examples=100, deadline=None)
@given(jumbles())
def test_a_jumble_comes_back(markdown: str) -> None:
    document = parse(markdown)
    assert read_again(document) == document.blocks


@settings(max_examples=40, deadline=None)
@given(whole_documents())
def test_a_document_comes_back(markdown: str) -> None:
    document = parse(markdown)
    assert read_again(document) == document.blocks


@settings(max_examples=300, deadline=None)
@given(
    st.text("ab1 .)(-+*_~`#>|[]!<&;:=$\\/\"'{}^\t\r\u00a0é", min_size=1, max_size=30),
    st.frozensets(st.sampled_from(Mark), max_size=2),
)
def test_any_text_comes_back_in_every_place(content: str, marks: frozenset[Mark]) -> None:
    content = content.strip()
    text = (Text(content, marks),) if content else ()
    if Mark.CODE not in marks:  # blanks in a row are kept, tabs and all
        assert not text or read_again(Document((Prose(PARAGRAPH, text),))) == (Prose(PARAGRAPH, text),)
    blocks = (
        Prose(ProseKind.BULLETED_LIST_ITEM, text, (Divider(),)),
        Prose(ProseKind.QUOTE, text, (Divider(),)),
        Prose(ProseKind.HEADING_2, text or (Text("h"),)),
        Prose(ProseKind.TOGGLE, text or (Text("t"),), (Divider(),)),
    )
    assert read_again(Document(blocks)) == blocks


# --- as a person would write it


def test_what_markdown_says_well_is_written_as_a_person_would() -> None:
    markdown = """# Title

Some **bold**, *italic*, ~~struck~~, `code` and [a link](<https://x.example/y>) with $x^2$ in it.

- one

- two

  - deep **a *b* c**

- [ ] task

- [x] done

1. first

2. second

> quoted
>
> twice

> [!NOTE]
> careful

| a | b |
| --- | --- |
| 1 | `2` |

```python
print(1)
```

$$
y
$$

***

<details>
<summary>More</summary>

inside

</details>
"""
    assert write(parse(markdown)) == markdown


@pytest.mark.parametrize(
    ("markdown", "written"),
    [
        ("snake_case_name stays", "snake_case_name stays"),
        ("a \\* b \\_c\\_ \\`d\\`", "a \\* b \\_c\\_ \\`d\\`"),
        ("\\# no heading", "\\# no heading"),
        ("1\\. no list", "1\\. no list"),
        ("\\- no list", "\\- no list"),
        ("Array[0] and f(x)", "Array[0] and f(x)"),
        ("see [x]\\(y)", "see [x]\\(y)"),
        ("https\\://x.example", "https\\://x.example"),
        ("www\\.x.example", "www\\.x.example"),
        ("costs $5 and \\$6\\$", "costs \\$5 and \\$6\\$"),
        ("&amp;lt; AT&T", "\\&lt; AT&T"),
        ("a &lt;b> c", "a \\<b> c"),
        ("un<b>frig</b>gable", "un**frig**gable"),
        ("<b>a.</b>b", "<b>a&#46;</b>b"),
        ("a<br>b", "a\\\nb"),
        ("`` a`b ``", "``a`b``"),
    ],
)
def test_escapes_are_few(markdown: str, written: str) -> None:
    assert write(parse(markdown)) == written + "\n"


# --- what the reader of Markdown never makes, but people do in Notion


def test_numbers_are_not_counted_on_across_lists() -> None:
    item = Prose(PARAGRAPH, (Text("7. seven"),), (Divider(),))
    first = Prose(ProseKind.NUMBERED_LIST_ITEM, (Text("one"),))
    blocks = (first, first, item, item, first)
    assert read_again(Document(blocks)) == blocks


def test_a_foreign_callout_is_a_quote_with_its_icon() -> None:
    callout = Callout((Text("Party"),), icon="🎉", color="default", children=(Divider(),))
    assert write(Document((callout,))) == "> 🎉 Party\n>\n> ***\n"


def test_blocks_inside_a_heading_or_a_paragraph_follow_it() -> None:
    for kind in (ProseKind.HEADING_1, PARAGRAPH):
        written = write(Document((Prose(kind, (Text("a"),), (Prose(PARAGRAPH, (Text("b"),)),)),)))
        assert re.sub("^# ", "", written) == "a\n\nb\n"


def test_blanks_at_the_ends_of_a_text_are_left_out() -> None:
    assert write(Document((Prose(PARAGRAPH, (Text("  a \n  b "), InlineEquation("x"), Text("  "))),))) == "a\\\nb $x$\n"


def test_code_has_a_fence_longer_than_any_in_it() -> None:
    code = Code("```\n````\n~~~\n", "markdown", (Text("a `b` \\ &lt;"),))
    assert read_again(Document((code,))) == (code,)


def test_an_empty_document_is_an_empty_text() -> None:
    assert write(Document(())) == ""
