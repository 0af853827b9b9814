"""Takes Notion's answers apart: what does not have the documented shape is MALFORMED."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from domain.errors import InvalidInput
from domain.notion import CreatedPage, NotionParent, NotionParentKind, PageEnd
from domain.page_sync import RemotePage
from integrations import notion_failures as failures
from integrations.notion_blocks import Json


@contextmanager
def reading(*, writes: bool) -> Iterator[None]:
    """Around everything that takes an answer apart. `writes`: it answers a request that changed something."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise failures.malformed(ambiguous=writes) from error


def moment(said: str) -> datetime:
    """A time with its zone."""
    moment = datetime.fromisoformat(said)
    if moment.tzinfo is None:
        raise ValueError("a time without its zone")
    return moment


def _plain(rich: list[Json]) -> str:
    return "".join(str(item["plain_text"]) for item in rich)


def title_of(page: Json) -> str:
    """A page's title in plain text."""
    for value in page["properties"].values():
        if value["type"] == "title":
            return _plain(value["title"]).strip()
    return ""


def created_page(page: Json, *, is_complete: bool) -> CreatedPage:
    """A page object as the page that it stands for."""
    return CreatedPage(
        page_id=str(page["id"]),
        url=str(page["url"]),
        created_at=moment(page["created_time"]),
        is_complete=is_complete,
        is_in_trash=bool(page["in_trash"]),
    )


def remote_page(page: Json) -> RemotePage:
    """A page object as what can be told of the page without reading it."""
    parent = page["parent"]
    return RemotePage(
        title=title_of(page),
        url=str(page["url"]),
        parent_id=parent.get(parent["type"]) if parent["type"] != "workspace" else None,
        is_in_trash=bool(page["in_trash"]),
        edited_at=moment(page["last_edited_time"]),
        edited_by=page["last_edited_by"]["id"],
    )


def page_end(page: Json, *, last_block_id: str | None) -> PageEnd:
    """A page object as a page to append to. Raises NotionFailed when it is in the trash."""
    if page["in_trash"]:
        raise failures.in_trash()
    return PageEnd(
        page_id=str(page["id"]),
        title=title_of(page) or "Untitled",
        url=str(page["url"]),
        created_at=moment(page["created_time"]),
        last_block_id=last_block_id,
    )


def page_under(parent: NotionParent, page: Json, *, makers: Collection[str | None], since: datetime) -> CreatedPage:
    """A page object as one that some of these have made there since then.

    Raises InvalidInput when it is none of these, or in the trash.
    """
    if remote_page(page).parent_id != parent.id:
        raise InvalidInput(f"This page is not directly under “{parent.title}”, where the answer was to be put.")
    if page["in_trash"]:
        raise InvalidInput("This page is in Notion's trash: restore it there first.")
    if page["created_by"]["id"] not in makers or moment(page["created_time"]) < since:
        raise InvalidInput("This page was not made by the integration when it put the answer there.")
    return created_page(page, is_complete=False)


def page_parent(page: Json) -> NotionParent:
    """A page as a place for pages. Raises InvalidInput when it is in the trash."""
    if page["in_trash"]:
        raise InvalidInput("This page is in Notion's trash: restore it there, or choose another.")
    return NotionParent(
        kind=NotionParentKind.PAGE,
        id=str(page["id"]),
        title=title_of(page) or "Untitled",
        title_property="title",
        properties={},
        url=page["url"],
        icon=_icon_of(page),
    )


def only_data_source(database: Json) -> str:
    """The id of a database's data source. Raises InvalidInput unless there is exactly one, naming them."""
    if database["in_trash"]:
        raise InvalidInput("This database is in Notion's trash: restore it there, or choose another.")
    sources = [(str(source["id"]), str(source["name"])) for source in database["data_sources"]]
    if not sources:
        raise InvalidInput(
            "This database shows data from elsewhere: open the database that the data lies in and copy its link."
        )
    if len(sources) > 1:
        named = ", ".join(f"“{name or 'Untitled'}” ({source_id})" for source_id, name in sources)
        raise InvalidInput(f"This database has {len(sources)} data sources; give the id of one: {named}.")
    return sources[0][0]


def data_source_parent(source: Json) -> NotionParent:
    """A data source as a place for pages. Raises InvalidInput when it is in the trash."""
    if source["in_trash"]:
        raise InvalidInput("This database is in Notion's trash: restore it there, or choose another.")
    properties = {str(name): str(definition["type"]) for name, definition in source["properties"].items()}
    return NotionParent(
        kind=NotionParentKind.DATA_SOURCE,
        id=str(source["id"]),
        title=_plain(source["title"]) or "Untitled",
        title_property=next(name for name, kind in properties.items() if kind == "title"),
        properties=properties,
        options={
            str(name): tuple(str(option["name"]) for option in definition[definition["type"]]["options"])
            for name, definition in source["properties"].items()
            if definition["type"] in _WITH_OPTIONS
        },
        url=source.get("url"),
        icon=_icon_of(source),
    )


def listed_parents(results: list[Json]) -> tuple[NotionParent, ...]:
    """Search results as places for pages, without what lies in the trash or is shown as an id alone."""
    parents: list[NotionParent] = []
    for found in results:
        # A page that the token may not read whole comes without anything but its id.
        if found["object"] not in _PARENTS or "in_trash" not in found or found["in_trash"]:
            continue
        parents.append(_PARENTS[found["object"]](found))
    return tuple(parents)


def _icon_of(shown: Json) -> str | None:
    """An emoji, or the address of an image."""
    icon = shown.get("icon") or {}
    match icon.get("type"):
        case "emoji":
            return str(icon["emoji"])
        case "external" | "file":
            return str(icon[icon["type"]]["url"])
        case "custom_emoji":
            return str(icon["custom_emoji"]["url"])
        case _:
            return None


_WITH_OPTIONS: Final = frozenset({"select", "multi_select", "status"})
_PARENTS: Final[Mapping[str, Callable[[Json], NotionParent]]] = {"page": page_parent, "data_source": data_source_parent}
