"""What each endpoint of Notion's API does to the stand-in's memory, and what it answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from tests.standins import notion_errors as errors
from tests.standins import notion_properties as properties
from tests.standins import notion_rules as rules
from tests.standins.notion_content import stored_content, stored_icon
from tests.standins.notion_errors import JSON, NotionError
from tests.standins.notion_schema import NEWEST_VERSION
from tests.standins.notion_state import (
    Kind,
    Memory,
    Node,
    Workspace,
    block_answer,
    data_source_answer,
    database_answer,
    page_answer,
)

_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)
_PAGE_SIZE = 100

Capability = Literal["read", "insert", "update"]


@dataclass(slots=True, kw_only=True)
class Call:
    """One request that has passed authentication, and what it has made so far."""

    memory: Memory
    workspace: Workspace
    version: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: JSON
    committed: JSON = field(default_factory=dict)

    def node(self, kind: Kind, node_id: str) -> Node:
        """What this integration may see under an id, of the given kind; Notion's 400 or 404 otherwise."""
        node = self.memory.find(node_id, self.workspace)
        if node is not None and kind == "page" and node.kind == "database":
            raise errors.invalid(
                f"Provided ID {node.id} is a database, not a page. Use the retrieve database API instead."
            )
        if node is not None and kind == "database" and node.kind == "page":
            raise errors.invalid(
                f"Provided database_id {node.id} is a page, not a database. Use the pages API instead, or pass the ID "
                "of the database itself."
            )
        alike = ("page", "database", "block") if kind == "block" else (kind,)
        if node is None or node.kind not in alike:
            raise self.not_found(kind, node_id)
        return node

    def not_found(self, kind: Kind, node_id: str) -> NotionError:
        """404 for an id, with the connection's name."""
        return errors.not_found(
            kind, node_id, integration=self.workspace.integration, integration_id=self.workspace.bot_id
        )

    def answer(self, node: Node) -> JSON:
        """A node as the object of its kind, as this version of the API shows it."""
        show = {
            "page": page_answer,
            "database": database_answer,
            "data_source": data_source_answer,
            "block": block_answer,
        }
        return self.dated(show[node.kind](node))

    def block(self, node: Node) -> JSON:
        """A node as a block."""
        return self.dated(block_answer(node))

    def dated(self, answer: JSON) -> JSON:
        """Before the newest version everything also said whether it is `archived`."""
        return answer if self.version == NEWEST_VERSION else answer | {"archived": answer["in_trash"]}


Handler = Callable[[Call], JSON]


def checked_id(where: str, value: object) -> str:
    """An id of a request; 400 when it is none."""
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise errors.invalid_uuid(where, value)
    return value


def _me(call: Call) -> JSON:
    space = call.workspace
    return {
        "object": "user",
        "id": space.bot_id,
        "name": space.integration,
        "avatar_url": None,
        "type": "bot",
        "bot": {
            "owner": {"type": "workspace", "workspace": True},
            "workspace_name": space.name,
            "workspace_id": space.id,
            "workspace_limits": {"max_file_upload_size_in_bytes": 5242880},
        },
    }


def _get_page(call: Call) -> JSON:
    return call.answer(call.node("page", call.path["page_id"]))


def _create_page(call: Call) -> JSON:
    parent = _page_parent(call, call.body.get("parent"))
    if parent.trashed:
        raise errors.in_trash()
    if "markdown" in call.body or "template" in call.body:
        raise NotImplementedError("the stand-in makes pages from blocks only")
    children = call.body.get("children") or call.body.get("content") or []
    rules.check_children(children, parent_type="child_page")
    schema = parent.properties if parent.kind == "data_source" else properties.PAGE_SCHEMA
    values = properties.stored_values(call.body.get("properties", {}), schema)
    at = _place(parent, call.body.get("position")) if parent.kind == "page" else None
    page = call.memory.add_page(workspace=call.workspace, parent=parent, values=values, by=call.workspace.bot_id, at=at)
    page.icon, page.cover = stored_icon(call.body.get("icon")), stored_icon(call.body.get("cover"))
    call.memory.add_blocks(page, children, by=call.workspace.bot_id)
    call.committed["committed_resource_id"] = page.id
    return call.answer(page)


def _page_parent(call: Call, parent: JSON | None) -> Node:
    if parent is None:
        raise errors.invalid_body("body.parent should be defined, instead was `undefined`.")
    kind = next(key for key in ("page_id", "database_id", "data_source_id", "workspace") if key in parent)
    if kind == "workspace":
        raise errors.invalid(
            "Internal integrations aren't owned by a single user, so creating workspace-level private pages is not "
            "supported."
        )
    node_id = checked_id(f"body.parent.{kind}", parent[kind])
    if kind == "page_id":
        return call.node("page", node_id)
    if kind == "data_source_id":
        return call.node("data_source", node_id)
    database = call.node("database", node_id)
    sources = database.live_children
    if len(sources) != 1:
        raise errors.invalid(
            "Databases with multiple data sources are not supported in this API version.",
            additional_data={
                "error_type": "multiple_data_sources_for_database",
                "database_id": database.id,
                "child_data_source_ids": [source.id for source in sources],
                "minimum_api_version": "2025-09-03",
            },
        )
    return sources[0]


