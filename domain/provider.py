"""An AI provider and its models, the narrow port to it, and the keys that open it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol, Self, TypeAlias
from uuid import UUID

from domain.cipher import Sealed
from domain.secret import Secret

DEMO_PROVIDER_ID = "demo"


class ProviderKind(StrEnum):
    """Which protocol the provider speaks, and so which adapter talks to it."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    DEEPSEEK = "deepseek"
    COMPATIBLE = "compatible"  # an endpoint that an administrator has added; it speaks OpenAI's Chat Completions
    DEMO = "demo"


class ModelParameter(StrEnum):
    """A knob that a model may take."""

    MAX_OUTPUT_TOKENS = "MAX_OUTPUT_TOKENS"
    TEMPERATURE = "TEMPERATURE"
    REASONING_EFFORT = "REASONING_EFFORT"
    STOP_SEQUENCES = "STOP_SEQUENCES"


class ReasoningEffort(StrEnum):
    """How long a model may think before it answers."""

    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class FinishReason(StrEnum):
    """Why a provider's stream came to its proper end."""

    STOP = "stop"
    LENGTH = "length"
    REFUSAL = "refusal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """An offering of a provider; sizes in tokens, prices in USD per million tokens; what is not known is None."""

    id: str
    name: str
    context_window: int | None = None
    max_output_tokens: int | None = None
    parameters: frozenset[ModelParameter] = frozenset()
    input_price: Decimal | None = None
    output_price: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """An AI service as the administrator has set it up; `models` are offered before its own endpoint was asked."""

    id: str
    kind: ProviderKind
    name: str
    api_endpoint: str | None
    models: tuple[Model, ...]
    config: Mapping[str, object]
    is_active: bool

    @property
    def default_model(self) -> str | None:
        """The model of a request that names none; without it, the first that is offered."""
        chosen = self.config.get("default_model")
        return chosen if isinstance(chosen, str) else None

    @property
    def requires_key(self) -> bool:
        """Whether nobody gets in without a key."""
        return self.config.get("requires_key") is not False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """A model of a provider, by their ids."""

    provider_id: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What the caller may set; None leaves it to the provider."""

    max_output_tokens: int | None = None
    temperature: float | None = None
    reasoning_effort: ReasoningEffort | None = None
    stop_sequences: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """What is given, as it is stored."""
        given = {name: getattr(self, name) for name in Parameters.__slots__}
        return {name: value for name, value in given.items() if value is not None and value != ()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The inverse of `as_json`."""
        effort = stored.get("reasoning_effort")
        return cls(
            max_output_tokens=stored.get("max_output_tokens"),
            temperature=stored.get("temperature"),
            reasoning_effort=None if effort is None else ReasoningEffort(effort),
            stop_sequences=tuple(stored.get("stop_sequences", ())),
        )


def _nobody_asks(_: Mapping[str, object]) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRequest:
    """Everything that a provider is told.

    `on_sent` is called with the parameters as they are sent, in the provider's own words, before each request that the
    adapter makes of it.
    """

    model: Model
    prompt: str
    system_prompt: str | None = None
    parameters: Parameters = field(default_factory=Parameters)
    on_sent: Callable[[Mapping[str, object]], None] = field(default=_nobody_asks, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens as billed: `input_tokens` includes the cached ones, `output_tokens` includes reasoning.

    `is_estimated`: the provider has not told all of them, so these are in part what the texts are likely to have.
    """

    input_tokens: int
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int
    reasoning_tokens: int = 0
    is_estimated: bool = False


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The answer's next characters."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """The next characters of the model's thinking, which is not part of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class UsageReport:
    """The tokens so far; a later report replaces an earlier one."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class Finish:
    """The provider's own word that the answer is whole; a stream that ends without it was truncated."""

    reason: FinishReason


StreamEvent: TypeAlias = TextDelta | ReasoningDelta | UsageReport | Finish


class ProviderAdapter(Protocol):
    """The narrow port to one protocol. Every failure is a ProviderFailed; no retries of its own."""

    async def warm_up(self) -> None:
        """Loads what takes seconds, beside the event loop; otherwise the first call does. Talks to nobody."""

    async def models(self, provider: Provider, key: Secret | None) -> tuple[Model, ...]:
        """What the provider's own endpoint lists for this key, text models only."""

    def stream(
        self, provider: Provider, key: Secret | None, request: ProviderRequest
    ) -> AbstractAsyncContextManager[AsyncIterator[StreamEvent]]:
        """Starts the answer; leaving the context closes the provider's stream."""


class Prices(Protocol):
    """What tokens cost."""

    def cost(self, provider_id: str, model: str, usage: Usage, *, at: datetime) -> Decimal | None:
        """In USD; None when the model's price is not known."""

    def price_of(self, provider_id: str, model: str) -> tuple[Decimal | None, Decimal | None]:
        """USD per million input and output tokens, as far as known."""

    @property
    def version(self) -> str:
        """Which price list this is, to be kept beside a cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A user's key at a provider; `hint` is its last four characters. Sealed at the place `api_key:{user_id}:{id}`."""

    id: UUID
    user_id: UUID
    provider_id: str
    hint: str
    is_active: bool
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class EndpointGuard(Protocol):
    """Where this server may send requests to."""

    async def find_objection(self, url: str) -> str | None:
        """Why this server would not talk to an endpoint, in a sentence; None when it would."""


class Providers(Protocol):
    """The providers that this server knows."""

    async def list_active(self) -> tuple[Provider, ...]:
        """In the order in which they are offered."""

    async def list_all(self) -> tuple[Provider, ...]:
        """The same with those that are switched off."""

    async def find_for_update(self, provider_id: str) -> Provider | None:
        """The provider, whether active or not, with its row locked until the transaction ends."""

    async def find_for_share(self, provider_id: str) -> Provider | None:
        """The provider, which nobody changes until the transaction ends."""

    async def add(self, provider: Provider) -> None:
        """Stores a new one, offered after all others. Raises Conflict with field ("id",) when the id is taken."""

    async def update(self, provider: Provider) -> None:
        """Stores what it is now."""

    async def remove(self, provider_id: str) -> bool:
        """Deletes it; False when somebody's history still names it."""


class ApiKeys(Protocol):
    """The users' own keys at providers."""

    async def add(self, key: ApiKey, *, sealed: Sealed) -> None:
        """Stores a new key."""

    async def list_of(self, user_id: UUID) -> tuple[ApiKey, ...]:
        """A user's keys, newest first."""

    async def find(self, user_id: UUID, key_id: UUID) -> tuple[ApiKey, Sealed] | None:
        """A user's key, usable or not."""

    async def find_usable(
        self, user_id: UUID, provider_id: str, *, api_endpoint: str | None, now: datetime
    ) -> tuple[ApiKey, Sealed] | None:
        """The newest active key that has not expired; none when the provider is at another endpoint by now."""

    async def list_usable_providers(self, user_id: UUID | None, *, now: datetime) -> frozenset[str]:
        """The providers for which the user, or without one anybody, has a usable key."""

    async def remove(self, user_id: UUID, key_id: UUID) -> bool:
        """Deletes it; False when the user has no such key."""

    async def remove_all_of(self, provider_id: str) -> int:
        """Deletes everybody's keys at a provider; answers how many."""

    async def update(self, key: ApiKey) -> None:
        """Stores whether it is active and when it expires."""

    async def mark_used(self, key_id: UUID, *, now: datetime) -> None:
        """Notes its use."""
