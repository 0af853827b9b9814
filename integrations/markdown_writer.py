"""A document written as Markdown that means the same: reading it gives the document again.

What Markdown says well is written as a person would write it. Each text is read back; where that would show another
text, it is written again with HTML's tags and entities, which leave nothing to interpretation.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, assert_never
from urllib.parse import urlsplit

from domain.document import (
    Block,
    Callout,
    Code,
    Divider,
    Document,
    Equation,
    Image,
    Prose,
    ProseKind,
    RichText,
    Table,
    Text,
    ToDo,
)
from integrations.markdown import CALLOUTS, parse
from integrations.markdown_inline import trimmed
from integrations.markdown_languages import PLAIN, notion_language
from integrations.markdown_runs import Style, escaped_latex, escaped_text, runs_as_markdown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NUMBER: Final = re.compile(r"([0-9]{1,9})([.)])(?: |$)")


def write(document: Document) -> str:
    """The document as Markdown. `parse` makes the same blocks of it, if the hosts of the images are allowed."""
    lines = _blocks(document.blocks)
    return "\n".join(lines) + "\n" if lines else ""


def _blocks(blocks: Sequence[Block], *, is_first_text_taken: bool = True) -> list[str]:
    """The lines of siblings, with blank lines between them.

    If the block around them has no text, a first paragraph would be taken for that: one with a number, which once was
    an item of a list, is one again.
    """
    lines: list[str] = []
    previous: tuple[int, str] | None = None
    natural_number = 0
    for block in blocks:
        is_numbered = isinstance(block, Prose) and block.kind is ProseKind.NUMBERED_LIST_ITEM
        natural_number = natural_number + 1 if is_numbered else 0
        is_item = not is_first_text_taken and not lines
        number = (natural_number, ".") if is_numbered else _written_number(block, is_item=is_item)
        if lines:
            lines.append("")
        if previous and number and number != (previous[0] + 1, previous[1]):
            lines += ["<!-- -->", ""]  # or Markdown would count on
        lines += _block(block, number)
        previous = number
    return lines


def _written_number(block: Block, *, is_item: bool) -> tuple[int, str] | None:
    """The number and delimiter that a paragraph with blocks inside starts with: it was an item of a numbered list."""
    if isinstance(block, Prose) and block.kind is ProseKind.PARAGRAPH and block.text and (block.children or is_item):
        first = block.text[0]
        if isinstance(first, Text) and (match := _NUMBER.match(first.content)):
            return int(match[1]), match[2]
    return None


def _block(block: Block, number: tuple[int, str] | None) -> list[str]:
    match block:
        case Prose():
            return _prose(block, number)
        case ToDo(text, checked=checked, children=children):
            return _item("- [x] " if checked else "- [ ] ", text, children, width=len("- "))
        case Callout():
            return _quoted(_callout(block))
        case Code():
            return _code(block)
        case Equation(expression):
            opening, closing = (r"\[", r"\]") if "$$" in expression else ("$$", "$$")
            return [opening, *(line for line in escaped_latex(expression).split("\n") if line.strip()), closing]
        case Table():
            return _table(block)
        case Image():
            return [_image(block)]
        case Divider():
            return ["***"]
        case other:
            assert_never(other)


def _prose(block: Prose, number: tuple[int, str] | None) -> list[str]:
    match block.kind:
        case ProseKind.PARAGRAPH if number is not None:
            marker = f"{number[0]}{number[1]} "
            return _item(marker, _without_prefix(block.text, len(marker)), block.children)
        case ProseKind.PARAGRAPH:
            return _followed(_lines(block.text), block.children)
        case ProseKind.BULLETED_LIST_ITEM:
            return _item("- ", block.text, block.children)
        case ProseKind.NUMBERED_LIST_ITEM:
            return _item(f"{number[0] if number else 1}. ", block.text, block.children)
        case ProseKind.QUOTE:
            return _quoted(_opened(_lines(block.text), block.children))
        case ProseKind.TOGGLE:
            body = ["", *_blocks(block.children)] if block.children else []
            return ["<details>", *_summary(block.text), *body, "", "</details>"]
        case heading:
            return _followed(["#" * int(heading[-1]) + " " + _in_heading(block.text)], block.children)


def _item(marker: str, text: RichText, children: Sequence[Block], *, width: int | None = None) -> list[str]:
    """An item of a list: its marker, and everything inside it indented by the marker's width."""
    indent = " " * (len(marker) if width is None else width)
    first, *rest = _opened(_lines(text), children) or [""]
    if first.startswith("-"):  # empty items in one line would be a line across the page
        first, rest = "", [first, *rest]
    is_task = width is not None
    return [marker + first if first or is_task else marker.rstrip(), *(indent + line if line else "" for line in rest)]


def _followed(lines: list[str], children: Sequence[Block]) -> list[str]:
    """A block inside which Markdown has no place for others, which people can put there in Notion."""
    return [*lines, "", *_blocks(children)] if children else lines


