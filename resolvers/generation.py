"""Generations: started, watched, read, repeated, cancelled and deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Annotated

import strawberry

from domain.account import Scope
from domain.errors import InvalidInput, NotFound
from domain.generation import Generation, Transcript
from domain.generation_feed import GenerationEvent
from domain.generation_service import GenerateContent
from domain.provider import Parameters, ReasoningEffort
from domain.provider_attempt import ProviderAttempt
from domain.settings import Fallback
from resolvers import ids
from resolvers.context import Info
from resolvers.inputs import IdInput, IdsInput
from resolvers.publication import PublishOptionsInput

_MAX_IDS = 1_000  # the service has its own, lower bound; this one is against the work of decoding


@strawberry.input(description="How the model is to write; what is left out is left to the provider.")
class GenerationParametersInput:
    max_output_tokens: int | None = strawberry.field(default=None, description="The longest answer, in tokens.")
    temperature: float | None = strawberry.field(
        default=None, description="How freely it chooses its words, from 0 to 2; many models take none."
    )
    reasoning_effort: ReasoningEffort | None = strawberry.field(
        default=None, description="How long it may think before it answers."
    )
    stop_sequences: list[str] | None = strawberry.field(
        default=None, description="Up to four texts that end the answer when they come up."
    )

    def to_domain(self) -> Parameters:
        """As the services take it."""
        return Parameters(
            max_output_tokens=self.max_output_tokens,
            temperature=self.temperature,
            reasoning_effort=self.reasoning_effort,
            stop_sequences=tuple(self.stop_sequences or ()),
        )


@strawberry.input(description="A model to ask when others are out of order.")
class FallbackInput:
    provider: strawberry.ID = strawberry.field(description="Its provider.")
    model: str | None = strawberry.field(default=None, description="The model; else the provider's default.")

    def to_domain(self) -> Fallback:
        """As the services take it."""
        return Fallback(provider_id=self.provider, model=self.model)


@strawberry.input(description="What to write.")
class GenerateContentInput:
    prompt: str = strawberry.field(description="What is asked.")
    provider: strawberry.ID | None = strawberry.field(
        default=None, description="The provider; else the settings' default, else the first that can be used."
    )
    model: str | None = strawberry.field(default=None, description="The model; else the provider's default.")
    system_prompt: str | None = strawberry.field(
        default=None, description="Instructions that come before the prompt; else the settings', else the server's."
    )
    parameters: GenerationParametersInput | None = strawberry.field(
        default=None, description="How the model is to write."
    )
    fallback: list[FallbackInput] | None = strawberry.field(
        default=None,
        description="Up to four models that are asked, in this order, when the provider is overloaded or out of order "
        "before anything of the answer was shown; an empty list is none; else the settings'.",
    )
    use_cache: bool | None = strawberry.field(
        default=None,
        description="Take the answer that the very same request had before, if it is still kept, at once and at no "
        "cost; null leaves it to the settings.",
    )
    publish: PublishOptionsInput | None = strawberry.field(
        default=None, description="Put the answer into Notion when it is complete."
    )
    wait: bool = strawberry.field(
        default=False, description="Answer when the generation has ended and, if it is published, its page is settled."
    )
    idempotency_key: str | None = strawberry.field(
        default=None,
        description="For 24 hours, the same key with the same input gives the same generation, never a second one.",
    )


@strawberry.input(description="What to ask again.")
class RegenerateInput:
    id: strawberry.ID = strawberry.field(description="The generation to repeat.")
    provider: strawberry.ID | None = strawberry.field(default=None, description="Another provider.")
    model: str | None = strawberry.field(default=None, description="Another model.")
    idempotency_key: str | None = strawberry.field(
        default=None,
        description="For 24 hours, the same key with the same input gives the same generation, never a second one.",
    )


async def generate_content(
    info: Info, input_: Annotated[GenerateContentInput, strawberry.argument(name="input", description="What to write.")]
) -> Generation:
    """Starts a generation; with `wait`, answers when it has ended."""
    viewer = info.context.require_viewer()
    if input_.publish is not None:
        viewer.require_scope(Scope.PUBLISH)
    generations = info.context.services.generations
    request = GenerateContent(
        prompt=input_.prompt,
        provider_id=input_.provider,
        model=input_.model,
        system_prompt=input_.system_prompt,
        parameters=Parameters() if input_.parameters is None else input_.parameters.to_domain(),
        fallback=None if input_.fallback is None else tuple(each.to_domain() for each in input_.fallback),
        use_cache=input_.use_cache,
        publish=None if input_.publish is None else input_.publish.to_domain(),
        idempotency_key=input_.idempotency_key,
    )
    generation = await generations.start(viewer, request)
    return await generations.wait(viewer, generation.id) if input_.wait else generation


async def regenerate(
    info: Info, input_: Annotated[RegenerateInput, strawberry.argument(name="input", description="What to repeat.")]
) -> Generation:
    """Asks the same again."""
    viewer = info.context.require_viewer()
    return await info.context.services.generations.regenerate(
        viewer,
        ids.decode_as(ids.NodeType.GENERATION, input_.id),
        provider_id=input_.provider,
        model=input_.model,
        idempotency_key=input_.idempotency_key,
    )


async def cancel_generation(
    info: Info, input_: Annotated[IdInput, strawberry.argument(name="input", description="The generation to stop.")]
) -> Generation:
    """Stops a generation."""
    viewer = info.context.require_viewer()
    generation_id = ids.decode_as(ids.NodeType.GENERATION, input_.id)
    return await info.context.services.generations.cancel(viewer, generation_id)


async def delete_generations(
    info: Info, input_: Annotated[IdsInput, strawberry.argument(name="input", description="The generations to delete.")]
) -> Sequence[str]:
    """Deletes generations; answers the ids of those deleted."""
    viewer = info.context.require_viewer()
    if len(input_.ids) > _MAX_IDS:
        raise InvalidInput(f"These are {len(input_.ids):,} ids, far too many.", field=("ids",))
    decoded = [ids.decode(each, field=("ids", str(index))) for index, each in enumerate(input_.ids)]
    # An id of something else is like one of nobody's generation: nothing is deleted for it.
    wanted = [each.id for each in decoded if each.type is ids.NodeType.GENERATION]
    if not wanted and decoded:
        return []
    deleted = await info.context.services.generations.delete(viewer, wanted, client=info.context.client)
    return [ids.encode(ids.NodeType.GENERATION, each) for each in deleted]


async def generation(
    info: Info, id_: Annotated[strawberry.ID, strawberry.argument(name="id", description="The generation's id.")]
) -> Generation | None:
    """The viewer's generation of this id."""
    viewer = info.context.require_viewer()
    found = ids.decode(id_)
    if found.type is not ids.NodeType.GENERATION:
        return None
    return await info.context.services.generations.find(viewer, found.id)


