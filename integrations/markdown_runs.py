"""Runs of text as Markdown: marks around them, and whatever could be taken for markup escaped."""

from __future__ import annotations

import re
from enum import Enum, auto
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from domain.document import InlineEquation, Mark, RichText, Run

if TYPE_CHECKING:
    from collections.abc import Sequence


class Style(Enum):
    """How text is written."""

    READABLE = auto()
    """With Markdown's own marks and as few escapes as can be."""
    EXACT = auto()
    """With tags and entities that cannot be misread, within Markdown."""
    HTML = auto()
    """As HTML alone, where Markdown is not read."""


_Wrapping = Mark | str
"""What stands around a run: a mark, or the address of a link."""

_DELIMITERS: Final = {Mark.BOLD: "**", Mark.ITALIC: "*", Mark.STRIKETHROUGH: "~~"}
_TAGS: Final = {
    Mark.BOLD: "b",
    Mark.ITALIC: "i",
    Mark.STRIKETHROUGH: "s",
    Mark.UNDERLINE: "u",
    Mark.HIGHLIGHT: "mark",
    Mark.CODE: "code",
}
_MARKUP: Final = re.compile(
    r"""[\\`*~$<]               # always
    |(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])
    |&(?=\#?[A-Za-z0-9]+;)      # an entity
    |(?<=\])\(                  # a link
    |!(?=\[|$)                  # an image, perhaps with the run behind
    |(?<=http):(?=//)|(?<=https):(?=//)|(?<=www)\.""",
    re.VERBOSE,
)
_LINE_START: Final = re.compile(r"^(?:[#>+=|:\[-]|[0-9]{1,9}(?=[.)]))", re.MULTILINE)
_FRAGILE: Final = re.compile(r"[!-/:-@\[-`{-~\r\ufeff\xa0]|(?:^|(?<=\n))[ \t]+|[ \t]+(?=\n|$)|(?<=[ \t])[ \t]+")
"""Punctuation, and the blanks that Markdown or HTML does not keep."""

_LATEX_ENTITY: Final = re.compile(r"&(?=(?:lt|gt|amp|quot);)")
_DOLLAR: Final = re.compile(r"(?<!\\)(?:\\\\)*\$")


def runs_as_markdown(text: RichText, style: Style) -> str:
    """The runs one after the other; marks and links that several of them share are opened once."""
    parts: list[str] = []
    opened: list[_Wrapping] = []
    for position, run in enumerate(text):
        wanted = _wrappings(run, style)
        kept = len(list(takewhile(wanted.__contains__, opened)))
        parts += [_closing(wrapping, style) for wrapping in reversed(opened[kept:])]
        del opened[kept:]
        missing = [wrapping for wrapping in wanted if wrapping not in opened]
        missing.sort(key=lambda wrapping: -_extent(text[position:], wrapping, style))
        parts += [_opening(wrapping, style) for wrapping in missing]
        opened += missing
        is_line_start = not parts or parts[-1].endswith("\n") or position == 0
        parts.append(_content(run, style, is_line_start=is_line_start))
    return "".join(parts + [_closing(wrapping, style) for wrapping in reversed(opened)])


def escaped_text(content: str, style: Style, *, is_line_start: bool = True) -> str:
    """Plain text as Markdown or HTML."""
    if style is not Style.READABLE:
        escaped = _FRAGILE.sub(lambda match: "".join(f"&#{ord(character)};" for character in match[0]), content)
        return escaped.replace("\n", "<br>" if style is Style.HTML else "\\\n")
    escaped = _MARKUP.sub(r"\\\g<0>", content)
    if is_line_start:
        escaped = _LINE_START.sub(lambda start: _escaped_line_start(start[0]), escaped)
    else:
        head, newline, tail = escaped.partition("\n")
        escaped = head + newline + _LINE_START.sub(lambda start: _escaped_line_start(start[0]), tail)
    return escaped.replace("\n", "\\\n")


def escaped_latex(expression: str) -> str:
    """An expression in which no character is taken for an entity."""
    return _LATEX_ENTITY.sub("&amp;", expression)


def _escaped_line_start(start: str) -> str:
    return start + "\\" if start.isdigit() else "\\" + start


def _wrappings(run: Run, style: Style) -> list[_Wrapping]:
    marks: list[_Wrapping] = [mark for mark in Mark if mark in run.marks]
    if style is Style.READABLE and Mark.CODE in marks:
        marks.remove(Mark.CODE)  # backticks are part of the content
    link = None if isinstance(run, InlineEquation) else run.link
    return [*marks, link] if link else marks


def _extent(runs: Sequence[Run], wrapping: _Wrapping, style: Style) -> int:
    """How many runs in a row share it: the widest is opened first."""
    return len(list(takewhile(lambda run: wrapping in _wrappings(run, style), runs[:20])))


def _opening(wrapping: _Wrapping, style: Style) -> str:
    if not isinstance(wrapping, Mark):
        return f'<a href="{wrapping.replace("&", "&amp;")}">' if style is Style.HTML else "["
    if style is Style.READABLE and wrapping in _DELIMITERS:
        return _DELIMITERS[wrapping]
    return f"<{_TAGS[wrapping]}>"


def _closing(wrapping: _Wrapping, style: Style) -> str:
    if not isinstance(wrapping, Mark):
        return "</a>" if style is Style.HTML else f"](<{wrapping.replace('&', '&amp;')}>)"
    if style is Style.READABLE and wrapping in _DELIMITERS:
        return _DELIMITERS[wrapping]
    return f"</{_TAGS[wrapping]}>"


def _content(run: Run, style: Style, *, is_line_start: bool) -> str:
    if isinstance(run, InlineEquation):
        expression = escaped_latex(run.expression)
        if _DOLLAR.search(expression):  # as in \text{if $x$}: dollars around it would end at the first one
            return rf"\({expression}\)"
        # The empty tag keeps it apart from dollars and line starts that would change its meaning.
        return f"${expression}$" if style is Style.READABLE else f"<span></span>$${expression}$$"
    if style is Style.READABLE and Mark.CODE in run.marks:
        return _code_span(run.content)
    return escaped_text(run.content, style, is_line_start=is_line_start)


def _code_span(content: str) -> str:
    ticks = "`" * next(length for length in range(1, len(content) + 2) if not _has_ticks(content, length))
    blank = " " if content.startswith("`") or content.endswith("`") or content != content.strip() else ""
    return f"{ticks}{blank}{content}{blank}{ticks}"


def _has_ticks(content: str, length: int) -> bool:
    return re.search(f"(?<!`)`{{{length}}}(?!`)", content) is not None
