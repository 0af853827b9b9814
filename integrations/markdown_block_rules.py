"""The block rules that most of a long answer goes through, in a shorter way than markdown-it's own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from markdown_it.common.utils import mdTrim
from markdown_it.rules_block.table import table as is_table
from markdown_it.token import Token

if TYPE_CHECKING:
    from markdown_it.rules_block import StateBlock

DEEPEST_BLOCK: Final = 40
"""Levels of quotes and lists (a list is two) before the rest is shown as written."""

MOST_BLOCKS: Final = 100_000
"""Tokens and rows of tables before the rest is shown as written. At Notion's pace such a page takes an hour to write;
a long answer has a few thousand, and what has more is bounded in its time and memory by this."""

_ROWS: Final = "table_rows"
"""Under which markdown-it's store keeps how many rows the tables so far have."""

LINE_STARTS: Final = {
    "footnote_def": "[",
    "math_block": "$\\",
    "fence": "`~",
    "blockquote": ">",
    "hr": "*-_",
    "list": "*+-0123456789",
    "reference": "[",
    "html_block": "<",
    "heading": "#",
}
"""The first characters of the lines to which a rule can apply. The other rules are asked without a look at them."""

STARTS: Final = frozenset("".join(LINE_STARTS.values()))
DELIMITER_ROW_STARTS: Final = frozenset("|-:")
_NOTABLE_STARTS: Final = STARTS | DELIMITER_ROW_STARTS | {"="}
_NOTHING: Final[dict[Any, Any]] = {}  # what is known of a token depends on its rule


class Leaf(Token):
    """A token with no more than what is read of it: a long answer has a hundred thousand."""

    __slots__ = ()

    # Not the dataclass's own: setting all its fields takes longer than all else that is done for a line.
    def __init__(self, kind: str, *, level: int, content: str = "", meta: dict[Any, Any] = _NOTHING) -> None:
        self.type = kind
        self.level = level
        self.content = content
        self.meta = meta


def room(state: StateBlock) -> int:
    """How many more blocks are read, all rows of tables counted."""
    return MOST_BLOCKS - len(state.tokens) - int(state.env.get(_ROWS, 0))


def count_rows(state: StateBlock, rows: int) -> None:
    """Counts the rows of a table, which is one token."""
    state.env[_ROWS] = state.env.get(_ROWS, 0) + rows


def too_many(state: StateBlock, start_line: int, end_line: int) -> None:
    """Shows as written what follows when there is no more room; a block that is still open is closed before."""
    if state.level == 0:
        _as_written(state, "too_many", start_line, end_line)


def too_deep(state: StateBlock, start_line: int, end_line: int) -> None:
    """Shows as written what is nested deeper than `DEEPEST_BLOCK`; the library would drop it."""
    line = start_line + 1
    while line < end_line and (state.isEmpty(line) or not 0 <= state.sCount[line] < state.blkIndent):
        line += 1
    _as_written(state, "too_deep", start_line, line)


def _as_written(state: StateBlock, kind: str, start_line: int, end_line: int) -> None:
    content = state.getLines(start_line, end_line, state.blkIndent, False)
    state.tokens.append(Leaf(kind, level=state.level, content=content))
    state.line = end_line