def _update_page(call: Call) -> JSON:
    page = call.node("page", call.path["page_id"])
    values = properties.stored_values(call.body.get("properties", {}), page.schema)
    trash = _trash(call)
    if page.trashed and trash is not False:
        raise errors.in_trash()
    if "template" in call.body:
        raise NotImplementedError("the stand-in has no templates")
    page.properties |= values
    page.in_trash = page.in_trash if trash is None else trash
    for key in ("icon", "cover"):
        if key in call.body:
            setattr(page, key, stored_icon(call.body[key]))
    page.is_locked = call.body.get("is_locked", page.is_locked)
    if call.body.get("erase_content"):
        for child in page.children:
            child.in_trash = True
    call.memory.touch(page, by=call.workspace.bot_id)
    return call.answer(page)


def _trash(call: Call) -> bool | None:
    """Whether a request moves to the trash (True), out of it (False), or does neither (None)."""
    said = call.body.get("in_trash", call.body.get("archived"))
    return said if isinstance(said, bool) else None


def _get_property(call: Call) -> JSON:
    page = call.node("page", call.path["page_id"])
    wanted = call.path["property_id"]
    for value in call.answer(page)["properties"].values():
        if value["id"] == wanted:
            kind = value["type"]
            item = {"object": "property_item", "type": kind, "id": wanted}
            if kind in ("title", "rich_text", "people", "relation"):
                listing = _listing([{**item, kind: entry} for entry in value[kind]], "property_item")
                listing["property_item"] = {"id": wanted, "next_url": None, "type": kind, kind: {}}
                return listing
            return {**item, kind: value[kind]}
    raise errors.invalid(f"Could not find property with name or id: {wanted}")


def _get_block(call: Call) -> JSON:
    return call.block(call.node("block", call.path["block_id"]))


def _list_children(call: Call) -> JSON:
    node = call.node("block", call.path["block_id"])
    size = _page_size(call.query.get("page_size"), "query")
    children = node.live_children if node.kind != "database" else []
    cursor = call.query.get("start_cursor")
    start = 0
    if cursor is not None:
        if not _UUID.fullmatch(cursor):
            raise errors.invalid(
                "query failed validation: query.start_cursor should be a valid uuid or `undefined`, instead was "
                f"{errors.shown(cursor)}."
            )
        start = next((place for place, child in enumerate(children) if child.id == cursor), -1)
        if start < 0:
            raise errors.invalid(f"The start_cursor provided is invalid: {cursor}")
    following = children[start + size : start + size + 1]
    return _listing(
        [call.block(child) for child in children[start : start + size]],
        "block",
        next_cursor=following[0].id if following else None,
    )


def _append_children(call: Call) -> JSON:
    parent = call.node("block", call.path["block_id"])
    if parent.trashed:
        raise errors.in_trash()
    children = call.body["children"]
    rules.check_children(children, parent_type=parent.type)
    if parent.type == "table":
        rules.check_rows(children, table_width=parent.content["table_width"])
    if "after" in call.body:
        at = _place(parent, {"type": "after_block", "after_block": {"id": call.body["after"]}})
    else:
        at = _place(parent, call.body.get("position"))
    added = call.memory.add_blocks(parent, children, by=call.workspace.bot_id, at=at)
    call.memory.touch(parent, by=call.workspace.bot_id)
    call.committed["committed_resource_id"] = parent.id
    call.committed["committed_child_ids"] = [node.id for node in added]
    return _listing([call.block(node) for node in added], "block")


def _place(parent: Node, position: JSON | None) -> int | None:
    """Where among the parent's children, by a `position`; None for the end."""
    if position is None or position["type"] in ("end", "page_end"):
        return None
    if position["type"] in ("start", "page_start"):
        return 0
    wanted = checked_id("body.position.after_block.id", position["after_block"]["id"])
    for place, child in enumerate(parent.children):
        if child.id == wanted and not child.in_trash:
            return place + 1
    raise errors.invalid(f"Block with ID {wanted} is not a child of {parent.id}.")


def _update_block(call: Call) -> JSON:
    block = call.node("block", call.path["block_id"])
    trash = _trash(call)
    if block.trashed and trash is not False:
        raise errors.in_trash()
    said_type = next((key for key in call.body if key not in ("type", "in_trash", "archived")), None)
    if said_type is not None:
        if said_type != block.type:
            raise errors.invalid(f"Expected block type {block.type} in request body")
        said = call.body[said_type]
        rules.check_rich_text(said.get("rich_text") or [])
        if "cells" in said and len(said["cells"]) != len(block.content["cells"]):
            raise errors.content_failed("Number of cells in table row must match the table width of the parent table")
        fresh = stored_content(block.type, said)
        block.content |= {key: value for key, value in fresh.items() if key in said}
    if trash is not None:
        block.in_trash = trash
    call.memory.touch(block, by=call.workspace.bot_id)
    return call.block(block)


