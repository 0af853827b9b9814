"""A user's choices."""

from __future__ import annotations

from datetime import datetime

import strawberry

from resolvers.scalars import JSONObject


@strawberry.type(description="Where answers go in Notion.")
class NotionSettings:
    parent_id: str | None = strawberry.field(
        description="The page or data source that pages are put under, by its URL or id in Notion."
    )
    auto_publish: bool = strawberry.field(description="Whether every answer becomes a page.")
    property_map: JSONObject = strawberry.field(
        description="Properties that every page gets: values by name, with placeholders."
    )
    create_options: bool = strawberry.field(
        description="Whether a select or multi-select gets an option that it lacks; else that is an error."
    )


@strawberry.type(description="A model that is asked when others are out of order.")
class Fallback:
    provider_id: strawberry.ID = strawberry.field(name="provider", description="Its provider.")
    model: str | None = strawberry.field(description="The model; null is the provider's default.")


@strawberry.type(description="A user's choices; null leaves it to the server.")
class UserSettings:
    default_provider: strawberry.ID | None = strawberry.field(description="The provider of a request that names none.")
    default_model: str | None = strawberry.field(description="The default provider's model for such a request.")
    system_prompt: str | None = strawberry.field(description="The system prompt of a request that has none.")
    fallback: list[Fallback] = strawberry.field(
        description="The models that a request falls back on that names none itself, in their order."
    )
    use_cache: bool = strawberry.field(
        description="Whether a request that was answered before gets the same answer again, at once and at no cost."
    )
    notion: NotionSettings = strawberry.field(description="Where answers go in Notion.")
    retention_days: int | None = strawberry.field(
        description="After how many days generations are deleted; the server may do it sooner."
    )
    ui_preferences: JSONObject = strawberry.field(description="Whatever an application wants to remember.")
    updated_at: datetime = strawberry.field(description="When a choice was last changed.")
