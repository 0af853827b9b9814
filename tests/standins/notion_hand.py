"""Somebody who works in Notion itself: changes, adds, removes and moves blocks, pages and what is shared."""

from __future__ import annotations

from tests.standins.notion_content import stored_content, stored_rich_text, text
from tests.standins.notion_errors import JSON
from tests.standins.notion_state import Memory, Node


def paragraph(words: str) -> JSON:
    """A block as a request would say it."""
    return {"type": "paragraph", "paragraph": {"rich_text": text(words)}}


class Hand:
    """A person at the keyboard. Everything they do shows their name, and moves the time of the last edit."""

    def __init__(self, memory: Memory, user_id: str) -> None:
        self._memory = memory
        self.user_id = user_id

    def retype(self, block: Node, words: str) -> None:
        """Gives a block of text other words."""
        block.content["rich_text"] = stored_rich_text(text(words))
        self._memory.touch(block, by=self.user_id)

    def tick(self, block: Node) -> None:
        """Ticks a task."""
        block.content["checked"] = True
        self._memory.touch(block, by=self.user_id)

    def turn_into(self, block: Node, kind: str) -> None:
        """Makes another kind of block of it, with the same words."""
        block.content = stored_content(kind, {"rich_text": block.content.get("rich_text", [])})
        block.type = kind
        self._memory.touch(block, by=self.user_id)

    def add(self, parent: Node, *blocks: JSON, at: int | None = None) -> list[Node]:
        """Writes something new on a page or inside a block, at the end unless a place is named."""
        added = self._memory.add_blocks(parent, list(blocks), by=self.user_id, at=at)
        self._memory.touch(parent, by=self.user_id)
        return added

    def remove(self, block: Node) -> None:
        """Deletes a block with all that is inside it."""
        block.in_trash = True
        self._memory.touch(block, by=self.user_id)

    def move(self, block: Node, *, at: int, into: Node | None = None) -> None:
        """Drags a block to another place among its siblings, or into another block or page."""
        assert block.parent is not None
        block.parent.children.remove(block)
        block.parent = into or block.parent
        block.parent.children.insert(at, block)
        self._memory.touch(block, by=self.user_id)

    def rename(self, page: Node, title: str) -> None:
        """Gives a page another title."""
        page.properties["title"] = stored_rich_text(text(title))
        self._memory.touch(page, by=self.user_id)

    def trash(self, page: Node) -> None:
        """Moves a page to the trash."""
        page.in_trash = True
        self._memory.touch(page, by=self.user_id)

    def restore(self, page: Node) -> None:
        """Takes a page out of the trash."""
        page.in_trash = False
        self._memory.touch(page, by=self.user_id)

    def move_page(self, page: Node, to: Node) -> None:
        """Puts a page under another one; if that is not shared, this page is not either any more."""
        assert page.parent is not None
        page.parent.children.remove(page)
        to.children.append(page)
        page.parent = to
        self._memory.touch(page, by=self.user_id)
