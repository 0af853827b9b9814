"""Markdown to document: what a reader could see is there, in the form that a page has for it."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from mdit_py_plugins.footnote import footnote_plugin

from domain.document import Code, Document, Equation, Mark, Prose, ProseKind, Table, Text
from integrations.markdown import parse
from integrations.markdown_losses import Loss
from integrations.notion_blocks import batches, count_blocks, to_notion
from tests.integrations.outline import outline
from tests.integrations.visible_text import (
    block_characters,
    block_texts,
    html_characters,
    html_text,
    lost_characters,
    lost_words,
)
from tests.standins.notion_limits import check_children

if TYPE_CHECKING:
    from types import FrameType

DATA = Path(__file__).parents[1] / "data"
IMAGE_HOSTS = frozenset({"img.example"})


class CommonMarkCase(NamedTuple):
    name: str
    section: str
    markdown: str
    html: str


class Case(NamedTuple):
    name: str
    markdown: str
    outline: str
    losses: str


def commonmark_cases() -> list[CommonMarkCase]:
    return [CommonMarkCase(**case) for case in json.loads((DATA / "commonmark_cases.json").read_text("utf-8"))]


def our_cases() -> list[Case]:
    """Each begins with `=== name`; its Markdown ends at `--->`, the outline of its blocks at `!!!` and the losses."""
    parts = re.split(r"^=== ", (DATA / "markdown_cases.txt").read_text("utf-8"), flags=re.MULTILINE)[1:]
    cases = []
    for part in parts:
        name, rest = part.split("\n", 1)
        markdown, expected = rest.split("\n--->\n")
        blocks, _, losses = expected.rstrip("\n").partition("\n!!! ")
        cases.append(Case(name, markdown + "\n", blocks, losses))
    return cases


def _violations(document: Document) -> list[str]:
    return [violation for batch in batches(to_notion(document)) for violation in check_children(batch.children)]


# --- CommonMark


def test_all_examples_of_commonmark_are_there() -> None:
    assert len(commonmark_cases()) == 652


@pytest.mark.parametrize("case", commonmark_cases(), ids=lambda case: case.name)
def test_an_example_of_commonmark_loses_nothing_and_is_valid(case: CommonMarkCase) -> None:
    document = parse(case.markdown)
    blocks = to_notion(document)
    assert lost_characters(case.html, blocks) == ""
    if not case.name.endswith("#570 Links"):  # two links side by side: their addresses are written between the words
        assert lost_words(case.html, blocks) == []
    assert _violations(document) == []


# --- our own examples


def test_our_examples_are_many() -> None:
    assert len(our_cases()) >= 60


@pytest.mark.parametrize("case", our_cases(), ids=lambda case: case.name)
def test_an_example_takes_its_form(case: Case) -> None:
    document = parse(case.markdown, image_hosts=IMAGE_HOSTS)
    assert outline(document.blocks) == case.outline
    assert " ".join(Loss(loss).name for loss in document.degraded) == case.losses
    assert _violations(document) == []


def test_line_ends_of_all_systems_are_alike() -> None:
    markdown = "---\na: b\n---\n# Title\n\n- a\n- b\n\n```\nx\n\ny\n```\n"
    assert parse(markdown.replace("\n", "\r\n")) == parse(markdown.replace("\n", "\r")) == parse(markdown)


def test_half_a_surrogate_pair_is_replaced_and_two_halves_are_one_character() -> None:
    assert parse("a\ud83d\ude00b").blocks == (Prose(kind=parse("x").blocks[0].kind, text=(Text("a😀b"),)),)  # type: ignore[union-attr]  # the first block is a paragraph
    document = parse("lone \ud83d half")
    assert outline(document.blocks) == "paragraph: lone � half"
    assert document.degraded == (Loss.LONE_SURROGATE,)


def test_an_empty_text_makes_an_empty_document() -> None:
    assert parse("") == parse(" \n\t\n") == Document(())


@pytest.mark.parametrize("blocks", [0, 1, 5])
def test_the_losses_are_told_once_each_and_in_order(blocks: int) -> None:
    document = parse("##### h\n\n[x](y)\n\n" * blocks)
    assert document.degraded == ((Loss.HEADING_LEVEL, Loss.LINK) if blocks else ())


# --- images and links of a text that nobody vouches for


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/a.png",
        "https://img.example.evil.example/a.png",
        "https://evil.example/img.example/a.png",
        "https://img.example@evil.example/a.png",
        "https://img.example\\@evil.example/a.png",
        "https://evil.example#img.example",
        "https://sub.img.example/a.png",
        "//img.example/a.png",
        "ftp://img.example/a.png",
        "data:image/png;base64,AAAA",
        "https://img.example:x/a.png",
        "https://img.example/" + "a" * 2000,
    ],
)
def test_an_image_from_elsewhere_is_never_loaded(url: str) -> None:
    for markdown in (f"![alt]({url})", f'<img src="{url}" alt="alt">', f"![alt][r]\n\n[r]: {url}"):
        document = parse(markdown, image_hosts=IMAGE_HOSTS)
        requests = json.dumps([block.request for block in to_notion(document)])
        assert '"image"' not in requests
        assert "alt" in requests
        assert document.degraded


@pytest.mark.parametrize("url", ["https://img.example/a.png", "http://IMG.EXAMPLE:8080/a.png?x=1#y"])
def test_an_image_from_an_allowed_host_is_loaded(url: str) -> None:
    (block,) = to_notion(parse(f"![alt]({url})", image_hosts=IMAGE_HOSTS))
    assert block.payload["image"]["external"]["url"].lower() == url.lower()


@pytest.mark.parametrize(
    ("host", "is_loaded"),
    [
        ("img.example", True),
        ("a.cdn.example", True),
        ("b.A.cdn.example:8080", True),
        ("cdn.example", False),
        ("a.img.example", False),
        ("acdn.example", False),
        ("a.cdn.example.evil.example", False),
        ("a.cdn.example.", False),
        ("*.cdn.example", False),
    ],
)
def test_all_hosts_below_one_may_be_allowed(host: str, is_loaded: bool) -> None:
    document = parse(f"![alt](https://{host}/a.png)", image_hosts=frozenset({"img.example", "*.cdn.example"}))
    assert [block.kind for block in to_notion(document)] == ["image" if is_loaded else "paragraph"]


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "vbscript:x",
        "file:///etc/passwd",
        "ftp://x.example",
        "mailto:a@b.example",
    ],
)
def test_other_schemes_become_text_that_can_be_read(address: str) -> None:
    for markdown in (f"[click]({address})", f'<a href="{address}">click</a>', f"[click][r]\n\n[r]: {address}"):
        document = parse(markdown)
        requests = json.dumps([block.request for block in to_notion(document)])
        assert '"link"' not in requests
        assert "click" in requests
        assert address.removeprefix("mailto:") in requests


_UNPARSABLE = [
    "http://a.example:65536/",
    "http://a.example:99999/x",
    "http://256.1.1.1/",
    "http://1.2.3.400:8080/x",
    "http://1.2.3/",
    "http://1.2.3.4.5/",
    "http://a.example.1/",
    "http://99999999999/",
    "http://0x.1/",
    "http://a.0x/",
    "http://a.0xfg.0xF./",
    "http://[1:2]/",
    "http://[::1.2.3]/",
    "https://xn--/",
    "https://www.xn--a-/",
    "https://xn--999999999.example/",
]
_PARSABLE = [
    "http://a.example:65535/",
    "http://a.example:0/",
    "http://1.2.3.4/",
    "http://1.2.3.4.:8080?x",
    "http://a.1.example/",
    "http://a.example1#y",
    "http://a.0xfg/",
    "http://localhost",
    "http://[::1]:8080/",
    "http://[1:2::ffff:1.2.3.4]/",
    "https://xn--bcher-kva.example/",
    "https://www.XN--n3h.example/",
]


@pytest.mark.parametrize("address", _UNPARSABLE)
def test_an_address_that_no_parser_takes_becomes_text(address: str) -> None:
    for markdown in (f"[click]({address})", f'<a href="{address}">click</a>', f"![click]({address})"):
        document = parse(markdown)
        (block,) = to_notion(document)
        assert "".join(block_texts([block])).strip() == f"click ({address})"
        assert '"link"' not in json.dumps(block.request)
        assert document.degraded


@pytest.mark.parametrize("address", _PARSABLE)
def test_an_address_that_parsers_take_is_a_link(address: str) -> None:
    (block,) = to_notion(parse(f"[click]({address})"))
    assert block.payload["paragraph"]["rich_text"][0]["text"]["link"]["url"].lower() == address.lower()


# --- sizes


def test_nesting_of_any_depth_keeps_every_word() -> None:
    words = [f"word{number}" for number in range(500)]
    for markdown in (
        "\n".join(">" * depth + " " + word for depth, word in enumerate(words, start=1)),
        "\n".join("  " * depth + "- " + word for depth, word in enumerate(words)),
        "".join("> " if depth % 2 else "- " for depth in range(500)) + " ".join(words),
        "<blockquote>".join(words),
        "\n\n".join(f"<details><summary>{word}</summary>" for word in words),
    ):
        document = parse(markdown)
        shown = set(re.findall(r"\w+", "".join(block_texts(to_notion(document)))))
        assert shown.issuperset(words)
        assert _violations(document) == []


def test_a_long_paragraph_is_read_in_parts_without_losing_any_of_it() -> None:
    markdown = " ".join(f"_word{number}_" for number in range(10_000))
    document = parse(markdown)
    assert "".join(block_texts(to_notion(document))).split() == markdown.replace("_", "").split()
    assert document.degraded == (Loss.LONG_TEXT,)


def test_footnotes_of_one_label_are_all_there() -> None:
    notes = "[^c]: n\n\n    more [^f]\n\n    [^f]: inner\n\n[^f]: first\n\n[^f]: second\n"
    shown = "".join(block_texts(to_notion(parse(notes))))
    assert set(re.findall(r"\w+", shown)).issuperset({"more", "inner", "first", "second"})


@pytest.mark.parametrize("length", [1000, 1001])
def test_an_equation_longer_than_notion_takes_is_code(length: int) -> None:
    expression = "x" * length
    document = parse(f"$$\n{expression}\n$$\n\nin ${expression}$ line")
    assert (document.blocks[0] == Equation(expression)) is (length == 1000)
    assert (document.blocks[0] == Code(expression, "latex")) is (length == 1001)
    assert document.degraded == ((Loss.LONG_EQUATION,) if length == 1001 else ())
    assert _violations(document) == []


def test_a_table_wider_than_notion_takes_keeps_its_cells() -> None:
    row = "|" + "|".join(f"c{number}" for number in range(130)) + "|\n"
    document = parse(row + "|-" * 130 + "|\n" + row)
    (table,) = document.blocks
    assert isinstance(table, Table)
    assert {len(cells) for cells in table.rows} == {100}
    assert "".join(block_texts(to_notion(document))).count("c129") == 2
    assert document.degraded == (Loss.TABLE_WIDTH,)


PATHOLOGICAL = {
    "open brackets": "[" * 20_000,
    "open images": "![" * 5_000,
    "emphasis that never closes": "*a " * 20_000,
    "emphasis of both sorts": "*a_" * 20_000,
    "quotes": ">" * 50_000,
    "lists in one line": "- " * 20_000,
    "dollars": "$a " * 20_000 + "\n\n" + "$$ a\n" * 10_000,
    "footnotes that are never closed": "[^a]: x\n\n" + "[^" * 20_000,
    "HTML tags": "<b>" * 10_000 + "x\n\n<div>" + "<b>" * 10_000,
    "superscripts": "<sup>" * 5_000 + "a" + "</sup>" * 5_000,
    "comments that never end": "<div><!--" * 10_000,
    "attributes that never end": "<div>" + "<a b='" * 10_000,
    "cells of a row": "|a|b|\n|-|-|\n|" + "`x|" * 20_000,
    "backticks": " ".join("`" * length for length in range(300)),
    "parentheses behind an address": "https://a.example" + ")" * 50_000,
    "flags": "\U0001f1e6" * 50_000,
    "combining marks": "e" + "\u0301" * 50_000,
}


@pytest.mark.timeout(90)  # each takes far less than a second; what is quadratic takes minutes
@pytest.mark.parametrize("name", PATHOLOGICAL)
def test_a_text_made_to_be_slow_is_not(name: str) -> None:
    document = parse(PATHOLOGICAL[name])
    assert document.blocks
    assert _violations(document) == []


GROWING = {
    "footnotes that nobody mentions": "[^{}]: a\n",
    "the same footnote": "[^a]: a\n",
    "lists of one item": "- a\n\n***\n",
    "tasks": "- [ ] a\n",
    "quotes": "> a\n\n",
    "headings": "# a\n",
    "words on lines": "a\n",
    "rows of a table": "|a|b|\n|-|-|\n",
    "marks around words": "**a** *b* `c` ",
    "marks that never match": "a**b_c~d",
    "fences": "```\na\n```\n",
    "formulas that never end": "$$\n",
    "definitions of links": "[{}]: /b\n",
}


def _steps(markdown: str) -> int:
    """How many functions reading a text calls: unlike its time, that is the same on every machine."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        to_notion(parse(markdown))
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("name", GROWING)
def test_twice_the_text_takes_twice_the_steps(name: str) -> None:
    once, twice = ("".join(GROWING[name].replace("{}", str(number)) for number in range(size)) for size in (400, 800))
    assert _steps(twice) < 2.3 * _steps(once)


