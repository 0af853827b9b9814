"""Answers as pages in Notion."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain import publication as domain
from domain.publication import NotionPageState, PublicationStatus, PublishMode
from resolvers import page_sync as resolve_sync
from resolvers.scalars import JSONObject
from schema.access import OWNER
from schema.node import Node
from schema.notion import NotionParent
from schema.page_version import PageVersion, PageVersionConnection
from schema.payload import error_field, errors_field


@strawberry.type(
    description="A page in Notion that this server has made.",
    directives=[OWNER],
)
class NotionPage(Node):
    page_id: str = strawberry.field(description="Its id in Notion.")
    parent_id: str | None = strawberry.field(description="The id in Notion of what it was put under.")
    title: str = strawberry.field(description="Its title, as Notion showed it last.")
    url: str = strawberry.field(description="Its address in Notion.")
    created_at: datetime = strawberry.field(description="When it was made.")
    last_sync_at: datetime | None = strawberry.field(description="When it was last compared with the answer.")
    state: NotionPageState = strawberry.field(description="How it compared with the answer then.")
    is_ours: bool = strawberry.field(
        description="Whether this server made the page; else an answer was appended to it, and nothing is compared."
    )
    version = strawberry.field(
        resolver=resolve_sync.version,
        graphql_type=PageVersion | None,
        description="The version that counts here; null once the answer is deleted.",
    )
    notion_version = strawberry.field(
        resolver=resolve_sync.notion_version,
        graphql_type=PageVersion | None,
        description="The version that Notion showed when the page was last read; null once the answer is deleted.",
    )
    versions = strawberry.field(
        resolver=resolve_sync.versions,
        graphql_type=PageVersionConnection,
        description="Every version that was ever made here or noticed in Notion, the newest first.",
    )

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        """Called by GraphQL to tell nodes apart."""
        return isinstance(value, domain.NotionPage)


@strawberry.type(
    description="The wish to have an answer as a page in Notion, and what has come of it.", directives=[OWNER]
)
class Publication(Node):
    mode: PublishMode = strawberry.field(description="What was asked for last.")
    status: PublicationStatus = strawberry.field(description="How far it has come.")
    page: NotionPage | None = strawberry.field(description="The page, as soon as it exists.")
    error = error_field(description="What went wrong with the latest attempt, if anything.")
    waiting_until: datetime | None = strawberry.field(
        description="When it goes on by itself, if it has to wait; `error` says for what."
    )
    degraded: list[str] = strawberry.field(description="What Notion cannot show as it was written; usually nothing.")
    attempts: int = strawberry.field(description="How often it has been tried.")

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        """Called by GraphQL to tell nodes apart."""
        return isinstance(value, domain.Publication)


@strawberry.type(description="What publishing an answer would do. Nothing has been written.")
class PublicationPreview:
    parent: NotionParent | None = strawberry.field(description="Where the page would go; null if that is wrong.")
    title: str = strawberry.field(description="The page's title.")
    properties: JSONObject = strawberry.field(
        description="Its properties as Notion would get them, in Notion's own form; what is wrong is not among them."
    )
    block_count: int = strawberry.field(description="How many blocks the page would have.")
    request_count: int = strawberry.field(
        description="How many requests would write it. Notion takes some three a second."
    )
    degraded: list[str] = strawberry.field(description="What Notion could not show as it is written; usually nothing.")

    errors = errors_field(description="Why it would be refused; empty when it can be published.")
