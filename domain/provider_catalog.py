"""Which providers and models a person can use, with whose key, and which one a request means."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from domain.account import Viewer
from domain.cipher import Cipher, api_key_place
from domain.errors import AssistantError, InvalidInput, ProviderFailed, ProviderFailureReason
from domain.model_families import completed
from domain.model_override import overridden
from domain.pricing import Pricing
from domain.provider import (
    DEMO_PROVIDER_ID,
    Model,
    ModelRef,
    Provider,
    ProviderAdapter,
    ProviderKind,
)
from domain.secret import Secret
from domain.settings import UserSettings
from domain.store import Store, Transaction

_log = logging.getLogger(__name__)

MODELS_TTL = timedelta(hours=1)
MODELS_FAILURE_TTL = timedelta(minutes=1)
MODELS_TIMEOUT_SECONDS = 10.0
MAX_CACHED_LISTS = 256
# A key is used many times a minute, and its row is not written as often.
USE_NOTED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedProvider:
    """A provider as one person sees it."""

    provider: Provider
    is_available: bool
    unavailable_reason: str | None
    models: tuple[Model, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a request is to be sent to."""

    provider: Provider
    model: Model

    @property
    def ref(self) -> ModelRef:
        """By their ids."""
        return ModelRef(provider_id=self.provider.id, model=self.model.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ModelList:
    """As the endpoint tells them; what an administrator may change at any time is added when they are shown."""

    models: tuple[Model, ...]
    is_from_provider: bool
    expires_at: datetime


class ProviderCatalog:
    """Providers, their models, and the keys that open them: a user's own key wins over the server's."""

    def __init__(
        self,
        *,
        store: Store,
        adapters: Mapping[ProviderKind, ProviderAdapter],
        server_keys: Mapping[str, Secret],
        cipher: Cipher,
        pricing: Pricing,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._adapters = adapters
        self._server_keys = server_keys
        self._cipher = cipher
        self._pricing = pricing
        self._clock = clock
        # By all that an administrator may change.
        self._model_lists: dict[tuple[str, str | None, tuple[Model, ...], bytes], _ModelList] = {}

    def adapter_of(self, provider: Provider) -> ProviderAdapter:
        """Who talks to it."""
        return self._adapters[provider.kind]

    async def warm_up(self) -> None:
        """Has the adapters load what takes them seconds, one after the other: those that somebody can use."""
        async with self._store.begin() as tx:
            providers = await tx.providers.list_active()
            with_a_key = await tx.api_keys.list_usable_providers(None, now=self._clock())
        kinds = {provider.kind for provider in self._usable(providers, with_a_key)}
        for kind in sorted(kinds):
            await self._adapters[kind].warm_up()
        _log.info("providers_warmed_up", extra={"kinds": sorted(kinds)})

    async def list_offered(self, viewer: Viewer) -> tuple[OfferedProvider, ...]:
        """Every active provider, the usable ones with the models that their own endpoint lists."""
        async with self._store.begin() as tx:
            providers, with_own_key = await self._read(tx, viewer)
        usable = self._usable(providers, with_own_key)
        async with asyncio.TaskGroup() as group:
            lists = {provider.id: group.create_task(self._models_for(viewer.user.id, provider)) for provider in usable}
        return tuple(
            OfferedProvider(
                provider=provider,
                is_available=provider in usable,
                unavailable_reason=None if provider in usable else _missing_key(provider),
                models=self._completed(provider, lists[provider.id].result().models)
                if provider in usable
                else self._known(provider),
            )
            for provider in providers
            if provider.id != DEMO_PROVIDER_ID or provider in usable
        )

    async def find_provider(self, provider_id: str) -> Provider | None:
        """An active provider."""
        async with self._store.begin() as tx:
            providers = await tx.providers.list_active()
        return next((provider for provider in providers if provider.id == provider_id), None)

    async def choose(
        self, viewer: Viewer, settings: UserSettings, *, provider_id: str | None, model_id: str | None
    ) -> Choice:
        """The provider and model that a request means: what it names, else the settings, else the first usable.

        Raises InvalidInput with field ("provider",) or ("model",) for one that is unknown or has no key.
        """
        async with self._store.begin() as tx:
            providers, with_own_key = await self._read(tx, viewer)
        usable = self._usable(providers, with_own_key)
        if provider_id is None and model_id is not None:
            return await self._choose_by_model(viewer, settings, usable, model_id)
        wanted_id = provider_id
        if wanted_id is None and any(provider.id == settings.default_provider for provider in usable):
            wanted_id = settings.default_provider
        if wanted_id is None:
            if not usable:
                raise InvalidInput("No provider can be used: add a key with addApiKey.", field=("provider",))
            wanted_id = usable[0].id
        provider = next((each for each in providers if each.id == wanted_id), None)
        if provider is None:
            known = ", ".join(each.id for each in usable)
            raise InvalidInput(f"There is no such provider; usable are: {known}.", field=("provider",))
        if provider not in usable:
            raise InvalidInput(_missing_key(provider), field=("provider",))
        if model_id is None and provider.id == settings.default_provider:
            model_id = settings.default_model
        return Choice(provider=provider, model=await self._choose_model(viewer, provider, model_id))

    def describe(self, provider: Provider, model_id: str) -> Model:
        """A model as far as it is known without asking anybody: nothing that only shows it may wait."""
        cached = (each.models for (provider_id, *_), each in self._model_lists.items() if provider_id == provider.id)
        for models in (provider.models, *cached):
            found = next((model for model in models if model.id == model_id), None)
            if found is not None:
                return self._completed(provider, (found,))[0]
        return self._completed(provider, (Model(id=model_id, name=model_id),))[0]

    async def check_choice(self, viewer: Viewer, provider_id: str, model_id: str | None) -> None:
        """Raises InvalidInput with field ("defaultProvider",) or ("defaultModel",) for what does not exist."""
        async with self._store.begin() as tx:
            providers, with_own_key = await self._read(tx, viewer)
        provider = next((each for each in providers if each.id == provider_id), None)
        if provider is None:
            raise InvalidInput("There is no such provider.", field=("defaultProvider",))
        if provider in self._usable(providers, with_own_key):
            try:
                await self._choose_model(viewer, provider, model_id)
            except InvalidInput as error:
                raise InvalidInput(error.message, field=("defaultModel",)) from error
        elif model_id is not None and all(model.id != model_id for model in provider.models):
            raise InvalidInput("There is no such model.", field=("defaultModel",))

    async def key_for(self, user_id: UUID, provider: Provider) -> Secret | None:
        """The key to use: the user's own, else the server's; None for the demo. Raises ProviderFailed when missing."""
        if provider.kind is ProviderKind.DEMO:
            return None
        now = self._clock()
        async with self._store.begin() as tx:
            own = await tx.api_keys.find_usable(user_id, provider.id, api_endpoint=provider.api_endpoint, now=now)
            if own is not None and (own[0].last_used_at is None or now - own[0].last_used_at >= USE_NOTED_EVERY):
                await tx.api_keys.mark_used(own[0].id, now=now)
        if own is not None:
            key, sealed = own
            return self._cipher.open(sealed, place=api_key_place(user_id, key.id))
        server_key = self._server_key(provider)
        if server_key is None and provider.requires_key:
            raise ProviderFailed(_missing_key(provider), reason=ProviderFailureReason.AUTHENTICATION, retryable=False)
        return server_key

    def _server_key(self, provider: Provider) -> Secret | None:
        """The operator's key, which goes nowhere but to the provider that the configuration names it for."""
        is_built_in = provider.kind is not ProviderKind.COMPATIBLE
        return self._server_keys.get(provider.id) if is_built_in else None

    async def _read(self, tx: Transaction, viewer: Viewer) -> tuple[tuple[Provider, ...], frozenset[str]]:
        return (
            await tx.providers.list_active(),
            await tx.api_keys.list_usable_providers(viewer.user.id, now=self._clock()),
        )

    def _usable(self, providers: tuple[Provider, ...], with_own_key: frozenset[str]) -> tuple[Provider, ...]:
        real = tuple(
            provider
            for provider in providers
            if provider.kind is not ProviderKind.DEMO
            and (not provider.requires_key or self._server_key(provider) is not None or provider.id in with_own_key)
        )
        # The demo stands in only for somebody who has nothing real.
        return real or tuple(provider for provider in providers if provider.kind is ProviderKind.DEMO)

    async def _choose_by_model(
        self, viewer: Viewer, settings: UserSettings, usable: tuple[Provider, ...], model_id: str
    ) -> Choice:
        for provider in sorted(usable, key=lambda each: each.id != settings.default_provider):
            models = (await self._models_for(viewer.user.id, provider)).models
            found = next((model for model in models if model.id == model_id), None)
            if found is not None:
                return Choice(provider=provider, model=self._completed(provider, (found,))[0])
        raise InvalidInput("No provider that you can use has this model.", field=("model",))

    async def _choose_model(self, viewer: Viewer, provider: Provider, model_id: str | None) -> Model:
        model_id = model_id or provider.default_model
        if model_id is None:
            models = provider.models or (await self._models_for(viewer.user.id, provider)).models
            if not models:
                raise InvalidInput(f"Name a model: {provider.name} does not tell which it has.", field=("model",))
            return self._completed(provider, models[:1])[0]
        found = next((model for model in provider.models if model.id == model_id), None)
        if found is None:
            listed = await self._models_for(viewer.user.id, provider)
            found = next((model for model in listed.models if model.id == model_id), None)
            if found is None and listed.is_from_provider:
                raise InvalidInput(f"{provider.name} has no such model.", field=("model",))
        # If its list cannot be had just now, the provider itself will say whether it knows the model.
        return self._completed(provider, (found or Model(id=model_id, name=model_id),))[0]

    async def _models_for(self, user_id: UUID, provider: Provider) -> _ModelList:
        if provider.kind is ProviderKind.DEMO:
            return _ModelList(models=provider.models, is_from_provider=True, expires_at=self._clock())
        try:
            key = await self.key_for(user_id, provider)
        except AssistantError:
            return _ModelList(models=provider.models, is_from_provider=False, expires_at=self._clock())
        # One key's list is never shown for another: what a key may use differs.
        fingerprint = hashlib.sha256(b"" if key is None else key.reveal().encode()).digest()
        cache_key = (provider.id, provider.api_endpoint, provider.models, fingerprint)
        cached = self._model_lists.get(cache_key)
        if cached is not None and cached.expires_at > self._clock():
            return cached
        fetched = await self._fetch_models(provider, key)
        while len(self._model_lists) >= MAX_CACHED_LISTS:
            self._model_lists.pop(next(iter(self._model_lists)))
        self._model_lists[cache_key] = fetched
        return fetched

    async def ask_for_models(self, provider: Provider, key: Secret | None) -> tuple[Model, ...]:
        """What its own endpoint lists now. Raises ProviderFailed."""
        try:
            async with asyncio.timeout(MODELS_TIMEOUT_SECONDS):
                return await self._adapters[provider.kind].models(provider, key)
        except TimeoutError:
            pass
        raise ProviderFailed(
            f"{provider.name} did not answer within {MODELS_TIMEOUT_SECONDS:g} s. Try again.",
            reason=ProviderFailureReason.TIMEOUT,
            retryable=True,
        )

    async def _fetch_models(self, provider: Provider, key: Secret | None) -> _ModelList:
        try:
            models = await self.ask_for_models(provider, key)
        except ProviderFailed as error:
            _log.warning("model_list_failed", extra={"provider": provider.id, "reason": error.reason})
            return _ModelList(
                models=provider.models,
                is_from_provider=False,
                expires_at=self._clock() + MODELS_FAILURE_TTL,
            )
        return _ModelList(
            models=models,
            is_from_provider=True,
            expires_at=self._clock() + MODELS_TTL,
        )

    def _known(self, provider: Provider) -> tuple[Model, ...]:
        return self._completed(provider, provider.models)

    def _completed(self, provider: Provider, models: tuple[Model, ...]) -> tuple[Model, ...]:
        """The models with what else is known of them: what they take, and what they cost."""
        found = []
        for model in models:
            input_price, output_price = self._pricing.price_of(provider, model.id)
            known = overridden(provider, completed(provider.kind, model))
            found.append(replace(known, input_price=input_price, output_price=output_price))
        return tuple(found)


def _missing_key(provider: Provider) -> str:
    if provider.kind is ProviderKind.DEMO:
        return "The demo writes only where no real provider has a key: choose another provider."
    if provider.kind is ProviderKind.COMPATIBLE:
        return f"There is no key for {provider.name}: add yours with addApiKey."
    return (
        f"There is no key for {provider.name}: add yours with addApiKey, "
        f"or have the administrator set {provider.kind.name}_API_KEY."
    )