# --- made by Hypothesis

_WORDS = st.text("abcdeé中😀019", min_size=1, max_size=6)
_MARKUP = r"""
* ** _ __ ~~ ` `` [ ] ![ ]( ) ]: [^ ]^ < > </ /> & &amp; &lt; \ \* $ $$ \( \) | |- :- - + 1. 2) # ## > >> --- *** ===
``` ~~~ [!NOTE] [x] https:// www. http://a.b @ : ; " ' ! ? = . , ( {} <b> </b> <sub> </sub> <br> <u> </u> <T> <!--c-->
<kbd> <div> </div> <p> <a href="/x"> </a> &nbsp; mailto:a@b.c <details> <summary> </summary> </details> <ul> <li> </ul>
<table> <tr> <td> </table> <pre> </pre> <h2> <img src="/x" alt="y">
"""
_BLANKS = [" ", "  ", "\n", "\n\n", "\n    ", "\n  ", "\t", "  \n", "\\\n", "\n> ", "\n- ", "\n1. ", "\n| "]
_SNIPPETS = st.one_of(_WORDS, st.sampled_from(_MARKUP.split()), st.sampled_from(_BLANKS))
# Our dialect takes these away where plain GFM shows them: around mathematics and code in tables.
_DIALECT = re.compile(r"[$()\[\]`|\\]")


