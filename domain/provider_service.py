"""What administrators do with providers: endpoints of their own added, changed, switched off and removed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar
from urllib.parse import urlsplit

from domain.account import Client, Viewer
from domain.audit import AuditAction, AuditEvent
from domain.errors import Conflict, InvalidInput, NotFound
from domain.model_override import ModelOverrideChange, audited, changed_config
from domain.provider import EndpointGuard, Model, Provider, ProviderKind
from domain.store import Store
from domain.text import checked_text
from domain.unset import UNSET, UnsetType

T = TypeVar("T")

MAX_PROVIDERS: Final = 100
MAX_MODELS: Final = 200
MAX_NAME_CHARS: Final = 200
MAX_MODEL_ID_CHARS: Final = 200
MAX_URL_CHARS: Final = 2000
MAX_TOKENS: Final = 2**31 - 1
_ID: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderChange:
    """What is to be another; `models` replace what is known of them, an empty list leaves it to the endpoint.

    `model_overrides` change what is said of the models that they name; the others' stay.
    """

    name: str | UnsetType = UNSET
    base_url: str | UnsetType = UNSET
    models: tuple[Model, ...] | UnsetType = UNSET
    default_model: str | UnsetType | None = UNSET
    requires_key: bool | UnsetType = UNSET
    model_overrides: tuple[ModelOverrideChange, ...] | UnsetType = UNSET
    is_active: bool | UnsetType = UNSET


class ProviderService:
    """The providers as administrators see them. Who calls has checked that the viewer is one."""

    def __init__(self, *, store: Store, guard: EndpointGuard) -> None:
        self._store = store
        self._guard = guard

    async def list_all(self) -> tuple[Provider, ...]:
        """In the order in which they are offered, with those that are switched off."""
        async with self._store.begin() as tx:
            return await tx.providers.list_all()

    async def add(
        self, viewer: Viewer, *, provider_id: str, name: str, base_url: str, change: ProviderChange, client: Client
    ) -> Provider:
        """Adds an endpoint that speaks OpenAI's Chat Completions. Raises InvalidInput, and Conflict for a taken id."""
        if _ID.fullmatch(provider_id) is None:
            raise InvalidInput("An id has 1 to 40 small letters, digits, and dashes between them.", field=("id",))
        change = replace(change, name=name, base_url=base_url)
        empty = Provider(
            id=provider_id,
            kind=ProviderKind.COMPATIBLE,
            name="",
            api_endpoint=None,
            models=(),
            config={},
            is_active=True,
        )
        provider = _changed(empty, change)
        await self._check_reachable(provider)
        async with self._store.begin() as tx:
            if len(await tx.providers.list_all()) >= MAX_PROVIDERS:
                raise Conflict(f"There are {MAX_PROVIDERS} providers already: remove one first.")
            await tx.providers.add(provider)
            details = {"base_url": provider.api_endpoint, **_audited_overrides(change)}
            await tx.audit.append(_event(AuditAction.PROVIDER_ADDED, viewer, provider, client, details))
        return provider

    async def update(self, viewer: Viewer, provider_id: str, change: ProviderChange, *, client: Client) -> Provider:
        """Changes all that is given, or nothing. A changed endpoint clears every key that is stored for it.

        Raises NotFound and InvalidInput.
        """
        async with self._store.begin() as tx:
            seen = await tx.providers.find_for_share(provider_id)
        before = _found(seen)
        after = _changed(before, change)
        if after.api_endpoint != before.api_endpoint:
            await self._check_reachable(after)
        async with self._store.begin() as tx:
            # Applied anew inside the transaction: another change may have come in between.
            before = _found(await tx.providers.find_for_update(provider_id))
            after = _changed(before, change)
            await tx.providers.update(after)
            details: dict[str, object] = {
                "changed": [name for name in ProviderChange.__slots__ if getattr(change, name) is not UNSET],
                **_audited_overrides(change),
            }
            if after.api_endpoint != before.api_endpoint:
                # Nobody's key may reach a server that they have not given it to.
                details["keys_removed"] = await tx.api_keys.remove_all_of(provider_id)
                details |= {"base_url": after.api_endpoint, "base_url_before": before.api_endpoint}
            await tx.audit.append(_event(AuditAction.PROVIDER_UPDATED, viewer, after, client, details))
        return after

    async def remove(self, viewer: Viewer, provider_id: str, *, client: Client) -> str:
        """Deletes an endpoint and every key that is stored for it; answers its id. Raises NotFound and Conflict."""
        async with self._store.begin() as tx:
            provider = _found(await tx.providers.find_for_update(provider_id))
            if provider.kind is not ProviderKind.COMPATIBLE:
                raise Conflict(f"{provider.name} is built in. It can be switched off: updateProvider(isActive: false).")
            keys_removed = await tx.api_keys.remove_all_of(provider_id)
            if not await tx.providers.remove(provider_id):
                raise Conflict(
                    f"{provider.name} is named in people's histories, so it stays. It can be switched off: "
                    "updateProvider(isActive: false)."
                )
            details = {"base_url": provider.api_endpoint, "keys_removed": keys_removed}
            await tx.audit.append(_event(AuditAction.PROVIDER_REMOVED, viewer, provider, client, details))
        return provider_id

    async def _check_reachable(self, provider: Provider) -> None:
        objection = await self._guard.find_objection(provider.api_endpoint or "")
        if objection is not None:
            raise InvalidInput(objection, field=("baseUrl",))