def _opened(lines: list[str], children: Sequence[Block]) -> list[str]:
    """The text of a block and the blocks inside it."""
    if not lines:
        return _blocks(children, is_first_text_taken=False)
    return [*lines, "", *_blocks(children)] if children else lines


def _quoted(lines: list[str]) -> list[str]:
    return [f"> {line}" if line else ">" for line in lines or [""]]


def _callout(block: Callout) -> list[str]:
    """The lines inside a callout; of an icon that Markdown knows nothing of, inside a quote."""
    text = trimmed(block.text)
    for kind, (icon, _) in CALLOUTS.items():
        title = kind.capitalize()
        first = text[0] if text else None
        if block.icon == icon and isinstance(first, Text) and first.content == title and first.marks:
            rest = trimmed(_without_prefix(text, len(title)))
            return [f"[!{kind}]", *_opened(_lines(rest), block.children)]
    return _opened(_lines((Text(f"{block.icon} "), *text)), block.children)


def _code(block: Code) -> list[str]:
    caption = "".join(run.content for run in block.caption if isinstance(run, Text)).replace("\n", " ").strip()
    info = block.language.replace(" ", "-")
    if block.language == PLAIN:
        # A language that Notion does not know stands in the caption: there is no other place for it.
        first_word = re.match(r"[\s{.]*([^\s{}:,=]*)", caption)
        info = "text" if caption and first_word and notion_language(first_word[1]) else ""
    info = f"{info} {caption}".strip().replace("\\", "\\\\").replace("&", "&amp;")
    character = "~" if "`" in info else "`"
    longest = max(map(len, re.findall(f"{character}+", block.content)), default=0)
    fence = character * max(3, longest + 1)
    return [fence + info, *(block.content.split("\n") if block.content else []), fence]


def _table(block: Table) -> list[str]:
    rows = ["| " + " | ".join(map(_in_cell, row)) + " |" for row in block.rows]
    return [rows[0], "|" + " --- |" * len(block.rows[0]), *rows[1:]]


def _image(block: Image) -> str:
    caption = trimmed(block.caption)
    link = next((run.link for run in caption if isinstance(run, Text) and run.link), None)
    host = urlsplit(block.url).hostname or ""
    description = "".join(run.content if isinstance(run, Text) else run.expression for run in caption)
    marks = caption[0].marks if caption else frozenset()

    def written(style: Style) -> str:
        image = f"![{escaped_text(description, style)}](<{block.url}>)"
        return runs_as_markdown((Text("\0", marks, link),), style).replace("\0", image, 1)

    return _first_that(lambda markdown: parse(markdown, image_hosts=frozenset({host})).blocks == (block,), written)


# --- text, in the places where it stands


def _lines(text: RichText) -> list[str]:
    """The text of a paragraph."""
    text = trimmed(text)
    if not text:
        return []
    expected = (Prose(ProseKind.PARAGRAPH, text),)
    return _first_that(
        lambda markdown: parse(markdown).blocks == expected, lambda style: runs_as_markdown(text, style)
    ).split("\n")


def _in_heading(text: RichText) -> str:
    text = trimmed(text)
    expected = (Prose(ProseKind.HEADING_1, text),)
    return _first_that(
        lambda markdown: parse(f"# {markdown}").blocks == expected,
        lambda style: _in_one_line(runs_as_markdown(text, style)),
    )


def _in_cell(text: RichText) -> str:
    text = trimmed(text)
    expected = (Table(((text,),)),)
    return _first_that(
        lambda markdown: parse(f"| {markdown} |\n| --- |").blocks == expected,
        lambda style: _in_one_line(runs_as_markdown(text, style)).replace("|", r"\|"),
    )


def _summary(text: RichText) -> list[str]:
    """The line of a toggle: HTML in one line if that is enough, else Markdown between the tags."""
    text = trimmed(text)
    expected = (Prose(ProseKind.TOGGLE, text),)
    line = f"<summary>{_in_one_line(runs_as_markdown(text, Style.HTML))}</summary>"
    if parse(f"<details>\n{line}\n\n</details>").blocks == expected:
        return [line]
    return ["<summary>", "", *_lines(text), "", "</summary>"]


def _in_one_line(markdown: str) -> str:
    return markdown.replace("\\\n", "<br>").replace("\n", " ")


def _first_that(is_right: Callable[[str], bool], written: Callable[[Style], str]) -> str:
    """The text as a person would write it, if it is read back rightly; else so that nothing can be misread."""
    readable = written(Style.READABLE)
    return readable if is_right(readable) else written(Style.EXACT)


def _without_prefix(text: RichText, length: int) -> RichText:
    first = text[0]
    if not isinstance(first, Text):
        return text
    return (Text(first.content[length:], first.marks, first.link), *text[1:])
