"""Builds the tree of a document from blocks that open and close, whoever opens them: Markdown or HTML."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, assert_never

from domain.document import (
    TABLE_COLUMNS,
    Block,
    Callout,
    Code,
    Divider,
    Equation,
    Image,
    InlineEquation,
    Mark,
    Prose,
    ProseKind,
    RichText,
    Run,
    Table,
    Text,
    ToDo,
)
from integrations.markdown_block_rules import DEEPEST_BLOCK
from integrations.markdown_inline import joined, trimmed
from integrations.markdown_losses import Loss, Losses

if TYPE_CHECKING:
    from collections.abc import Iterable

    from integrations.markdown_inline import Piece


class Role(Enum):
    """What an open block will be when it closes."""

    ROOT = auto()
    LIST = auto()
    ITEM = auto()
    QUOTE = auto()
    CALLOUT = auto()
    TOGGLE = auto()
    SUMMARY = auto()
    TABLE = auto()
    ROW = auto()
    CELL = auto()


_OWN_TEXT: Final = frozenset({Role.ITEM, Role.QUOTE, Role.CALLOUT})
"""Blocks whose first paragraph is their text."""

_HOLDS_ONLY_PARTS: Final = (Role.LIST, Role.TABLE, Role.ROW)

_HEADINGS: Final = (ProseKind.HEADING_1, ProseKind.HEADING_2, ProseKind.HEADING_3, ProseKind.HEADING_4)

_DEEPEST: Final = DEEPEST_BLOCK
"""Open blocks at a time, as for Markdown; HTML that opens more opens nothing."""


@dataclass(slots=True)
class _Open:
    """A block that is still open. Which of the fields say something depends on its role."""

    role: Role
    by_html: bool = False
    text: RichText | None = None
    children: list[Block] = field(default_factory=list)
    numbered: int = 0  # how many numbered items the children end with: Notion counts them
    number: int | None = None  # of the next item of a list, or of this item
    delimiter: str = "."
    checked: bool | None = None  # of a task
    title: str = ""  # of a callout
    icon: str = ""
    color: str = ""

    def add(self, block: Block) -> None:
        is_numbered = isinstance(block, Prose) and block.kind is ProseKind.NUMBERED_LIST_ITEM
        self.numbered = self.numbered + 1 if is_numbered else 0
        self.children.append(block)


@dataclass(slots=True)
class _OpenRow(_Open):
    cells: list[RichText] = field(default_factory=list)


@dataclass(slots=True)
class _OpenTable(_Open):
    rows: list[list[RichText]] = field(default_factory=list)


class Tree:
    """The document so far: what is complete, and the blocks that are open, outermost first."""

    def __init__(self, losses: Losses) -> None:
        self._losses = losses
        self._open = [_Open(Role.ROOT)]

    # --- what is added

    def add(self, block: Block) -> None:
        """Adds a complete block to the innermost open one that holds blocks."""
        self._holder().add(block)

    def paragraph(self, pieces: Iterable[Piece]) -> None:
        """Adds the text of a paragraph; an image in it stands between its parts."""
        for piece in pieces:
            holder = self._holder()
            if isinstance(piece, Image):
                holder.add(piece)
            elif holder.role in _OWN_TEXT and not holder.children and holder.text is None:
                holder.text = piece
            else:
                holder.add(Prose(ProseKind.PARAGRAPH, piece))

    def item(self, pieces: list[Piece], *, checked: bool | None) -> None:
        """Adds an item of the innermost list that is no more than a paragraph."""
        if len(pieces) != 1 or isinstance(pieces[0], Image):
            self.open_item(checked=checked)
            self.paragraph(pieces)
            self.close(Role.ITEM)
            return
        around, holder = self._open[-1], self._holder()
        if around.number is None and checked is None:
            holder.add(Prose(ProseKind.BULLETED_LIST_ITEM, pieces[0]))
            return
        item = _Open(Role.ITEM, text=pieces[0], number=around.number, delimiter=around.delimiter, checked=checked)
        if around.number is not None:
            around.number += 1
        holder.add(self._item(item, (), natural_number=holder.numbered + 1))

    def heading(self, level: int, pieces: Iterable[Piece]) -> None:
        """Adds a heading; images in it follow it."""
        if level > 4:
            self._losses[Loss.HEADING_LEVEL] = None
        images = []
        text: list[Run] = []
        for piece in pieces:
            if isinstance(piece, Image):
                images.append(piece)
            else:
                text.extend([Text(" "), *piece] if text else piece)
        if text:
            self.add(Prose(_HEADINGS[min(level, 4) - 1], trimmed(text)))
        for image in images:
            self.add(image)

    # --- what opens and closes

    def open(self, role: Role) -> None:
        """Opens a block of Markdown."""
        self._open.append(_Open(role))

    def open_list(self, *, start: int | None, delimiter: str = ".", by_html: bool = False) -> None:
        """Opens a list, numbered from `start`, or bulleted if that is None."""
        self._push(_Open(Role.LIST, by_html, number=start, delimiter=delimiter))

    def open_item(self, *, checked: bool | None = None, by_html: bool = False) -> None:
        """Opens an item of the innermost list, a task if it is `checked` or not."""
        item = _Open(Role.ITEM, by_html, checked=checked)
        around = self._open[-1]
        if around.role is Role.LIST and around.number is not None:
            item.number, item.delimiter = around.number, around.delimiter
            around.number += 1
        self._push(item)

    def open_callout(self, *, title: str, icon: str, color: str) -> None:
        """Opens a callout under a title."""
        self._open.append(_Open(Role.CALLOUT, title=title, icon=icon, color=color))

    def open_html(self, role: Role) -> None:
        """Opens a block of HTML, unless too many are open. A cell outside a row opens the row as well."""
        if role is Role.TABLE:
            self._push(_OpenTable(role, by_html=True))
        elif role is Role.ROW:
            self._push(_OpenRow(role, by_html=True))
        else:
            if role is Role.CELL and self._open[-1].role is Role.TABLE:
                self._push(_OpenRow(Role.ROW, by_html=True))
            self._push(_Open(role, by_html=True))

    def close(self, role: Role) -> None:
        """Closes the innermost block of Markdown, and before it what HTML left open inside."""
        while self._open[-1].by_html:
            self._close_last()
        if self._open[-1].role is not role:
            raise AssertionError(f"{role} closes, but {self._open[-1].role} is open")
        self._close_last()

    def close_html(self, role: Role, *, within: Role | None = None) -> None:
        """Closes a block that HTML opened; nothing, if it would have to leave a block of Markdown or `within`."""
        for depth, block in enumerate(reversed(self._open), start=1):
            if not block.by_html or block.role is within:
                return
            if block.role is role:
                for _ in range(depth):
                    self._close_last()
                return

    def close_all(self) -> None:
        """Closes whatever is open."""
        while len(self._open) > 1:
            self._close_last()

    def finish(self) -> tuple[Block, ...]:
        """Closes everything; the blocks of the document."""
        self.close_all()
        return tuple(self._open[0].children)

    def table(self, rows: list[list[RichText]]) -> None:
        """Adds a table; short rows are filled up, and what a page has no column for joins the last one."""
        width = min(max(map(len, rows), default=0), TABLE_COLUMNS)
        if width == 0:
            return
        if any(len(row) > width for row in rows):
            self._losses[Loss.TABLE_WIDTH] = None
        filled = (
            (*row[: width - 1], _joined(row[width - 1 :], " | "))
            if len(row) >= width
            else (*row, *[()] * (width - len(row)))
            for row in rows
        )
        self.add(Table(tuple(filled)))

    def line(self, pieces: Iterable[Piece]) -> RichText:
        """The text of a cell or a summary, where no image can stand."""
        return _joined([self._inline(piece) for piece in pieces], " ")

    # --- the blocks that result

    def _holder(self) -> _Open:
        """The innermost open block that holds blocks: a list, a table and a row hold only their own parts."""
        for block in reversed(self._open):
            if block.role not in _HOLDS_ONLY_PARTS:
                return block
        raise AssertionError("the root holds blocks")

    def _push(self, block: _Open) -> None:
        if len(self._open) < _DEEPEST or not block.by_html:
            self._open.append(block)

    def _close_last(self) -> None:
        block = self._open.pop()
        children = tuple(block.children)
        around = self._open[-1]
        match block.role:
            case Role.LIST:
                pass
            case Role.ITEM:
                holder = self._holder()
                holder.add(self._item(block, children, natural_number=holder.numbered + 1))
            case Role.QUOTE:
                self.add(Prose(ProseKind.QUOTE, block.text or (), children))
            case Role.CALLOUT:
                title = (Text(block.title, frozenset({Mark.BOLD})),)
                text = _joined([title, block.text], "\n") if block.text else title
                self.add(Callout(text, icon=block.icon, color=block.color, children=children))
            case Role.TOGGLE:
                self.add(Prose(ProseKind.TOGGLE, block.text or (Text("Details"),), children))
            case Role.SUMMARY | Role.CELL:
                self._close_line(block.role, trimmed(self._lines(children)), around)
            case Role.ROW | Role.TABLE:
                self._close_table_part(block, around)
            case Role.ROOT:
                raise AssertionError("the root closes last")
            case other:
                assert_never(other)

    def _close_line(self, role: Role, text: RichText, around: _Open) -> None:
        """Gives a summary or cell its place; out of place, it is a paragraph."""
        if role is Role.SUMMARY and around.role is Role.TOGGLE and around.text is None:
            around.text = text
        elif role is Role.CELL and isinstance(around, _OpenRow):
            around.cells.append(text)
        elif text:
            self.paragraph([text])

    def _close_table_part(self, block: _Open, around: _Open) -> None:
        if isinstance(block, _OpenTable):
            self.table(block.rows)
        elif isinstance(block, _OpenRow) and isinstance(around, _OpenTable):
            around.rows.append(block.cells)
        elif isinstance(block, _OpenRow):
            self.table([block.cells])

    def _item(self, block: _Open, children: tuple[Block, ...], *, natural_number: int) -> Block:
        text = block.text or ()
        numbered = text
        if block.number is not None:
            numbered = _joined([(Text(f"{block.number}{block.delimiter}" + " " * bool(text)),), text], "")
        if block.checked is not None:
            if block.number is not None:
                self._losses[Loss.TASK_NUMBER] = None
            return ToDo(numbered, checked=block.checked, children=children)
        if block.number is None:
            return Prose(ProseKind.BULLETED_LIST_ITEM, text, children)
        if block.number == natural_number:
            return Prose(ProseKind.NUMBERED_LIST_ITEM, text, children)
        self._losses[Loss.LIST_NUMBER] = None
        return Prose(ProseKind.PARAGRAPH, numbered, children)

    # --- blocks as text, where blocks cannot stand

    def _lines(self, blocks: tuple[Block, ...]) -> RichText:
        if len(blocks) > 1:
            self._losses[Loss.TABLE_CELL] = None
        return _joined([self._block_lines(block) for block in blocks], "\n")

    def _block_lines(self, block: Block) -> RichText:
        match block:
            case Prose() | ToDo() | Callout():
                return _joined(
                    [_joined([_marker(block), block.text], ""), *map(self._block_lines, block.children)], "\n"
                )
            case Code():
                return _joined([(Text(block.content, frozenset({Mark.CODE})),), block.caption], " ")
            case Equation():
                return (InlineEquation(block.expression),)
            case Table():
                return _joined([_joined(row, " | ") for row in block.rows], "\n")
            case Image():
                return self._inline(block)
            case Divider():
                return (Text("———"),)
            case other:
                assert_never(other)

    def _inline(self, piece: Piece) -> RichText:
        if not isinstance(piece, Image):
            return piece
        self._losses[Loss.IMAGE_PLACE] = None
        description = "".join(run.content for run in piece.caption if isinstance(run, Text))
        return (Text(description or piece.url, frozenset(), piece.url),)


def _marker(block: Prose | ToDo | Callout) -> RichText:
    match block:
        case ToDo():
            return (Text("☑ " if block.checked else "☐ "),)
        case Callout():
            return (Text(block.icon + " "),)
        case Prose(kind=ProseKind.BULLETED_LIST_ITEM | ProseKind.NUMBERED_LIST_ITEM):
            return (Text("• "),)
        case _:
            return ()


def _joined(texts: Iterable[RichText], separator: str) -> RichText:
    runs: list[Run] = []
    for text in texts:
        if text and runs and separator:
            runs.append(Text(separator))
        runs.extend(text)
    return tuple(joined(runs))
