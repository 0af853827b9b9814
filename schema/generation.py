"""A generation, and what happens to it while it is watched."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated

import strawberry

from domain import generation as domain
from domain import generation_feed as feed
from domain.generation import GenerationStatus
from domain.provider_attempt import AttemptStatus
from resolvers import generation as resolve
from resolvers.provider import model_of, provider_of
from resolvers.publication import publication_of
from resolvers.scalars import JSONObject
from schema.access import OWNER, OWNER_READS
from schema.node import Node
from schema.payload import error_field
from schema.provider import Model, Provider
from schema.publication import Publication


@strawberry.type(description="Tokens as billed.")
class TokenUsage:
    input_tokens: int = strawberry.field(description="Tokens of the prompt, the cached ones included.")
    cached_input_tokens: int = strawberry.field(description="Tokens of the prompt that the provider knew already.")
    cache_write_tokens: int = strawberry.field(description="Tokens of the prompt that it has kept for the next time.")
    output_tokens: int = strawberry.field(description="Tokens of the answer, reasoning included.")
    reasoning_tokens: int = strawberry.field(description="Tokens of the model's thinking.")
    is_estimated: bool = strawberry.field(
        description="Whether some of these are worked out from the texts, because the provider has not told them, "
        "as of an answer that broke off or was stopped."
    )


@strawberry.type(description="A model that is asked when others fail.")
class FallbackModel:
    provider = strawberry.field(resolver=provider_of, graphql_type=Provider, description="Whose it is.")
    model = strawberry.field(resolver=model_of, graphql_type=Model, description="The model.")


@strawberry.type(description="One call to an AI provider for a generation.")
class ProviderAttempt:
    provider = strawberry.field(resolver=provider_of, graphql_type=Provider, description="Who was asked.")
    model = strawberry.field(resolver=model_of, graphql_type=Model, description="The model that was asked.")
    status: AttemptStatus = strawberry.field(description="How far it has come.")
    parameters: JSONObject = strawberry.field(
        description="What was really sent besides the texts, in the provider's own words."
    )
    started_at: datetime = strawberry.field(description="When it began.")
    finished_at: datetime | None = strawberry.field(description="When it ended.")
    duration_ms: int | None = strawberry.field(description="Milliseconds from its start to its end.")
    first_token_ms: int | None = strawberry.field(
        description="Milliseconds from its start to the first characters of answer or reasoning; null without any."
    )
    usage: TokenUsage | None = strawberry.field(description="Tokens as billed; null until it has ended.")
    cost: Decimal | None = strawberry.field(description="What it cost in USD; null when that is not known.")
    price_version: str | None = strawberry.field(description="The price list by which the cost was counted.")
    error = error_field(description="Why it has failed, or was not made, if so.")
    retry_at: datetime | None = strawberry.field(
        description="When the same model is asked again after this failure; null when it is not."
    )


@strawberry.type(
    description="One run of one request to an AI provider.",
    directives=[OWNER],
)
class Generation(Node):
    status: GenerationStatus = strawberry.field(description="How far it has come.")
    queue_position = strawberry.field(
        resolver=resolve.queue_position,
        graphql_type=int | None,
        description="Where it stands in line while it is QUEUED: 1 is next; null otherwise.",
    )
    prompt = strawberry.field(resolver=resolve.prompt, graphql_type=str, description="What was asked.")
    system_prompt = strawberry.field(
        resolver=resolve.system_prompt, graphql_type=str | None, description="The instructions before the prompt."
    )
    content = strawberry.field(
        resolver=resolve.content, graphql_type=str, description="What has been written so far, in Markdown."
    )
    reasoning = strawberry.field(
        resolver=resolve.reasoning,
        graphql_type=str | None,
        description="What the model has shown of its thinking; it is not part of the answer.",
    )
    provider = strawberry.field(
        resolver=provider_of, graphql_type=Provider, description="The provider that was asked for."
    )
    model = strawberry.field(resolver=model_of, graphql_type=Model, description="The model that was asked for.")
    fallback: list[FallbackModel] = strawberry.field(
        description="The models that are asked, in this order, when the provider is overloaded or out of order before "
        "anything of the answer was shown; `attempts` tell who has answered."
    )
    parameters: JSONObject = strawberry.field(
        description="The parameters as asked for; `attempts` tell what was really sent."
    )
    usage: TokenUsage | None = strawberry.field(
        description="Tokens as billed, of all attempts together; null until one has ended."
    )
    cost: Decimal | None = strawberry.field(
        description="What it cost in USD, all attempts together; null until one has ended, and when the cost of any is "
        "not known."
    )
    is_cached: bool = strawberry.field(
        description="Whether it is the answer that the very same request had before: no provider was asked."
    )
    finish_reason: str | None = strawberry.field(
        description="Why the answer ended: `stop`, `length` or `refusal`; null when it did not end properly."
    )
    error = error_field(description="Why it has failed, if it has.")
    attempts = strawberry.field(
        resolver=resolve.attempts,
        graphql_type=list[ProviderAttempt],
        description="Every call to a provider that was made for it, in their order.",
    )
    publication = strawberry.field(
        resolver=publication_of,
        graphql_type=Publication | None,
        description="How its page in Notion is doing; null when none is wanted.",
    )
    parent = strawberry.field(
        resolver=resolve.parent,
        graphql_type=Annotated["Generation", strawberry.lazy("schema.generation")] | None,
        directives=[OWNER_READS],
        description="The generation that it repeats, if that still exists.",
    )
    created_at: datetime = strawberry.field(description="When it was asked for.")
    started_at: datetime | None = strawberry.field(description="When its run began.")
    finished_at: datetime | None = strawberry.field(description="When it ended.")

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        """Called by GraphQL to tell nodes apart."""
        return isinstance(value, domain.Generation)


@strawberry.interface(description="What all events have.")
class Positioned:
    cursor: str = strawberry.field(
        description="The position after this event. Give it as `after` to go on from here, in another connection too."
    )


@strawberry.type(description="The answer's next characters.")
class GenerationText(Positioned):
    text: str = strawberry.field(description="To be appended to what was shown.")

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        """Called by GraphQL to tell events apart."""
        return isinstance(value, feed.TextAdded)


@strawberry.type(description="The next characters of the model's thinking, which is not part of the answer.")
class GenerationReasoning(Positioned):
    text: str = strawberry.field(description="To be appended to what was shown of it.")

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        """Called by GraphQL to tell events apart."""
        return isinstance(value, feed.ReasoningAdded)


@strawberry.type(
    description="A call to a provider has failed, or was not made, before anything of the answer was shown, and "
    "another follows: of the same model at `attempt.retryAt`, or else, at once, of the next of `Generation.fallback`. "
    "Who connects again with a cursor is told of no call twice."
)
class GenerationAttemptFailed(Positioned):
    attempt: ProviderAttempt = strawberry.field(description="The call, with why it has failed.")

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        """Called by GraphQL to tell events apart."""
        return isinstance(value, feed.CallFailed)


@strawberry.type(description="Everything shown so far is void; the text begins anew.")
class GenerationRestarted(Positioned):
    reason: str = strawberry.field(description="Why.")

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        """Called by GraphQL to tell events apart."""
        return isinstance(value, feed.Restarted)


@strawberry.type(description="The page in Notion has come one step further.")
class PublicationChanged(Positioned):
    publication: Publication = strawberry.field(description="The publication as it is now.")

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        """Called by GraphQL to tell events apart."""
        return isinstance(value, feed.PublicationChanged)


@strawberry.type(description="The generation has ended. If it is published, its publication's events follow.")
class GenerationFinished(Positioned):
    generation: Generation = strawberry.field(description="The generation as it ended.")

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        """Called by GraphQL to tell events apart."""
        return isinstance(value, feed.Finished)


GenerationEvent = Annotated[
    GenerationText
    | GenerationReasoning
    | GenerationAttemptFailed
    | GenerationRestarted
    | PublicationChanged
    | GenerationFinished,
    strawberry.union("GenerationEvent", description="Something that happens to a generation."),
]
