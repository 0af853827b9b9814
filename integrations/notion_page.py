"""What a page in Notion says: its blocks with all that is inside them, as Markdown, and a hash to compare it by.

The hash is of the Markdown after what Notion is known to write in its own way was made alike: how it spells the
address of a link. Runs of text that look alike, empty ends of lines and the expiring part of the addresses of files are
made alike by the reading itself.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

from domain.document import Block, Callout, Code, Document, Image, Prose, RichText, Run, Table, Text, ToDo
from domain.errors import NotionFailed, NotionFailureReason
from domain.notion_base import SyncedBlock
from domain.page_sync import PageContent
from domain.text import storable
from integrations.markdown import parse
from integrations.markdown_writer import write
from integrations.notion_answers import reading
from integrations.notion_blocks import Json, NotionBlock, to_notion
from integrations.notion_hashes import shown_hash
from integrations.notion_reader import read_document
from integrations.notion_taken import taken

MAX_BLOCKS: Final = 20_000
"""The largest page that is read."""

# What is inside these is not the page's own: another page, another database, the original of a copy.
_CLOSED: Final = frozenset({"child_page", "child_database", "unsupported"})
_ESCAPE: Final = re.compile(r"%[0-9a-fA-F]{2}")
_ADDRESS_CHARACTERS: Final = "!#$%&'()*+,/:;=?@[]~"

Children = Callable[[str], AsyncIterator[Json]]


async def read_blocks(children: Children, parent_id: str, *, others: Collection[str] = ()) -> list[Json]:
    """The blocks under a page but for the `others`, in order, each with its own under the key `children`."""
    blocks: list[Json] = []
    waiting: list[tuple[str, list[Json]]] = [(parent_id, blocks)]
    count = 0
    while waiting:
        block_id, siblings = waiting.pop()
        async for block in children(block_id):
            count += 1
            if count > MAX_BLOCKS:
                raise _too_large()
            with reading(writes=False):
                if block["id"] in others:
                    continue
                siblings.append(block)
                is_open = block["has_children"] and block["type"] not in _CLOSED
                if is_open:
                    block["children"] = []
                    waiting.append((str(block["id"]), block["children"]))
    return blocks


def content_of(blocks: Iterable[Json], *, bot_id: str, base: Sequence[SyncedBlock] = ()) -> PageContent:
    """What these blocks say, where the base is ours. CPU-bound: to be called beside the event loop."""
    blocks = list(blocks)
    ours = _Ours(bot_id, dict(_shown(base)))
    with reading(writes=False):
        document = read_document(blocks)
        fingerprint = _fingerprint(document)
        is_only_ours = all(map(ours.are_all, blocks)) and _is_whole(base, blocks)
        return PageContent(
            markdown=storable(write(document)),
            fingerprint=fingerprint,
            own_fingerprint=fingerprint if is_only_ours else _fingerprint(read_document(ours.only(blocks))),
            is_only_ours=is_only_ours,
            blocks=partial(taken, blocks),
        )


def expected_fingerprint(markdown: str, *, image_hosts: frozenset[str] = frozenset()) -> bytes:
    """The fingerprint of a page that was made of this Markdown; see the port Fingerprinter.

    `image_hosts` as those that the page was made with, see parse().
    """
    document = parse(markdown, image_hosts=image_hosts)
    return _fingerprint(read_document(map(_listed, to_notion(document))))


def _fingerprint(document: Document) -> bytes:
    alike = Document(tuple(map(_alike, document.blocks)))
    return sha256(write(alike).encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class _Ours:
    """Which blocks are ours: those that our bot edited last, and those that still show what we know of them, by id."""

    bot_id: str
    known: Mapping[str, str]

    def is_one(self, block: Json) -> bool:
        return block["last_edited_by"]["id"] == self.bot_id or self.known.get(block["id"]) == shown_hash(block)

    def are_all(self, block: Json) -> bool:
        return self.is_one(block) and all(map(self.are_all, block.get("children", ())))

    def only(self, blocks: Iterable[Json]) -> list[Json]:
        return [{**block, "children": self.only(block.get("children", ()))} for block in blocks if self.is_one(block)]


def _shown(base: Iterable[SyncedBlock]) -> Iterator[tuple[str, str]]:
    for each in base:
        if each.id:
            yield each.id, each.shown
        yield from _shown(each.children)


def _is_whole(base: Sequence[SyncedBlock], blocks: Sequence[Json]) -> bool:
    """Whether all of the base is there in its order: what is removed or moved leaves no trace in other blocks."""
    found = {str(block["id"]): place for place, block in enumerate(blocks)}
    places = [found.pop(each.id, -1) for each in base if each.id]
    rest = sorted(found.values())
    nameless = [each for each in base if not each.id]
    if -1 in places or places != sorted(places) or len(nameless) > len(rest):
        return False
    pairs = [*zip((each for each in base if each.id), places, strict=True), *zip(nameless, rest, strict=False)]
    return all(_is_whole(each.children, blocks[place].get("children") or []) for each, place in pairs)


def _listed(block: NotionBlock) -> Json:
    """A block that was written as Notion lists it, as far as reading it goes."""
    return {**block.payload, "children": list(map(_listed, block.children))}


def _alike(block: Block) -> Block:
    match block:
        case Prose() | ToDo() | Callout():
            return replace(block, text=_alike_text(block.text), children=tuple(map(_alike, block.children)))
        case Code():
            return replace(block, caption=_alike_text(block.caption))
        case Table(rows):
            return Table(tuple(tuple(map(_alike_text, row)) for row in rows))
        case Image(url, caption):
            return Image(_alike_address(url), _alike_text(caption))
        case _:
            return block


def _alike_text(text: RichText) -> RichText:
    return tuple(map(_alike_run, text))


def _alike_run(run: Run) -> Run:
    if isinstance(run, Text) and run.link is not None:
        return Text(run.content, run.marks, _alike_address(run.link))
    return run


def _alike_address(address: str) -> str:
    """`HTTPS://Example.org` and `https://example.org/`, `/%C3` and `/%c3` are the same."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return address
    path = parts.path or ("/" if parts.netloc else "")
    whole = urlunsplit((parts.scheme.lower(), parts.netloc.lower(), path, parts.query, parts.fragment))
    return _ESCAPE.sub(lambda escape: escape[0].upper(), quote(whole, safe=_ADDRESS_CHARACTERS))


def _too_large() -> NotionFailed:
    return NotionFailed(
        f"The page has more than {MAX_BLOCKS:,} blocks, too many to be kept in step.",
        reason=NotionFailureReason.REJECTED,
        retryable=False,
    )