def jumbles() -> st.SearchStrategy[str]:
    """Markup of all sorts in no order."""
    return st.lists(_SNIPPETS, max_size=40).map("".join)


def _rendered(markdown: str) -> str:
    """The text as markdown-it shows it in HTML, with the footnotes marked as we mark them."""
    parser = MarkdownIt("gfm-like2").use(footnote_plugin, inline=False)
    parser.options["linkify"] = False
    parser.disable("linkify")
    parser.add_render_rule("footnote_caption", lambda self, tokens, index, *_: f"[{tokens[index].meta['id'] + 1}]")
    parser.add_render_rule("footnote_anchor", lambda *_: "")
    for kind in ("html_block", "html_inline"):  # read piece by piece: what is left open must not swallow the rest
        parser.add_render_rule(kind, lambda self, tokens, index, *_: escape(html_text(tokens[index].content)))
    return str(parser.render(markdown))


@settings(max_examples=300, deadline=None)
@given(jumbles())
def test_a_jumble_loses_no_character_and_is_valid(markdown: str) -> None:
    document = parse(markdown)
    wanted = Counter(_DIALECT.sub("", html_characters(_rendered(markdown))))
    shown = Counter(block_characters(to_notion(document)))
    # An empty item may be a list here and text there, as a line of mathematics before it ends the paragraph only here.
    shown.update("1.2)-+*" * outline(document.blocks).count("list_item:"))
    assert not wanted - shown
    assert _violations(document) == []


