"""The blocks of a page whose text in Notion is taken for ours, as a base that a later update is compared with.

Each is recorded with what the Markdown of it says, which is not always what Notion shows: a bookmark is read as a
paragraph with a link, columns as what stands in them. So what nobody changes in the Markdown is no difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from domain.notion_base import SyncedBlock
from domain.text import storable
from integrations.markdown_writer import write
from integrations.notion_blocks import to_notion
from integrations.notion_hashes import said_hash, shown_hash
from integrations.notion_reader import read_document

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from domain.notion import DocumentParser
    from integrations.notion_blocks import Json, NotionBlock

_TOGETHER: Final = "="
"""Begins what a block says together with all that is inside it, where that cannot be told apart."""


def key_of(own: str, inside: Iterable[str]) -> str:
    """What stands for a block with everything inside: equal only if all of it is.

    Several keys with spaces between them are those of blocks side by side, and nothing says nothing.
    """
    keys = ",".join(filter(None, inside)).replace(" ", ",")
    own = own.removeprefix(_TOGETHER)
    return f"{own}({keys})" if keys else own


def is_told_apart(own: str) -> bool:
    """Whether a block says something of its own, apart from what is inside it."""
    return own != "" and not own.startswith(_TOGETHER)


def taken(blocks: Iterable[Json], parse: DocumentParser) -> tuple[SyncedBlock, ...]:
    """A page's blocks, the children of each under its key `children`, as ours; CPU-bound.

    `parse` as the text of the page will be read.
    """
    return tuple(_taken(block, _said(block, parse), parse) for block in blocks)


def _said(block: Json, parse: DocumentParser) -> Sequence[NotionBlock]:
    """What a block would be written as once it was read."""
    return to_notion(parse(storable(write(read_document([block])))))


def _taken(block: Json, said: Sequence[NotionBlock], parse: DocumentParser) -> SyncedBlock:
    block_id, shown = str(block["id"]), shown_hash(block)
    inside: list[Json] = block.get("children") or []
    if not said:
        return SyncedBlock(block_id, "", shown, _wordless(inside))
    if len(said) == 1 and (children := _apart(block, said[0], parse)) is not None:
        return SyncedBlock(block_id, said_hash(said[0]), shown, children)
    return SyncedBlock(block_id, _TOGETHER + " ".join(map(_key, said)), shown, _wordless(inside))


def _apart(block: Json, said: NotionBlock, parse: DocumentParser) -> tuple[SyncedBlock, ...] | None:
    """What is inside a block one by one; None where it does not say what is inside the block that was read."""
    inside: list[Json] = block.get("children") or []
    if said.kind == "table":
        # A row alone says nothing.
        if len(inside) != len(said.children):
            return None
        return tuple(_taken(row, [cells], parse) for row, cells in zip(inside, said.children, strict=True))
    each_said = [_said(each, parse) for each in inside]
    if [_key(one) for some in each_said for one in some] != [_key(one) for one in said.children]:
        return None
    return tuple(_taken(each, some, parse) for each, some in zip(inside, each_said, strict=True))


def _wordless(blocks: Iterable[Json]) -> tuple[SyncedBlock, ...]:
    """Blocks for which the one around them speaks."""
    return tuple(
        SyncedBlock(str(block["id"]), "", shown_hash(block), _wordless(block.get("children") or ())) for block in blocks
    )


def _key(said: NotionBlock) -> str:
    return key_of(said_hash(said), map(_key, said.children))
