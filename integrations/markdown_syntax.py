"""How Markdown is read: markdown-it with GitHub's extensions, mathematics and footnotes, and without losing text.

The library's own rules drop what is nested too deeply and the cells that a table row has too many; the plugins take
prices for mathematics and can be made to run in quadratic time. The rules here replace those and only those.
"""

from __future__ import annotations

import functools
import re
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from markdown_it import MarkdownIt
from markdown_it.common.utils import unescapeAll
from markdown_it.rules_block.table import escapedSplit
from markdown_it.rules_block.table import table as is_table
from markdown_it.token import Token
from mdit_py_plugins.footnote.index import footnote_def

from integrations.markdown_block_rules import (
    DEEPEST_BLOCK,
    count_rows,
    heading,
    list_block,
    paragraph,
    room,
    rule,
)
from integrations.markdown_parser import SIGNS, BlockParser, InlineParser

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline
    from markdown_it.utils import PresetType

__all__ = ["LONGEST_TEXT", "Reading", "Token", "normalised_address", "trimmed_address", "unescaped"]

LONGEST_TEXT: Final = 30_000
"""The longest text that is read in one go: some texts need much memory for each of their characters."""


MOST_MARKS: Final = 100_000
"""Signs in the texts inside blocks before the rest is shown as written: many times those of a long answer."""

FEW_BRACKETS: Final = 100
MOST_STEPS: Final = 50_000
"""How far the brackets of a text that is read in one go may be followed: a twentieth of a second or so."""


class Reading:
    """A Markdown text with plain line ends taken apart into block tokens; the text inside a block is read on demand.

    Reading on demand keeps few tokens alive at a time: a megabyte has a hundred thousand, and the garbage collector,
    which stops the whole program, would walk over all of them again and again.
    """

    def __init__(self, markdown: str) -> None:
        self._env: dict[str, Any] = {}  # markdown-it's own store, of whatever type its rules like
        self._footnote_numbers: dict[str, int] = {}
        self.footnotes: list[str] = []
        self._marks = 0
        self.leaves_marks = False
        self.tokens = deque(_parser().parse(markdown, self._env))

    def inline(self, content: str) -> Iterator[Token]:
        """The tokens of the text of one block or table cell, read in parts of `LONGEST_TEXT` if it is longer.

        When there were `MOST_MARKS` of them, the rest is text as written; `leaves_marks` says so.
        """
        start = 0
        while start < len(content):
            if self._marks >= MOST_MARKS:
                self.leaves_marks = True
                yield Token("text", "", 0, content=content[start:].replace("\n", " "))
                return
            end = _end_of_part(content, start)
            part = content[start:end]
            is_maze = _is_maze(part)
            parser = _parser_without_links() if is_maze else _parser()
            self._marks += len(SIGNS.findall(part.replace("[", "").replace("]", "") if is_maze else part))
            yield from parser.inline.parse(part, parser, self._env, [])
            start = end

    def footnote_number(self, label: str) -> int:
        """The number of a footnote, which is given out at its first mention."""
        if label not in self._footnote_numbers:
            self.footnotes.append(label)
            self._footnote_numbers[label] = len(self.footnotes)
        return self._footnote_numbers[label]


def _end_of_part(content: str, start: int) -> int:
    limit = start + LONGEST_TEXT
    if len(content) <= limit:
        return len(content)
    blank = max(content.rfind("\n", start, limit), content.rfind(" ", start, limit))
    return blank + 1 if blank > start else limit


def _is_maze(content: str) -> bool:
    """Whether looking for the other end of every bracket would take long: each one is followed across all between.

    Brackets that are nested or left open in their thousands make no links that anybody could see.
    """
    if content.count("[") <= FEW_BRACKETS:
        return False
    if content.count("](") > content.count(")") + FEW_BRACKETS:
        return True
    opened: list[int] = []
    steps = signs = 0
    for sign in SIGNS.finditer(content):
        signs += 1
        if sign[0] == "[":
            opened.append(signs)
        elif sign[0] == "]" and opened:
            steps += signs - opened.pop()
        if steps > MOST_STEPS:
            return True
    return steps + sum(signs - place for place in opened) > MOST_STEPS