@st.composite
def whole_documents(draw: st.DrawFn, depth: int = 3) -> str:
    """Well-formed Markdown: blocks of all sorts, nested, with marked words in them."""
    line = st.lists(_marked_words(), min_size=1, max_size=5).map(" ".join)
    kinds = ["paragraph", "heading", "code", "rule", "table"] + (
        ["list", "numbers", "tasks", "quote", "callout"] if depth else []
    )
    blocks = []
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=3)):
        match kind:
            case "paragraph":
                blocks.append("\n".join(draw(st.lists(line, min_size=1, max_size=3))))
            case "heading":
                blocks.append("#" * draw(st.integers(1, 6)) + " " + draw(line))
            case "code":
                blocks.append("```py\n" + draw(line) + "\n\n  " + draw(line) + "\n```")
            case "rule":
                blocks.append("***")
            case "table":
                width = draw(st.integers(1, 4))
                rows = [[draw(_marked_words()) for _ in range(width)] for _ in range(draw(st.integers(1, 3)))]
                lines = ["| " + " | ".join(row) + " |" for row in rows]
                blocks.append("\n".join([lines[0], "|---" * width + "|", *lines[1:]]))
            case "quote" | "callout":
                inside = draw(whole_documents(depth - 1))
                title = "[!NOTE]\n" if kind == "callout" else ""
                blocks.append("\n".join("> " + text for text in (title + inside).split("\n")))
            case _:
                marker = {"list": "- ", "numbers": "1. ", "tasks": "- [x] "}[kind]
                indent = " " * (3 if kind == "numbers" else 2)
                items = draw(st.lists(st.tuples(line, whole_documents(depth - 1)), min_size=1, max_size=2))
                blocks.append("\n".join(marker + text + "\n\n" + _indented(inside, indent) for text, inside in items))
    return "\n\n".join(blocks)


