"""The viewer's link to Notion, and the places for pages that it leads to."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain.notion import NotionParentKind, NotionTokenKind
from resolvers import notion_parents as resolve
from schema.page_info import PageInfo


@strawberry.type(description="A property of a data source, which each of its pages has a value of.")
class NotionProperty:
    name: str = strawberry.field(description="Its name, by which values are given.")
    type: str = strawberry.field(
        description="Notion's own name of its type, such as `rich_text`, `select` or `formula`."
    )
    is_writable: bool = strawberry.field(description="Whether a value can be given; Notion fills in the others.")
    options: list[str] = strawberry.field(
        description="The options that a select, multi-select or status has, the first 500; empty for other types."
    )


@strawberry.type(description="A place for pages in Notion: a page, or a data source (the table of a database).")
class NotionParent:
    id: strawberry.ID = strawberry.field(description="Its id in Notion, to be given as `parent`.")
    kind: NotionParentKind = strawberry.field(description="What it is.")
    title: str = strawberry.field(description="Its title.")
    url: str | None = strawberry.field(description="Its address in Notion.")
    icon: str | None = strawberry.field(
        description="An emoji, or the address of an image (Notion's own last for an hour)."
    )
    properties = strawberry.field(
        resolver=resolve.properties,
        graphql_type=list[NotionProperty],
        description="A data source's properties, for mapping values to them; empty for a page.",
    )


@strawberry.type(description="A parent and its place in the list.")
class NotionParentEdge:
    cursor: str = strawberry.field(description="Its place, to be given as `after`.")
    node: NotionParent = strawberry.field(description="The parent.")


@strawberry.type(description="A page of parents.")
class NotionParentConnection:
    edges = strawberry.field(
        resolver=resolve.edges, graphql_type=list[NotionParentEdge], description="The parents with their cursors."
    )
    nodes = strawberry.field(resolver=resolve.nodes, graphql_type=list[NotionParent], description="The parents.")
    page_info = strawberry.field(
        resolver=resolve.page_info, graphql_type=PageInfo, description="Where the page begins and ends."
    )
    listed_at = strawberry.field(
        resolver=resolve.listed_at,
        graphql_type=datetime,
        description="When Notion was asked; what it told is remembered for five minutes.",
    )


@strawberry.type(description="The link to a Notion workspace.")
class NotionConnection:
    workspace_name: str = strawberry.field(description="The workspace's name.")
    connected_at: datetime = strawberry.field(description="When it was connected.")
    kind: NotionTokenKind = strawberry.field(description="By what it is connected.")
    rejected_at: datetime | None = strawberry.field(
        description="Since when Notion takes its token no more: connect again. Null as long as it is good."
    )
    parents = strawberry.field(
        resolver=resolve.parents,
        graphql_type=NotionParentConnection,
        description=(
            "The pages and data sources that are shared with the connection, up to a thousand. Notion's own list lags "
            "some minutes behind and may lack one: give its address to `parent`, or straight away where it is wanted."
        ),
    )
    parent = strawberry.field(
        resolver=resolve.parent,
        graphql_type=NotionParent,
        description=(
            "The page or data source that an address or id names. A database stands for its data source; if it has "
            "several, the error names them."
        ),
    )
