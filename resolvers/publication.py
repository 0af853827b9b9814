"""Publishing answers to Notion."""

from __future__ import annotations

from typing import Annotated

import strawberry

from domain.errors import InvalidInput
from domain.generation import Generation
from domain.publication import Publication, PublishMode
from domain.publication_draft import PublicationPreview, PublishOptions
from resolvers import ids
from resolvers.context import Info
from resolvers.scalars import JSONObject

PROPERTY_VALUES = (
    "Plain values: text, numbers, true or false, lists of names; null leaves a property empty. In texts {title}, "
    "{prompt}, {provider}, {model}, {createdAt}, {createdBy} and {generationId} stand for what they name; {{model}} is "
    "the word itself in braces."
)


@strawberry.input(description="Where a page goes and how; what is left out is taken from the settings.")
class PublishOptionsInput:
    parent: str | None = strawberry.field(
        default=None, description="The page, database or data source to put the page under, by its URL or id in Notion."
    )
    title: str | None = strawberry.field(default=None, description="The page's title; else the prompt's first line.")
    properties: JSONObject | None = strawberry.field(
        default=None, description=f"The page's properties in a data source, by name. {PROPERTY_VALUES}"
    )
    create_options: bool | None = strawberry.field(
        default=None, description="Whether a select or multi-select gets an option that it lacks; else it is an error."
    )

    mode: PublishMode = strawberry.field(
        default=PublishMode.CREATE,
        description="What becomes of the answer. To APPEND, `parent` is the page at whose end it is put; an UPDATE "
        "goes to the page that shows the answer, or the one it was regenerated from, and changes only what differs.",
    )
    overwrite: bool = strawberry.field(
        default=False, description="Whether an UPDATE also replaces what somebody has changed in Notion."
    )

    def to_domain(self) -> PublishOptions:
        """As the services take it."""
        return PublishOptions(
            parent=self.parent,
            title=self.title,
            properties=self.properties or {},
            create_options=self.create_options,
            mode=self.mode,
            overwrites=self.overwrite,
        )


@strawberry.input(
    description="What a person has found in Notion where it is not clear whether a page was made: exactly one of these."
)
class ResolveInput:
    page: str | None = strawberry.field(
        default=None, description="This is the page, by its URL or id in Notion; it lies where it was to be put."
    )
    create_anew: bool = strawberry.field(default=False, description="There is no such page: a new one is made.")

    def to_domain(self) -> str | None:
        """The page, or None for a new one. Raises InvalidInput."""
        if (self.page is None) is not self.create_anew:
            raise InvalidInput("Name the page, or have one made anew.", field=("resolve",))
        return self.page


@strawberry.input(description="An answer to publish.")
class PublishInput:
    generation_id: strawberry.ID = strawberry.field(description="The generation whose answer is published.")
    publish: PublishOptionsInput | None = strawberry.field(
        default=None, description="Where the page goes and how; what is left out is taken from the settings."
    )
    resolve: ResolveInput | None = strawberry.field(
        default=None,
        description="What has become of a publication that NEEDS_ATTENTION, which then goes on; in place of `publish`.",
    )


async def publish_to_notion(
    info: Info,
    input_: Annotated[PublishInput, strawberry.argument(name="input", description="What to publish, and where.")],
) -> Publication:
    """Queues the publication of an answer."""
    viewer = info.context.require_viewer()
    generation_id = ids.decode_as(ids.NodeType.GENERATION, input_.generation_id, field=("generationId",))
    service = info.context.services.publications
    if input_.resolve is not None:
        if input_.publish is not None:
            raise InvalidInput("It goes on as it was first asked for.", field=("publish",))
        return await service.resolve(viewer, generation_id, input_.resolve.to_domain())
    options = PublishOptions() if input_.publish is None else input_.publish.to_domain()
    return await service.publish(viewer, generation_id, options)


async def publication_of(info: Info, root: strawberry.Parent[Generation]) -> Publication | None:
    """How a generation's page is doing."""
    return await info.context.loaders.publications.load(root.id)


async def publication_preview(
    info: Info,
    generation_id: Annotated[strawberry.ID, strawberry.argument(description="The generation with the answer.")],
    publish: Annotated[
        PublishOptionsInput | None, strawberry.argument(description="As it would be given to publishToNotion.")
    ] = None,
) -> PublicationPreview:
    """What publishing an answer would do."""
    viewer = info.context.require_viewer()
    decoded_id = ids.decode_as(ids.NodeType.GENERATION, generation_id, field=("generationId",))
    options = PublishOptions() if publish is None else publish.to_domain()
    return await info.context.services.publications.preview(viewer, decoded_id, options)