def paragraph(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """A paragraph, or a heading with a line below it, as one token: they are most of all tokens."""
    begins, shifts, ends, columns, source = state.bMarks, state.tShift, state.eMarks, state.sCount, state.src
    (is_end,) = state.md.block.ruler.getRules("paragraph")
    parent_type, state.parentType = state.parentType, "paragraph"
    indent = state.blkIndent
    heading = ""
    line = start_line + 1
    while line < state.lineMax:
        position = begins[line] + shifts[line]
        if position >= ends[line]:
            break
        if source[position] in _NOTABLE_STARTS and 0 <= columns[line] <= indent + 3:
            if line - 1 > start_line and _heads_table(state, line - 1):
                line -= 1
                break
            if columns[line] >= indent and line < end_line and _is_underline(source[position : ends[line]]):
                heading = "h1" if source[position] == "=" else "h2"
                break
            if is_end(state, line, state.lineMax, True):
                break
        line += 1
    state.parentType = parent_type
    state.line = line + 1 if heading else line
    content = _lines(state, start_line, line)
    if heading:
        _add_heading(state, heading, content)
    else:
        state.tokens.append(Leaf("paragraph", level=state.level, content=content))
    return True


def _heads_table(state: StateBlock, line: int) -> bool:
    """Whether a line of a paragraph ends it by beginning a table; it shows only at the row below."""
    return 0 <= state.sCount[line] <= state.blkIndent + 3 and is_table(state, line, state.lineMax, silent=True)


def _is_underline(text: str) -> bool:
    return text[0] in "-=" and not text.rstrip(" \t").strip(text[0])


def _lines(state: StateBlock, start_line: int, end_line: int) -> str:
    if state.level == 0:  # nothing stands before the lines
        return mdTrim(state.src[state.bMarks[start_line] : state.eMarks[end_line - 1]])
    return mdTrim(state.getLines(start_line, end_line, state.blkIndent, False))


def heading(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """A heading after one to six number signs, as one token."""
    if state.is_code_block(start_line):
        return False
    text = state.src[state.bMarks[start_line] + state.tShift[start_line] : state.eMarks[start_line]]
    rest = text.lstrip("#")
    level = len(text) - len(rest)
    if not 1 <= level <= 6 or (rest and rest[0] not in " \t"):
        return False
    if not silent:
        rest = rest.rstrip(" \t")
        title = rest.rstrip("#")
        _add_heading(state, f"h{level}", mdTrim(title if title and title[-1] in " \t" else rest))
        state.line = start_line + 1
    return True


def _add_heading(state: StateBlock, tag: str, content: str) -> None:
    token = Leaf("heading", level=state.level, content=content)
    token.tag = tag
    state.tokens.append(token)


_RULE: Final = re.compile(r"([-*_])(?:[ \t]*\1){2,}[ \t]*\Z")


def rule(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """A line across the page."""
    start = state.bMarks[start_line] + state.tShift[start_line]
    if state.is_code_block(start_line) or not _RULE.match(state.src, start, state.eMarks[start_line]):
        return False
    if not silent:
        state.line = start_line + 1
        state.tokens.append(Leaf("hr", level=state.level))
    return True


_MARKER: Final = re.compile(r"(?:[-+*]|([0-9]{1,9})[.)])(?=[ \t]|\Z)")
_TASK: Final = re.compile(r"\[([ xX])\][ \t]")


def list_block(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """A list, by the library's rule, but that an item of one line is one token, and none is tight or loose."""
    columns = state.sCount
    if state.is_code_block(start_line) or (
        state.listIndent >= 0 and columns[start_line] - state.listIndent >= 4 and columns[start_line] < state.blkIndent
    ):
        return False
    marker = _marker(state, start_line)
    if marker is None:
        return False
    if silent:
        # In the middle of a paragraph only an item with a text, and only the first number, begins a list.
        is_within_paragraph = state.parentType == "paragraph" and columns[start_line] >= state.blkIndent
        return not is_within_paragraph or (
            (marker[1] is None or int(marker[1]) == 1) and state.skipSpaces(marker.end()) < state.eMarks[start_line]
        )
    opening = Leaf("list_open", level=state.level, meta={"start": marker[1] and int(marker[1])})
    opening.markup = sign = marker[0][-1]
    state.tokens.append(opening)
    state.level += 1
    parent_type, state.parentType = state.parentType, "list"
    (is_end,) = state.md.block.ruler.getRules("list")
    line = start_line
    while marker is not None and marker[0][-1] == sign:
        line = state.line = _item(state, line, end_line, after_marker=marker.end())
        if (
            line >= end_line
            or columns[line] < state.blkIndent
            or state.is_code_block(line)
            or is_end(state, line, end_line, True)
            or room(state) <= 0
        ):
            break
        marker = _marker(state, line)
    state.level -= 1
    state.tokens.append(Leaf("list_close", level=state.level))
    state.parentType = parent_type
    return True


def _marker(state: StateBlock, line: int) -> re.Match[str] | None:
    return _MARKER.match(state.src, state.bMarks[line] + state.tShift[line], state.eMarks[line])


def _item(state: StateBlock, line: int, end_line: int, *, after_marker: int) -> int:
    """Adds an item that begins on a line, and all that is in it. The line behind."""
    source, end = state.src, state.eMarks[line]
    first_column = column = state.sCount[line] + after_marker - state.bMarks[line] - state.tShift[line]
    position = after_marker
    while position < end and (character := source[position]) in " \t":
        column += 1 if character == " " else 4 - (column + state.bsCount[line]) % 4
        position += 1
    blanks = column - first_column
    # The rest of more than four blanks is those of indented code.
    indent = first_column + (1 if position >= end or blanks > 4 else blanks)
    meta = _NOTHING
    is_code = column - indent >= 4
    content_start = position
    if not is_code and (task := _TASK.match(source, position, end)):
        meta = {"checked": task[1] != " "}
        content_start = task.end()
    if not is_code and content_start < end and state.level + 1 < DEEPEST_BLOCK:
        first = source[content_start]
        if first not in STARTS and first not in " \t" and (behind := _line_behind(state, line, end_line, indent)):
            state.tokens.append(Leaf("item", level=state.level, content=mdTrim(source[content_start:end]), meta=meta))
            return behind
    state.tokens.append(Leaf("list_item_open", level=state.level, meta=meta))
    state.level += 1
    _item_content(state, line, end_line, position=position, content_start=content_start, column=column, indent=indent)
    state.level -= 1
    state.tokens.append(Leaf("list_item_close", level=state.level))
    return state.line


def _line_behind(state: StateBlock, line: int, end_line: int, indent: int) -> int | None:
    """The line behind an item, if the one line is all of it; None if more may belong to it."""
    line += 1
    if line >= end_line:
        return line
    column = state.sCount[line]
    if not state.isEmpty(line):
        is_next = 0 <= column < indent and column - state.blkIndent < 4 and _marker(state, line)
        return line if is_next else None
    line += 1
    if line < end_line:
        line = state.skipEmptyLines(line)
    return line if line >= end_line or state.sCount[line] < indent else None


def _item_content(
    state: StateBlock, line: int, end_line: int, *, position: int, content_start: int, column: int, indent: int
) -> None:
    """Reads what is in an item as if its marker, and the box of a task, were blanks."""
    begins, shifts, columns = state.bMarks, state.tShift, state.sCount
    former = begins[line], shifts[line], columns[line], state.listIndent
    state.listIndent, state.blkIndent = state.blkIndent, indent
    if content_start != position:
        begins[line] = content_start
    shifts[line] = content_start - begins[line]
    columns[line] = column
    if position >= state.eMarks[line] and state.isEmpty(line + 1):
        state.line = min(line + 2, end_line)  # an item that begins with a blank line is empty
    else:
        state.md.block.tokenize(state, line, end_line)
    state.blkIndent = state.listIndent
    begins[line], shifts[line], columns[line], state.listIndent = former