def _changed(provider: Provider, change: ProviderChange) -> Provider:
    """The provider with the change. Raises InvalidInput for what breaks a rule."""
    is_built_in = provider.kind is not ProviderKind.COMPATIBLE
    if is_built_in and change.base_url is not UNSET:
        raise InvalidInput(
            f"The address of {provider.name} is a matter of the server's configuration. Add an endpoint of its own "
            "with addProvider.",
            field=("baseUrl",),
        )
    if is_built_in and change.requires_key is not UNSET:
        raise InvalidInput(f"Whether {provider.name} takes a key is not a matter of choice.", field=("requiresKey",))
    if provider.kind is ProviderKind.DEMO and change.models is not UNSET:
        raise InvalidInput("The demo has the one model that it has.", field=("models",))
    config = dict(provider.config)
    if change.default_model is not UNSET:
        config["default_model"] = _checked_default_model(change.default_model)
    if change.requires_key is not UNSET:
        config["requires_key"] = change.requires_key
    if change.model_overrides is not UNSET:
        config = _with_overrides(provider.kind, config, change.model_overrides)
    return replace(
        provider,
        name=_checked_name(change.name) if change.name is not UNSET else provider.name,
        api_endpoint=_checked_url(change.base_url) if change.base_url is not UNSET else provider.api_endpoint,
        models=_checked_models(change.models) if change.models is not UNSET else provider.models,
        config={name: value for name, value in config.items() if value is not None},
        is_active=change.is_active if change.is_active is not UNSET else provider.is_active,
    )


def _with_overrides(
    kind: ProviderKind, config: Mapping[str, object], changes: tuple[ModelOverrideChange, ...]
) -> dict[str, object]:
    for place, each in enumerate(changes):
        _checked_model_id(each.model_id, field=("modelOverrides", str(place), "model"))
    return changed_config(kind, config, changes, field="modelOverrides")


def _audited_overrides(change: ProviderChange) -> dict[str, object]:
    if change.model_overrides is UNSET or not change.model_overrides:
        return {}
    return {"model_overrides": audited(change.model_overrides)}


def _checked_name(name: str) -> str:
    name = name.strip()
    if not name or not name.isprintable():
        raise InvalidInput("A name is a line of visible characters.", field=("name",))
    return checked_text(name, field=("name",), max_chars=MAX_NAME_CHARS)


def _checked_default_model(model_id: str | None) -> str | None:
    return None if model_id is None else _checked_model_id(model_id, field=("defaultModel",))


def _checked_model_id(model_id: str, *, field: tuple[str, ...]) -> str:
    if not model_id or not model_id.isprintable() or model_id != model_id.strip():
        raise InvalidInput("A model's name is a line of visible characters.", field=field)
    return checked_text(model_id, field=field, max_chars=MAX_MODEL_ID_CHARS)


def _checked_models(models: Sequence[Model]) -> tuple[Model, ...]:
    if len(models) > MAX_MODELS:
        raise InvalidInput(f"At most {MAX_MODELS} models can be described.", field=("models",))
    for place, model in enumerate(models):
        path = ("models", str(place))
        _checked_model_id(model.id, field=(*path, "id"))
        checked_text(model.name, field=(*path, "name"), max_chars=MAX_NAME_CHARS)
        for name, size in (("contextWindow", model.context_window), ("maxOutputTokens", model.max_output_tokens)):
            if size is not None and not 1 <= size <= MAX_TOKENS:
                raise InvalidInput("This is 1 or more.", field=(*path, name))
    if len({model.id for model in models}) < len(models):
        raise InvalidInput("Every model is described once.", field=("models",))
    return tuple(models)


def _checked_url(url: str) -> str:
    """The endpoint's address without a slash at its end. Raises InvalidInput for what is none."""
    expected = "Expected an address such as https://llm.example.com/v1, without user, query or fragment."
    url = url.strip()
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise InvalidInput(expected, field=("baseUrl",)) from error
    if not is_address or parts.username is not None or parts.query or parts.fragment or "?" in url or "#" in url:
        raise InvalidInput(expected, field=("baseUrl",))
    if len(url) > MAX_URL_CHARS or re.fullmatch(r"[\x21-\x5b\x5d-\x7e]+", url) is None:
        raise InvalidInput(expected, field=("baseUrl",))
    return url.rstrip("/")


def _found(provider: Provider | None) -> Provider:
    if provider is None:
        raise NotFound("There is no such provider.", field=("id",))
    return provider


def _event(
    action: AuditAction, viewer: Viewer, provider: Provider, client: Client, details: Mapping[str, object]
) -> AuditEvent:
    return AuditEvent(
        action=action, actor_id=viewer.user.id, target=f"provider:{provider.id}", ip=client.ip, details=details
    )
