"""The versions of what a published page says."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain.page_sync import VersionOrigin
from resolvers import page_sync as resolve
from schema.page_info import PageInfo


@strawberry.type(description="One version of what a page says. It is never changed, and stays as long as the answer.")
class PageVersion:
    number: int = strawberry.field(description="Its number: 1 is the answer as it was generated.")
    origin: VersionOrigin = strawberry.field(description="Where it comes from.")
    content = strawberry.field(resolver=resolve.content, graphql_type=str, description="What it says, in Markdown.")
    content_hash = strawberry.field(
        resolver=resolve.content_hash, graphql_type=str, description="SHA-256 of `content` in UTF-8, in hexadecimal."
    )
    made_by: str | None = strawberry.field(
        description="Whose it is, as far as that is known: the model, the user's name, or the id of a user in Notion."
    )
    created_at: datetime = strawberry.field(description="When it was made here or noticed in Notion.")


@strawberry.type(description="A page's versions, page by page.")
class PageVersionConnection:
    nodes = strawberry.field(
        resolver=resolve.nodes, graphql_type=list[PageVersion], description="The versions, the newest first."
    )
    page_info = strawberry.field(
        resolver=resolve.page_info, graphql_type=PageInfo, description="Where the page of the list begins and ends."
    )