_PLAIN_ADDRESS: Final = re.compile(r"https?://[a-z0-9-]+(?:\.[a-z0-9-]+)*(?:/[\w;/?:@&=+$,.!~*'()#-]*)?", re.ASCII)


class _Parser(MarkdownIt):
    def configure(self, presets: str | PresetType, options_update: Mapping[str, Any] | None = None) -> MarkdownIt:
        """As the library does, after putting our own parsers in place of its own."""
        self.block = BlockParser()
        self.inline = InlineParser()
        return super().configure(presets, options_update)

    def normalizeLink(self, url: str) -> str:  # noqa: N802 (the library's name)
        """As the library does, but at once for the many addresses that need no change: taking one apart is slow."""
        return url if _PLAIN_ADDRESS.fullmatch(url) and "xn--" not in url else super().normalizeLink(url)


@functools.cache
def _parser_without_links() -> MarkdownIt:
    parser = _new_parser()
    parser.disable(["link", "image", "footnote_ref"])
    return parser


@functools.cache
def _parser() -> MarkdownIt:
    return _new_parser()


def _new_parser() -> MarkdownIt:
    options = {
        "maxNesting": DEEPEST_BLOCK + 10,
        "tasklists": True,
        "alerts": True,
        "strikethrough_single_tilde": True,
    }
    parser = _Parser("commonmark", options)
    # Its "normalize" would go through all line ends at one go, which nobody can interrupt.
    parser.core.ruler.enableOnly(["block"])
    parser.enable("strikethrough")
    block, inline = parser.block.ruler, parser.inline.ruler
    block.at("table", _table, {"alt": ["paragraph", "reference"]})
    block.enable("table")
    block.disable("lheading")
    block.at("paragraph", paragraph)
    block.at("heading", heading, {"alt": ["paragraph", "reference", "blockquote"]})
    block.at("hr", rule, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    block.at("list", list_block, {"alt": ["paragraph", "reference", "blockquote"]})
    block.before("reference", "footnote_def", footnote_def, {"alt": ["paragraph", "reference"]})
    block.before("fence", "math_block", _math_block, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    inline.before("escape", "math_inline", _math_inline)
    inline.after("image", "footnote_ref", _footnote_ref)
    inline.push("bare_address", _bare_address)
    return parser


def normalised_address(address: str) -> str:
    """An address in the form of a request: what is not ASCII is encoded."""
    return _parser().normalizeLink(address)


def unescaped(text: str) -> str:
    """A text without Markdown's backslashes and HTML's entities."""
    return unescapeAll(text)


# --- blocks


def _table(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """A GFM table as one token, whose `meta["rows"]` are the cells' texts; no cell is dropped."""
    if not is_table(state, start_line, end_line, silent=True):
        return False
    if silent:
        return True
    rows = [_cells(_line(state, start_line))]
    width = len(rows[0])
    terminators = state.md.block.ruler.getRules("blockquote")
    parent_type, state.parentType = state.parentType, "table"
    missing = 0
    line = start_line + 2
    most_rows = room(state)
    while line < end_line and state.sCount[line] >= state.blkIndent and not state.isEmpty(line):
        if state.is_code_block(line) or any(rule(state, line, end_line, True) for rule in terminators):
            break
        cells = _cells(_line(state, line))
        if len(cells) > width:  # mostly a pipe inside code that should have been escaped
            cells = _cells(_with_escaped_pipes_in_code(_line(state, line)))
            cells[width - 1 :] = ["|".join(cells[width - 1 :])]
        missing += width - len(cells)
        if missing > _MOST_MISSING_CELLS or len(rows) >= most_rows:
            break
        rows.append(cells + [""] * (width - len(cells)))
        line += 1
    state.parentType = parent_type
    count_rows(state, len(rows))
    token = state.push("table", "", 0)
    aligned = ":" in _line(state, start_line + 1)
    token.meta = {"rows": [[cell.strip(" \t") for cell in row] for row in rows], "aligned": aligned}
    state.line = line
    return True


_MOST_MISSING_CELLS: Final = 0x10000
"""As in markdown-it: a wide header over many short rows must not blow up."""


def _line(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]


def _cells(line: str) -> list[str]:
    cells = escapedSplit(line.strip(" \t"))
    if cells and cells[0] == "":
        del cells[0]
    if cells and cells[-1] == "":
        del cells[-1]
    return cells or [""]


_CODE_SPAN: Final = re.compile(r"(?<![`\\])(`+)(?!`)(.+?)(?<!`)\1(?!`)")
_LONGEST_REPAIRED_ROW: Final = 5_000
"""The pattern above is quadratic in the number of backticks."""


def _with_escaped_pipes_in_code(line: str) -> str:
    if len(line) > _LONGEST_REPAIRED_ROW:
        return line
    return _CODE_SPAN.sub(lambda span: re.sub(r"(?<!\\)\|", r"\\|", span[0]), line)


_MATH_FENCES: Final = {"$$": "$$", r"\[": r"\]"}


def _math_block(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    r"""`$$ … $$` or `\[ … \]` on lines of their own, with no blank line inside."""
    first = _line(state, start_line)
    opener = first[:2]
    if opener not in _MATH_FENCES or state.is_code_block(start_line):
        return False
    closer = _MATH_FENCES[opener]
    if first[2:].rstrip().endswith(closer):
        last_line = start_line
    else:
        last_line = _fence_line(state, start_line + 1, end_line, (opener, closer))
        if last_line == end_line or not _line(state, last_line).rstrip().endswith(closer):
            return False
    expression = state.getLines(start_line, last_line + 1, state.blkIndent, False).strip()[2:-2].strip()
    if not expression or opener in expression or closer in expression:
        return False
    if opener == r"\[" and not _looks_like_latex(expression):
        return False
    if not silent:
        token = state.push("math_block", "", 0)
        token.content = _latex(expression)
        state.line = last_line + 1
    return True


def _fence_line(state: StateBlock, line: int, end_line: int, fences: tuple[str, str]) -> int:
    """The next line of this paragraph with a fence, or `end_line`. As it stops at every fence it is not quadratic."""
    while line < end_line and not state.isEmpty(line) and state.sCount[line] >= state.blkIndent:
        text = _line(state, line)
        if fences[0] in text or fences[1] in text:
            return line
        line += 1
    return end_line


# --- text

_DOLLARS: Final = re.compile(r"(?:\$\$((?:\\.|[^\\$])++)\$\$|\$((?:\\.|[^\\$])++)\$(?![0-9A-Za-z]))(?!\$)", re.DOTALL)
_BRACKETS: Final = re.compile(r"\\\(((?:\\[^()]|[^\\])++)\\\)|\\\[((?:\\[^\[\]]|[^\\])++)\\\]", re.DOTALL)
_PRICE: Final = re.compile(r"[\d.,]*\d")
_LATEX_COMMANDS: Final = re.compile(r"\\[A-Za-z]+|\{[^{}]*\}")
_PLAIN_WORD: Final = re.compile(r"(?<![0-9A-Za-z])[A-Za-z]{2,}")
_LATEX_SIGNS: Final = re.compile(r"\\[A-Za-z]|[\^_=<>+]|^[A-Za-z]$|^\d+$")


def _math_inline(state: StateInline, silent: bool) -> bool:
    r"""`$…$`, `$$…$$` and the `\(…\)`, `\[…\]` that language models write, where they hold mathematics."""
    character = state.src[state.pos]
    if character == "$":
        match = _DOLLARS.match(state.src, state.pos, state.posMax)
        if match is None:
            return False
        before = state.src[state.pos - 1] if state.pos else " "
        if before == "$" or not (_is_display(match[1]) if match[1] else _is_maths(match[2], before=before)):
            return False
    elif character == "\\":
        match = _BRACKETS.match(state.src, state.pos, state.posMax)
        if match is None or not _looks_like_latex((match[1] or match[2]).strip()):
            return False
    else:
        return False
    content = _ESCAPED_END.sub(r"\1", (match[1] or match[2]).strip())
    if not content:
        return False
    if not silent:
        token = state.push("math_inline", "", 0)
        token.content = _BREAKS.sub(" ", _latex(content))
        token.markup = match[0]
    state.pos = match.end()
    return True


_ESCAPED_END: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\\Z")
"""What is left of an escaped blank at the end, when blanks are stripped: it would escape the end itself."""

_BREAKS: Final = re.compile(r"\s*\n\s*")
_ENTITIES: Final = {"&lt;": "<", "&gt;": ">", "&amp;": "&", "&quot;": '"'}
_ENTITY: Final = re.compile("|".join(_ENTITIES))


def _latex(expression: str) -> str:
    """An expression without HTML's entities, which some write for the characters that HTML needs itself."""
    return _ENTITY.sub(lambda entity: _ENTITIES[entity[0]], expression)


def _is_display(expression: str) -> bool:
    """Whether `$$…$$` within a line is mathematics: with spaces at its ends it may be slang for money."""
    return expression == expression.strip() or _looks_like_latex(expression.strip())


def _is_maths(expression: str, *, before: str) -> bool:
    """Whether `$…$` is mathematics and not the prose between two prices or shell variables."""
    return expression == expression.strip() and not _is_ascii_word(before) and not _is_price(expression)


def _is_ascii_word(character: str) -> bool:
    return character.isascii() and character.isalnum()


def _is_price(expression: str) -> bool:
    """Whether what stands between two dollar signs is an amount and prose: `$5 a month, or 50$`."""
    amount = _PRICE.match(expression)
    if amount is None:
        return False
    return _PLAIN_WORD.search(_LATEX_COMMANDS.sub(" ", expression[amount.end() :])) is not None


def _looks_like_latex(expression: str) -> bool:
    r"""Whether `\(` and `\[` open mathematics: in Markdown they are first of all brackets that shall be no link."""
    return _LATEX_SIGNS.search(expression) is not None


_FOOTNOTE: Final = re.compile(r"\[\^([^\]\s]{1,200})\]")


def _footnote_ref(state: StateInline, silent: bool) -> bool:
    """`[^label]`, if that footnote is defined."""
    if state.src[state.pos] != "[":
        return False
    match = _FOOTNOTE.match(state.src, state.pos, state.posMax)
    if match is None or ":" + match[1] not in state.env.get("footnotes", {}).get("refs", ()):
        return False
    if not silent:
        state.push("footnote_ref", "", 0).meta = {"label": match[1]}
    state.pos = match.end()
    return True


_ADDRESS_REST: Final = re.compile(
    r"://[A-Za-z0-9][A-Za-z0-9._-]*+(?::\d+)?+(?![@:])"
    r"(?:[/?#][^\s<>\"`\u3000-\u303f\uff00-\uff65]*+)?"  # not the punctuation of East Asian sentences
)


def _bare_address(state: StateInline, silent: bool) -> bool:
    """`https://…` without brackets. It is read before emphasis: an address may hold underscores and asterisks."""
    source, position = state.src, state.pos
    if source[position] != ":" or state.linkLevel > 0 or not source.startswith("://", position):
        return False
    scheme = next((s for s in ("https", "http") if source.startswith(s, max(position - len(s), 0))), "")
    start = position - len(scheme)
    if not scheme or start < 0 or (start > 0 and _is_ascii_word(source[start - 1])):
        return False
    match = _ADDRESS_REST.match(source, position, state.posMax)
    if match is None or silent or not state.pending.endswith(scheme):
        return False
    address = scheme + trimmed_address(match[0])
    state.pending = state.pending[: -len(scheme)]
    opening = state.push("link_open", "a", 1)
    opening.attrs = {"href": state.md.normalizeLink(address.replace("&amp;", "&"))}
    state.push("text", "", 0).content = address.replace("&amp;", "&")
    state.push("link_close", "a", -1)
    state.pos = start + len(address)
    return True


_TRAILING_ENTITY: Final = re.compile(r"&[A-Za-z0-9]+;\Z")


def trimmed_address(address: str) -> str:
    """A bare address without the punctuation of the sentence around it, by GFM's rules."""
    unopened = address.count(")") - address.count("(")
    end = len(address)
    while end:
        last = address[end - 1]
        if last == ")" and unopened > 0:
            unopened -= 1
        elif last == ";" and (entity := _TRAILING_ENTITY.search(address, max(end - 40, 0), end)):
            end = entity.start()
            continue
        elif last not in "?!.,:;*_~'\"[]`|":
            break
        end -= 1
    return address[:end]