def _delete_block(call: Call) -> JSON:
    block = call.node("block", call.path["block_id"])
    if block.trashed:
        raise errors.in_trash()
    block.in_trash = True
    call.memory.touch(block, by=call.workspace.bot_id)
    return call.block(block)


def _get_database(call: Call) -> JSON:
    return call.answer(call.node("database", call.path["database_id"]))


def _get_data_source(call: Call) -> JSON:
    return call.answer(call.node("data_source", call.path["data_source_id"]))


def _query(call: Call) -> JSON:
    source = call.node("data_source", call.path["data_source_id"])
    wants_trash = _trash(call) or False
    rows = [row for row in source.children if row.in_trash == wants_trash]
    condition = call.body.get("filter")
    if condition is not None:
        # An impossible filter is refused even where there is nothing to filter.
        properties.matches(condition, properties.empty_values(source.properties), source.properties)
        rows = [row for row in rows if properties.matches(condition, row.properties, source.properties)]
    # Newest first, as Notion shows rows that nobody has sorted.
    return _page_of(call, rows[::-1])


def _search(call: Call) -> JSON:
    wanted = (call.body.get("filter") or {}).get("value")
    words = call.body.get("query", "").casefold()
    found = [
        node
        for node in call.memory.searchable(call.workspace)
        if node.kind in ("page", "data_source")
        and wanted in (None, node.kind)
        and not node.trashed
        and words in node.words.casefold()
    ]
    ascending = (call.body.get("sort") or {}).get("direction") == "ascending"
    found.sort(key=lambda node: node.edited_at, reverse=not ascending)
    return _page_of(call, found)


def _page_of(call: Call, nodes: list[Node]) -> JSON:
    size = _page_size(call.body.get("page_size"), "body")
    cursor = call.body.get("start_cursor")
    start = 0
    if cursor is not None:
        start = next((place for place, node in enumerate(nodes) if node.id == cursor), -1)
        if start < 0:
            raise errors.invalid(f"The start_cursor provided is invalid: {cursor}")
    following = nodes[start + size : start + size + 1]
    return _listing(
        [call.answer(node) for node in nodes[start : start + size]],
        "page_or_data_source",
        next_cursor=following[0].id if following else None,
    )


def _page_size(said: object, where: str) -> int:
    if said is None:
        return _PAGE_SIZE
    size = int(said) if isinstance(said, (int, float)) or (isinstance(said, str) and said.isdecimal()) else None
    if size is None:
        raise errors.invalid(
            f"{where} failed validation: {where}.page_size should be a number or `undefined`, "
            f"instead was {errors.shown(said)}."
        )
    if not 1 <= size <= _PAGE_SIZE:
        sign, bound = ("≤", _PAGE_SIZE) if size > _PAGE_SIZE else ("≥", 1)
        raise errors.invalid(
            f"{where} failed validation: {where}.page_size should be {sign} `{bound}` or `undefined`, "
            f"instead was `{size}`."
        )
    return size


def _listing(results: list[JSON], kind: str, *, next_cursor: str | None = None) -> JSON:
    return {
        "object": "list",
        "results": results,
        "next_cursor": next_cursor,
        "has_more": next_cursor is not None,
        "type": kind,
        kind: {},
    }


OPERATIONS: dict[tuple[str, str], tuple[Handler, Capability]] = {
    ("GET", "/v1/users/me"): (_me, "read"),
    ("POST", "/v1/pages"): (_create_page, "insert"),
    ("GET", "/v1/pages/{page_id}"): (_get_page, "read"),
    ("PATCH", "/v1/pages/{page_id}"): (_update_page, "update"),
    ("GET", "/v1/pages/{page_id}/properties/{property_id}"): (_get_property, "read"),
    ("GET", "/v1/blocks/{block_id}"): (_get_block, "read"),
    ("PATCH", "/v1/blocks/{block_id}"): (_update_block, "update"),
    ("DELETE", "/v1/blocks/{block_id}"): (_delete_block, "update"),
    ("GET", "/v1/blocks/{block_id}/children"): (_list_children, "read"),
    ("PATCH", "/v1/blocks/{block_id}/children"): (_append_children, "insert"),
    ("GET", "/v1/databases/{database_id}"): (_get_database, "read"),
    ("GET", "/v1/data_sources/{data_source_id}"): (_get_data_source, "read"),
    ("POST", "/v1/data_sources/{data_source_id}/query"): (_query, "read"),
    ("POST", "/v1/search"): (_search, "read"),
}