def _indented(text: str, indent: str) -> str:
    return "\n".join(indent + line if line else "" for line in text.split("\n"))


def _marked_words() -> st.SearchStrategy[str]:
    word = st.text("abcdefghij", min_size=1, max_size=8)
    form = [
        "{}",
        "**{}**",
        "*{}*",
        "~~{}~~",
        "`{}`",
        "[{}](https://x.example/{})",
        "![{}](https://x.example/i.png)",
        "<u>{}</u>",
    ]
    return st.builds(lambda text, shape: shape.replace("{}", text), word, st.sampled_from(form))


@settings(max_examples=100, deadline=None)
@given(whole_documents())
def test_a_document_loses_no_word_and_is_valid(markdown: str) -> None:
    document = parse(markdown)
    html = _rendered(markdown)
    blocks = to_notion(document)
    assert lost_words(html, blocks) == []
    assert lost_characters(html, blocks) == ""
    assert _violations(document) == []


@pytest.mark.parametrize("piece", ["[", "![", "[ [ ", "[a][", "[a](", "![](", "[" * 50 + "]" * 49])
def test_a_maze_of_brackets_is_shown_as_written(piece: str) -> None:
    # Following every bracket to its end would take minutes: the test's own limit on time tells.
    text = piece * (300_000 // len(piece)) + "\n\nand [a link](https://example.com/)"
    *maze, last = parse(text).blocks
    assert isinstance(last, Prose)
    assert last.text[-1] == Text("a link", link="https://example.com/")
    words = "".join(run.content for block in maze for run in block.text)  # type: ignore[union-attr]  # paragraphs
    assert words == text.partition("\n")[0].strip()


@pytest.mark.parametrize(
    "piece",
    [
        "# w{}\n",
        "- w{}\n",
        "1. w{}\n\n   more\n",
        "- w{}\n  - > x{}\n\n    y{}\n",
        "> w{}\n>\n",
        "> [!NOTE]\n> w{}\n\n",
        "| w{} | x{} |\n",
        "> | w{} | x{} |\n",
        "[^n{}]: w{}\n",
        "<p>w{}</p>\n",
        "<ul><li>w{}</li></ul>\n\n",
    ],
)
def test_what_follows_very_many_blocks_is_shown_as_written(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("integrations.markdown_block_rules.MOST_BLOCKS", 300)
    monkeypatch.setattr("integrations.markdown.MOST_BLOCKS", 300)
    prefix, _, row = piece.partition("|")
    head = f"{prefix}| v | w |\n{prefix}|---|---|\n" if row else ""
    text = head + "".join(piece.replace("{}", str(number)) for number in range(1000))

    document = parse(text)

    blocks = to_notion(document)
    shown = "\n".join(block_texts(blocks))
    in_order = sorted if piece.startswith("[^") else list  # footnotes are listed at the end
    assert in_order(re.findall(r"\b[wxy]\d+", shown)) == in_order(re.findall(r"\b[wxy]\d+", text))
    assert Loss.TOO_MANY in document.degraded
    assert count_blocks(blocks) <= 310
    assert _violations(document) == []


def test_what_follows_very_many_marks_is_shown_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("integrations.markdown_syntax.MOST_MARKS", 300)
    *_, last = document = parse("".join(f"some *w{number}* and [x{number}](/y)\n\n" for number in range(100))).blocks

    assert last == Prose(ProseKind.PARAGRAPH, (Text("some *w99* and [x99](/y)"),))
    assert document[0] == Prose(
        ProseKind.PARAGRAPH, (Text("some "), Text("w0", frozenset({Mark.ITALIC})), Text(" and x0 (/y)"))
    )


def test_links_among_open_intervals_stay_links() -> None:
    text = "From [0, 1) to [1, 2), " * 60 + "see [here](https://example.com/)."
    (paragraph,) = parse(text).blocks
    assert isinstance(paragraph, Prose)
    assert Text("here", link="https://example.com/") in paragraph.text
