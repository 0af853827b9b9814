"""The stand-in's memory: workspaces, connections, and the tree of pages, databases, data sources and blocks."""

from __future__ import annotations

import copy
import random
import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from tests.standins.notion_content import plain_text, stored_content
from tests.standins.notion_errors import JSON
from tests.standins.notion_properties import PAGE_SCHEMA, answered_values, empty_values
from tests.standins.notion_rules import type_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Kind = Literal["page", "database", "data_source", "block"]


@dataclass(slots=True, kw_only=True)
class Workspace:
    """One workspace with the one integration that is connected to it."""

    id: str
    name: str
    token: str
    bot_id: str
    integration: str
    owner_id: str
    can_read: bool = True
    can_insert: bool = True
    can_update: bool = True
    revoked: bool = False


@dataclass(slots=True, kw_only=True)
class Node:
    """Anything with an id. A page and a database are also blocks of their parent."""

    id: str
    kind: Kind
    workspace: Workspace
    parent: Node | None
    type: str
    created_by: str
    created_at: datetime
    edited_by: str
    edited_at: datetime
    # A block's own content, without its children.
    content: JSON = field(default_factory=dict)
    # A page's values by property id; a data source's definitions by name.
    properties: JSON = field(default_factory=dict)
    # Stored rich text; of databases and data sources.
    title: list[JSON] = field(default_factory=list)
    icon: JSON | None = None
    cover: JSON | None = None
    is_locked: bool = False
    children: list[Node] = field(default_factory=list)
    in_trash: bool = False
    shared: bool = False

    @property
    def visible(self) -> bool:
        """Whether it, or what it lies in, is shared with the integration."""
        return self.shared or (self.parent is not None and self.parent.visible)

    @property
    def trashed(self) -> bool:
        """Whether it, or what it lies in, is in the trash."""
        return self.in_trash or (self.parent is not None and self.parent.trashed)

    @property
    def schema(self) -> JSON:
        """The definitions of a page's properties."""
        if self.parent is not None and self.parent.kind == "data_source":
            return self.parent.properties
        return PAGE_SCHEMA

    @property
    def words(self) -> str:
        """The title in plain text."""
        return plain_text(self.properties["title"] if self.kind == "page" else self.title)

    @property
    def live_children(self) -> list[Node]:
        """The children that are not in the trash, in order."""
        return [child for child in self.children if not child.in_trash]


class Memory:
    """All nodes of all workspaces; ids come from a seed, times from a clock that tests may move."""

    def __init__(self, *, seed: int = 0, clock: Callable[[], datetime] | None = None) -> None:
        self._random = random.Random(seed)
        self._clock = clock or (lambda: datetime.now(UTC))
        # How long a new page or database stays out of what search finds.
        self.search_lag = timedelta(0)
        self.workspaces: list[Workspace] = []
        self.nodes: dict[str, Node] = {}

    def new_id(self, *, version: Literal[4, 8] = 8) -> str:
        """An id as Notion makes them: version 8 for pages and blocks, 4 for databases and requests."""
        bits = self._random.getrandbits(128)
        bits = bits & ~(0xF << 76) | (version << 76)
        bits = bits & ~(0x3 << 62) | (0x2 << 62)
        return str(uuid.UUID(int=bits))

    def connection(self, token: str) -> Workspace | None:
        """The workspace whose integration holds this token, unless it was revoked."""
        return next((known for known in self.workspaces if known.token == token and not known.revoked), None)

    def find(self, node_id: str, workspace: Workspace) -> Node | None:
        """What this integration may see under an id, written with dashes or without."""
        node = self.nodes.get(str(uuid.UUID(node_id)))
        return node if node is not None and node.workspace is workspace and node.visible else None

    def add(
        self,
        kind: Kind,
        *,
        workspace: Workspace,
        parent: Node | None,
        node_type: str,
        by: str,
        node_id: str | None = None,
        content: JSON | None = None,
        at: int | None = None,
    ) -> Node:
        """A new node, put among its parent's children at place `at` (the end by default)."""
        now = self._clock()
        node = Node(
            id=node_id or self.new_id(version=4 if kind == "database" else 8),
            kind=kind,
            workspace=workspace,
            parent=parent,
            type=node_type,
            created_by=by,
            created_at=now,
            edited_by=by,
            edited_at=now,
            content=content or {},
        )
        self.nodes[node.id] = node
        if parent is not None:
            parent.children.insert(len(parent.children) if at is None else at, node)
        return node

    def add_page(
        self,
        *,
        workspace: Workspace,
        parent: Node | None,
        values: JSON,
        by: str,
        node_id: str | None = None,
        at: int | None = None,
    ) -> Node:
        """A page with values by property id, the rest empty."""
        page = self.add(
            "page", workspace=workspace, parent=parent, node_type="child_page", by=by, node_id=node_id, at=at
        )
        page.properties = empty_values(page.schema) | copy.deepcopy(values)
        return page

    def add_blocks(self, parent: Node, blocks: list[JSON], *, by: str, at: int | None = None) -> list[Node]:
        """Blocks of a request with all their levels; answers the first level."""
        added: list[Node] = []
        place = len(parent.children) if at is None else at
        for offset, block in enumerate(blocks):
            block_type = type_of(block)
            said = block[block_type]
            node = self.add(
                "block",
                workspace=parent.workspace,
                parent=parent,
                node_type=block_type,
                by=by,
                content=stored_content(block_type, said),
                at=place + offset,
            )
            self.add_blocks(node, said.get("children") or [], by=by)
            added.append(node)
        return added

    def touch(self, node: Node, *, by: str) -> None:
        """An edit: it shows on the node and on the page around it."""
        node.edited_by, node.edited_at = by, self._clock()
        if node.kind == "block" and node.parent is not None:
            self.touch(node.parent, by=by)

    def searchable(self, workspace: Workspace) -> Iterator[Node]:
        """What search has come across by now."""
        known_until = self._clock() - self.search_lag
        return (node for node in self.walk(workspace) if node.created_at <= known_until)

    def walk(self, workspace: Workspace) -> Iterator[Node]:
        """Every node of a workspace that its integration may see."""
        return (node for node in self.nodes.values() if node.workspace is workspace and node.visible)


