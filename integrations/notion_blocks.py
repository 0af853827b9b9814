"""Turns a document into Notion's JSON, cut so that every request stays within Notion's limits.

`to_notion` makes a tree in which each block is valid by itself; `batches` deals siblings out to requests that append
them to their parent. What a request carries of a block's children depends on the block alone, never on where a batch
was cut. So a page is written, and after a crash written on, by counting requests:

    async def write(parent, blocks):
        for batch in batches(blocks):
            for block, id in zip(batch.blocks, await append(parent, batch.children)):
                await write(id, block.later)

Whoever resumes finds out how many requests have made children of a parent, which gives the first n blocks, continues
with `blocks[n:]`, and does the same inside each existing block with `is_whole` false, whose `children` are counted
likewise, those that it carried as one request.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import accumulate, zip_longest
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any, Final, assert_never

from domain.document import (
    ADDRESS_UNITS,
    Block,
    Callout,
    Code,
    Divider,
    Document,
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
from integrations.notion_text import cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Json = dict[str, Any]  # Notion's blocks: nested objects whose shape depends on their type

TEXT_UNITS: Final = 2000
"""The longest content of one rich text item, in UTF-16 units."""

ARRAY_ITEMS: Final = 100
"""The most rich text items, children, rows or cells in one array."""

REQUEST_BLOCKS: Final = 1000
REQUEST_LEVELS: Final = 3
REQUEST_BYTES: Final = 450_000
"""Notion takes 500 KB; the rest is for the properties of the page that is created with its first blocks."""

_BLOCK_BYTES: Final = 400_000
"""The most that the text of one block may weigh, so that each fits into a request with all that surrounds it."""

_CAPTION_BYTES: Final = 20_000
_BYTES_PER_UNIT: Final = 6
"""At worst, as \\uXXXX. Sizes are those of JSON in ASCII, which no encoder makes longer, and never too small."""

_ITEM_FRAME_BYTES: Final = 300
"""What surrounds the content and the link of a rich text item, with all marks."""

_FEW_RUNS: Final = 20
"""So few that they fit into a block whatever their characters, if each fits into an item."""

_BLOCK_FRAME_BYTES: Final = 300
"""What surrounds the texts and attributes of a block."""


@dataclass(slots=True, kw_only=True)  # not frozen, which would make them take three times as long
class NotionBlock:
    """A valid block with all its children, and how many of them travel with it.

    Either all do, which needs the whole of them to fit into one request, or none; of a table the first rows, since
    Notion makes no table without any. `request_blocks` and `request_bytes` count what travels.

    The JSON is made when it is asked for: a page of a megabyte is some hundred thousand dicts, and to have them all
    at once would stop the program for the garbage collector's walks.
    """

    kind: str
    attributes: Json
    rich_text: RichText | None = None
    caption: RichText = ()
    cells: tuple[RichText, ...] = ()
    children: tuple[NotionBlock, ...] = ()
    carried: int = 0
    levels: int = 1
    request_blocks: int = 1
    request_bytes: int

    @property
    def is_whole(self) -> bool:
        """Whether one request makes this block with all that is inside it."""
        return self.carried == len(self.children)

    @property
    def later(self) -> tuple[NotionBlock, ...]:
        """The children to append once the block has an id."""
        return self.children[self.carried :]

    @property
    def payload(self) -> Json:
        """The JSON of the block without children."""
        return {"type": self.kind, self.kind: self._body()}

    @property
    def request(self) -> Json:
        """The JSON of the block with the children that travel along."""
        body = self._body()
        if self.carried:
            body["children"] = [child.request for child in self.children[: self.carried]]
        return {"type": self.kind, self.kind: body}

    def _body(self) -> Json:
        body = dict(self.attributes)
        if self.rich_text is not None:
            body["rich_text"] = list(map(_item, self.rich_text))
        if self.caption:
            body["caption"] = list(map(_item, self.caption))
        if self.cells:
            body["cells"] = [list(map(_item, cell)) for cell in self.cells]
        return body


@dataclass(frozen=True, slots=True)
class Batch:
    """The blocks of one request, first level only; Notion answers with their ids in the same order."""

    blocks: tuple[NotionBlock, ...]

    @property
    def children(self) -> list[Json]:
        """The `children` of the request."""
        return [block.request for block in self.blocks]


def to_notion(document: Document) -> list[NotionBlock]:
    """The blocks of a page: nothing is lost, and what is too long for one block goes on in the next."""
    return _siblings(document.blocks)


def batches(blocks: Iterable[NotionBlock]) -> Iterator[Batch]:
    """Siblings, in order, dealt out to as few requests as hold them."""
    batch: list[NotionBlock] = []
    count = size_bytes = 0
    for block in blocks:
        count += block.request_blocks
        size_bytes += block.request_bytes
        if batch and (len(batch) == ARRAY_ITEMS or count > REQUEST_BLOCKS or size_bytes > REQUEST_BYTES):
            yield Batch(tuple(batch))
            batch, count, size_bytes = [], block.request_blocks, block.request_bytes
        batch.append(block)
    if batch:
        yield Batch(tuple(batch))


def count_blocks(blocks: Iterable[NotionBlock]) -> int:
    """How many blocks a page gets, on every level."""
    return sum(1 + count_blocks(block.children) for block in blocks)


def count_requests(blocks: Sequence[NotionBlock]) -> int:
    """How many requests write these siblings and all that is inside them."""
    return sum(1 for _ in batches(blocks)) + sum(count_requests(block.later) for block in blocks if block.later)


# --- from document to blocks


def _siblings(blocks: Iterable[Block]) -> list[NotionBlock]:
    return [node for block in blocks for node in _nodes(block)]


def _nodes(block: Block) -> list[NotionBlock]:
    """The blocks that show one block of a document: one, unless it is too long."""
    match block:
        case Prose(kind, text, children):
            return _text_nodes(kind.value, {}, text, children)
        case ToDo(text, checked=checked, children=children):
            return _text_nodes("to_do", {"checked": checked}, text, children)
        case Callout(text, icon=icon, color=color, children=children):
            emoji = {"type": "emoji", "emoji": icon}
            return _text_nodes("callout", {"icon": emoji, "color": color}, text, children)
        case Code(content, language, caption):
            return _code_nodes(content, language, caption)
        case Equation(expression):
            return [_node("equation", {"expression": expression})]
        case Table(rows):
            return [_table_node(rows)]
        case Image(url, caption):
            first, *rest = _arrays(caption, max_bytes=_CAPTION_BYTES)
            image = {"type": "external", "external": {"url": url}}
            return [_node("image", image, caption=first), *_paragraphs(rest)]
        case Divider():
            return [_node("divider", {})]
        case other:
            assert_never(other)


def _text_nodes(kind: str, attributes: Json, text: RichText, children: tuple[Block, ...]) -> list[NotionBlock]:
    """A block of text. What does not fit goes on in siblings, or inside it, where a sibling would get a new mark."""
    if not children and _is_short(text):
        return [_node(kind, attributes, text)]
    first, *rest = _arrays(text, max_bytes=_BLOCK_BYTES)
    is_heading = kind.startswith("heading_")
    if not children and (is_heading or kind == ProseKind.PARAGRAPH):
        return [_node(kind, attributes, part) for part in (first, *rest)]
    if is_heading:
        attributes = {**attributes, "is_toggleable": True}
    return [_node(kind, attributes, first, children=_paragraphs(rest) + _siblings(children))]


def _is_short(text: RichText) -> bool:
    """Whether a text is clearly within all limits, as most are."""
    return len(text) <= _FEW_RUNS and all(
        isinstance(run, Text) and 0 < len(run.content) <= TEXT_UNITS // 2 for run in text
    )


def _paragraphs(texts: Iterable[RichText]) -> list[NotionBlock]:
    return [_node("paragraph", {}, text) for text in texts]


def _code_nodes(content: str, language: str, caption: RichText) -> list[NotionBlock]:
    """A block of code in as many parts as it takes; what is said about it stands below the last."""
    first, *rest = _arrays(caption, max_bytes=_CAPTION_BYTES)
    *parts, last = _code(content)
    nodes = [_node("code", {"language": language}, part) for part in parts]
    return [*nodes, _node("code", {"language": language}, last, caption=first), *_paragraphs(rest)]


def _table_node(rows: Sequence[tuple[RichText, ...]]) -> NotionBlock:
    attributes = {"table_width": len(rows[0]), "has_column_header": True, "has_row_header": False}
    return _node("table", attributes, children=[node for row in rows for node in _row_nodes(row)])


def _row_nodes(row: tuple[RichText, ...]) -> list[NotionBlock]:
    """A row of a table; a cell that is too long goes on in the cell below."""
    cells = [_arrays(text, max_bytes=_BLOCK_BYTES // len(row)) for text in row]
    return [_node("table_row", {}, cells=parts) for parts in zip_longest(*cells, fillvalue=())]


def _node(
    kind: str,
    attributes: Json,
    rich_text: RichText | None = None,
    *,
    caption: RichText = (),
    cells: tuple[RichText, ...] = (),
    children: Sequence[NotionBlock] = (),
) -> NotionBlock:
    """A block, and of its children those that can travel with it."""
    own_bytes = _BLOCK_FRAME_BYTES + len(", []") * len(cells)
    if attributes:
        own_bytes += len(json.dumps(attributes))
    if rich_text:
        own_bytes += sum(map(_run_bytes, rich_text))
    for text in (caption, *cells):
        own_bytes += sum(map(_run_bytes, text))
    leaf = NotionBlock(
        kind=kind,
        attributes=attributes,
        rich_text=rich_text,
        caption=caption,
        cells=cells,
        children=tuple(children),
        request_bytes=own_bytes,
    )
    if not children:
        return leaf
    carried = _first_rows(children, own_bytes) if kind == "table" else len(children)
    some = children[:carried]
    block = replace(
        leaf,
        carried=carried,
        levels=1 + max(child.levels for child in some),
        request_blocks=1 + sum(child.request_blocks for child in some),
        request_bytes=own_bytes + sum(child.request_bytes for child in some),
    )
    fits = (
        carried <= ARRAY_ITEMS
        and all(child.is_whole for child in some)
        and block.levels <= REQUEST_LEVELS
        and block.request_blocks <= REQUEST_BLOCKS
        and block.request_bytes <= REQUEST_BYTES
    )
    return block if fits else leaf


def _first_rows(rows: Sequence[NotionBlock], table_bytes: int) -> int:
    """How many rows a table brings along: at least one, since no row weighs more than `_BLOCK_BYTES`."""
    sizes = accumulate((row.request_bytes for row in rows[:ARRAY_ITEMS]), initial=table_bytes)
    return sum(size <= REQUEST_BYTES for size in sizes) - 1


# --- rich text


def _item(run: Run) -> Json:
    """One rich text item."""
    look = {"annotations": _annotations(run.marks)} if run.marks else {}
    if isinstance(run, InlineEquation):
        return {"type": "equation", "equation": {"expression": run.expression}, **look}
    link = {"link": {"url": run.link}} if run.link else {}
    return {"type": "text", "text": {"content": run.content, **link}, **look}


def _annotations(marks: frozenset[Mark]) -> Json:
    annotations: Json = {mark.value: True for mark in sorted(marks) if mark is not Mark.HIGHLIGHT}
    if Mark.HIGHLIGHT in marks:
        annotations["color"] = "yellow_background"
    return annotations


def _run_bytes(run: Run) -> int:
    """At most how many bytes the item of a run is."""
    frame_bytes = 60 + (30 * len(run.marks) + 20 if run.marks else 0)
    if isinstance(run, InlineEquation):
        return frame_bytes + len(encode_basestring_ascii(run.expression))
    link_bytes = 30 + len(run.link) if run.link else 0
    return frame_bytes + link_bytes + len(encode_basestring_ascii(run.content))


def _runs(text: RichText, *, max_bytes: int) -> Iterator[Run]:
    """The runs of a text, cut so that each makes an item of at most `TEXT_UNITS` and `max_bytes`."""
    units = min(TEXT_UNITS, (max_bytes - _ITEM_FRAME_BYTES - ADDRESS_UNITS) // _BYTES_PER_UNIT)
    for run in text:
        if isinstance(run, Text):
            if 0 < len(run.content) <= units and run.content.isascii():
                yield run
            else:
                yield from (Text(part, run.marks, run.link) for part in cut(run.content, units))
        elif _run_bytes(run) <= max_bytes:
            yield run
        else:  # one of up to a hundred such cells in a row, which together would be too much for a request
            yield from (Text(part, frozenset({Mark.CODE})) for part in cut(f"${run.expression}$", units))


def _arrays(text: RichText, *, max_bytes: int) -> list[RichText]:
    """A text dealt out to arrays within the limits, if possible between words; one array, if it is empty."""
    arrays: list[RichText] = []
    array: list[Run] = []
    size_bytes = 0
    for run in _runs(text, max_bytes=max_bytes):
        run_bytes = _run_bytes(run)
        while array and (len(array) == ARRAY_ITEMS or size_bytes + run_bytes > max_bytes):
            end = _end_of_word([*array, run])
            arrays.append(tuple(array[:end]))
            array = array[end:]
            size_bytes = sum(map(_run_bytes, array))
        array.append(run)
        size_bytes += run_bytes
    last = tuple(array)
    return [*arrays, text if last == text else last]


def _end_of_word(runs: list[Run]) -> int:
    """Before which of the last runs a new word begins; the last, if that is not to be seen."""
    for position in range(len(runs) - 1, len(runs) // 2, -1):
        before, after = (run.content if isinstance(run, Text) else "" for run in runs[position - 1 : position + 1])
        if before[-1:].isspace() or after[:1].isspace():
            return position
    return len(runs) - 1


def _code(content: str) -> list[RichText]:
    """The texts of the blocks that show one piece of code; if it takes several, each ends with a line."""
    texts: list[RichText] = []
    start = 0
    while True:
        first, *more = _arrays((Text(content[start:]),), max_bytes=_BLOCK_BYTES)
        if not more:
            return [*texts, first]
        end = start + sum(len(run.content) for run in first if isinstance(run, Text))
        last_line_end = content.rfind("\n", start, end)
        if last_line_end > start:
            first = _arrays((Text(content[start:last_line_end]),), max_bytes=_BLOCK_BYTES)[0]
            end = last_line_end + 1  # the line break itself is the one between the blocks
        texts.append(first)
        start = end