def generation_events(
    info: Info,
    id_: Annotated[strawberry.ID, strawberry.argument(name="id", description="The generation to watch.")],
    after: Annotated[
        str | None, strawberry.argument(description="A cursor of this generation: only what follows it is told.")
    ] = None,
) -> AsyncIterator[GenerationEvent]:
    """What happens to a generation from a cursor on."""
    viewer = info.context.require_viewer()
    generation_id = ids.decode_as(ids.NodeType.GENERATION, id_)
    return info.context.services.generations.watch(viewer, generation_id, after=after)


async def prompt(info: Info, root: strawberry.Parent[Generation]) -> str:
    """What was asked."""
    return (await _transcript(info, root)).prompt


async def system_prompt(info: Info, root: strawberry.Parent[Generation]) -> str | None:
    """The instructions before it."""
    return (await _transcript(info, root)).system_prompt


async def content(info: Info, root: strawberry.Parent[Generation]) -> str:
    """What has been written."""
    return (await _transcript(info, root)).content


async def reasoning(info: Info, root: strawberry.Parent[Generation]) -> str | None:
    """What the model has shown of its thinking; null when that is nothing."""
    return (await _transcript(info, root)).reasoning or None


async def attempts(info: Info, root: strawberry.Parent[Generation]) -> Sequence[ProviderAttempt]:
    """The calls to providers that were made for it."""
    return await info.context.loaders.attempts.load(root.id) or ()


async def queue_position(info: Info, root: strawberry.Parent[Generation]) -> int | None:
    """Where it stands in line."""
    return await info.context.services.generations.queue_position(root)


async def parent(info: Info, root: strawberry.Parent[Generation]) -> Generation | None:
    """What it repeats."""
    return None if root.parent_id is None else await info.context.loaders.generations.load(root.parent_id)


async def _transcript(info: Info, generation: Generation) -> Transcript:
    transcript = await info.context.loaders.transcripts.load(generation.id)
    if transcript is None:
        raise NotFound("The generation has been deleted.")
    return transcript