def minute(moment: datetime) -> str:
    """A time as pages and blocks show it: rounded down to the minute."""
    return moment.strftime("%Y-%m-%dT%H:%M:00.000Z")


def parent_of(node: Node) -> JSON:
    """The `parent` object of an answer."""
    parent = node.parent
    if parent is None:
        return {"type": "workspace", "workspace": True}
    if parent.kind == "data_source":
        database = parent.parent
        assert database is not None
        return {"type": "data_source_id", "data_source_id": parent.id, "database_id": database.id}
    kind = {"page": "page_id", "database": "database_id", "block": "block_id"}[parent.kind]
    return {"type": kind, kind: parent.id}


def address(node: Node) -> str:
    """Where Notion shows it: the title as a slug before the id; databases have no slug."""
    slug = re.sub(r"[^0-9A-Za-z]+", "-", node.words).strip("-") if node.kind == "page" else ""
    return "https://app.notion.com/p/" + (f"{slug}-" if slug else "") + node.id.replace("-", "")


def _user(user_id: str) -> JSON:
    return {"object": "user", "id": user_id}


def _stamps(node: Node) -> JSON:
    return {
        "created_time": minute(node.created_at),
        "last_edited_time": minute(node.edited_at),
        "created_by": _user(node.created_by),
        "last_edited_by": _user(node.edited_by),
    }


def page_answer(node: Node) -> JSON:
    """A page object."""
    stamps = _stamps(node)
    return {
        "object": "page",
        "id": node.id,
        **stamps,
        "cover": node.cover,
        "icon": node.icon,
        "parent": parent_of(node),
        "in_trash": node.trashed,
        "is_archived": node.trashed,
        "is_locked": node.is_locked,
        "properties": answered_values(node.properties, node.schema, stamps),
        "url": address(node),
        "public_url": None,
    }


def block_answer(node: Node) -> JSON:
    """A block object; a page or a database answers as the block it is in its parent."""
    content = {"title": node.words} if node.kind in ("page", "database") else node.content
    return {
        "object": "block",
        "id": node.id,
        "parent": parent_of(node),
        **_stamps(node),
        "has_children": node.kind != "database" and bool(node.live_children),
        "in_trash": node.trashed,
        "type": node.type,
        node.type: copy.deepcopy(content),
    }


def database_answer(node: Node) -> JSON:
    """A database object: its data sources by id and name."""
    return {
        "object": "database",
        "id": node.id,
        "title": node.title,
        "description": [],
        "parent": parent_of(node),
        "is_inline": False,
        "in_trash": node.trashed,
        "is_locked": node.is_locked,
        "created_time": node.created_at.isoformat(timespec="milliseconds"),
        "last_edited_time": node.edited_at.isoformat(timespec="milliseconds"),
        "data_sources": [{"id": source.id, "name": source.words} for source in node.live_children],
        "icon": node.icon,
        "cover": node.cover,
        "url": address(node),
        "public_url": None,
    }


def data_source_answer(node: Node) -> JSON:
    """A data source object with its schema."""
    database = node.parent
    assert database is not None
    return {
        "object": "data_source",
        "id": node.id,
        "cover": node.cover,
        "icon": node.icon,
        **_stamps(node),
        "title": node.title,
        "description": [],
        "is_inline": False,
        "properties": copy.deepcopy(node.properties),
        "parent": {"type": "database_id", "database_id": database.id},
        "database_parent": parent_of(database),
        "url": address(database),
        "public_url": None,
        "in_trash": node.trashed,
    }
