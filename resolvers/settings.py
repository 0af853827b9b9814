"""Changing the viewer's choices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeVar

import strawberry
from strawberry import UNSET

from domain.settings import Fallback, UserSettings
from domain.settings_service import SettingsChange
from domain.unset import UNSET as UNCHANGED
from domain.unset import UnsetType
from resolvers.context import Info
from resolvers.generation import FallbackInput
from resolvers.publication import PROPERTY_VALUES
from resolvers.scalars import JSONObject

T = TypeVar("T")
D = TypeVar("D")


@strawberry.input(description="Where answers go in Notion. What is left out stays; null takes a choice back.")
class NotionSettingsInput:
    parent_id: str | None = strawberry.field(
        default=UNSET, description="The page or data source to put pages under, by its URL or id in Notion."
    )
    auto_publish: bool | None = strawberry.field(default=UNSET, description="Whether every answer becomes a page.")
    property_map: JSONObject | None = strawberry.field(
        default=UNSET,
        description=f"Properties that every page gets, by name. {PROPERTY_VALUES} A page under another parent gets "
        "those that it has by the same names.",
    )
    create_options: bool | None = strawberry.field(
        default=UNSET, description="Whether a select or multi-select gets an option that it lacks; else it is an error."
    )


@strawberry.input(description="Choices to change. What is left out stays; null takes a choice back.")
class UpdateSettingsInput:
    default_provider: strawberry.ID | None = strawberry.field(
        default=UNSET, description="The provider of a request that names none."
    )
    default_model: str | None = strawberry.field(
        default=UNSET, description="The default provider's model for a request that names none."
    )
    system_prompt: str | None = strawberry.field(
        default=UNSET, description="The system prompt of a request that has none."
    )
    fallback: list[FallbackInput] | None = strawberry.field(
        default=UNSET,
        description="Up to four models that are asked, in this order, when the provider of a request that names none "
        "itself is overloaded or out of order. One that cannot be used, or does not take the request's parameters, is "
        "passed over.",
    )
    use_cache: bool | None = strawberry.field(
        default=UNSET, description="Whether a request that was answered before gets the same answer again."
    )
    notion: NotionSettingsInput | None = strawberry.field(default=UNSET, description="Where answers go in Notion.")
    retention_days: int | None = strawberry.field(
        default=UNSET,
        description="Delete generations so many days after they were asked for; the server may do it sooner.",
    )
    ui_preferences: JSONObject | None = strawberry.field(
        default=UNSET, description="Whatever an application wants to remember, up to 64 KB; replaced as a whole."
    )


async def update_settings(
    info: Info,
    input_: Annotated[UpdateSettingsInput, strawberry.argument(name="input", description="The choices to change.")],
) -> UserSettings:
    """Changes the viewer's choices."""
    notion = NotionSettingsInput(parent_id=None, auto_publish=None, property_map=None, create_options=None)
    if input_.notion is UNSET:
        notion = NotionSettingsInput()
    elif input_.notion is not None:
        notion = input_.notion
    change = SettingsChange(
        default_provider=_given(input_.default_provider),
        default_model=_given(input_.default_model),
        system_prompt=_given(input_.system_prompt),
        fallback=_given_or(_fallbacks(input_.fallback), default=()),
        use_cache=_given_or(input_.use_cache, default=False),
        notion_parent_id=_given(notion.parent_id),
        notion_auto_publish=_given_or(notion.auto_publish, default=False),
        notion_property_map=_given_or(notion.property_map, default=_nothing()),
        notion_create_options=_given_or(notion.create_options, default=True),
        retention_days=_given(input_.retention_days),
        ui_preferences=_given_or(input_.ui_preferences, default=_nothing()),
    )
    context = info.context
    return await context.services.settings.update(context.require_viewer(), change, client=context.client)


def _fallbacks(given: list[FallbackInput] | None) -> tuple[Fallback, ...] | None:
    return given if given is UNSET or given is None else tuple(each.to_domain() for each in given)


def _given(value: T) -> T | UnsetType:
    return UNCHANGED if value is UNSET else value


def _given_or(value: T | None, *, default: T) -> T | UnsetType:
    """The value; `default` for null."""
    if value is UNSET:
        return UNCHANGED
    return default if value is None else value


def _nothing() -> Mapping[str, object]:
    return {}
