"""What administrators know better of single models than lists and families tell: their prices, and what they take.

It is kept in the `config` of the provider, by the model's exact id:
`{"prices": {"llama-4": {"input": "0.10", ...}}, "parameters": {"llama-4": ["TEMPERATURE"]}}`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from domain.errors import InvalidInput
from domain.pricing import PRICES, OwnPrice, check_own_prices, own_price
from domain.provider import Model, ModelParameter, Provider, ProviderKind
from domain.unset import UNSET, UnsetType

PARAMETERS: Final = "parameters"
MAX_OVERRIDES: Final = 200
MAX_PRICE_DECIMALS: Final = 9
# What a protocol, or its present adapter, has no word for: no model takes it, whatever is said of it.
_UNSPEAKABLE: Final[Mapping[ProviderKind, frozenset[ModelParameter]]] = {
    ProviderKind.OPENAI: frozenset({ModelParameter.STOP_SEQUENCES}),
    ProviderKind.ANTHROPIC: frozenset({ModelParameter.TEMPERATURE}),
    ProviderKind.DEMO: frozenset({ModelParameter.TEMPERATURE, ModelParameter.REASONING_EFFORT}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOverride:
    """What counts for one model; None is what is not overridden."""

    model_id: str
    price: OwnPrice | None = None
    parameters: frozenset[ModelParameter] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceChange:
    """A price to set, in USD per million tokens; cached and written input costs as much as plain, unless told."""

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOverrideChange:
    """What is to count for one model from now on; None takes back what was said before."""

    model_id: str
    price: PriceChange | UnsetType | None = UNSET
    parameters: tuple[ModelParameter, ...] | UnsetType | None = UNSET


def overrides_of(provider: Provider) -> tuple[ModelOverride, ...]:
    """All of a provider's, by the models' ids."""
    ids = {*_entries(provider.config, PRICES), *_entries(provider.config, PARAMETERS)}
    found = (
        ModelOverride(model_id=id_, price=own_price(provider, id_), parameters=_own_parameters(provider, id_))
        for id_ in sorted(ids)
    )
    return tuple(each for each in found if each.price is not None or each.parameters is not None)


def overridden(provider: Provider, model: Model) -> Model:
    """The model with the parameters that it takes by the administrator's word, if there is one."""
    parameters = _own_parameters(provider, model.id)
    return model if parameters is None else replace(model, parameters=parameters)


def changed_config(
    kind: ProviderKind, config: Mapping[str, object], changes: Sequence[ModelOverrideChange], *, field: str
) -> dict[str, object]:
    """The `config` with the changes. Raises InvalidInput, whose field begins with `field` and the change's place."""
    if len({change.model_id for change in changes}) < len(changes):
        raise InvalidInput("Every model is named once.", field=(field,))
    prices, parameters = dict(_entries(config, PRICES)), dict(_entries(config, PARAMETERS))
    for place, change in enumerate(changes):
        path = (field, str(place))
        if change.price is not UNSET:
            _put(prices, change.model_id, _checked_price(change.model_id, change.price, field=(*path, "price")))
        if change.parameters is not UNSET:
            taken = _checked_parameters(kind, change.parameters, field=(*path, "parameters"))
            _put(parameters, change.model_id, taken)
    if len({*prices, *parameters}) > MAX_OVERRIDES:
        raise InvalidInput(f"At most {MAX_OVERRIDES} models of a provider can be overridden.", field=(field,))
    rest = {name: value for name, value in config.items() if name not in (PRICES, PARAMETERS)}
    return {**rest, **({PRICES: prices} if prices else {}), **({PARAMETERS: parameters} if parameters else {})}


def audited(changes: Sequence[ModelOverrideChange]) -> list[dict[str, object]]:
    """The changes as the audit log keeps them."""
    told = []
    for change in changes:
        entry: dict[str, object] = {"model": change.model_id}
        if change.price is not UNSET:
            entry["price"] = None if change.price is None else _stored_price(change.price)
        if change.parameters is not UNSET:
            entry["parameters"] = None if change.parameters is None else sorted(change.parameters)
        told.append(entry)
    return told


def _put(entries: dict[str, Any], model_id: str, entry: object) -> None:  # Any: JSON
    if entry is None:
        entries.pop(model_id, None)
    else:
        entries[model_id] = entry


def _checked_price(model_id: str, price: PriceChange | None, *, field: tuple[str, ...]) -> dict[str, str] | None:
    if price is None:
        return None
    for name in PriceChange.__slots__:
        amount: Decimal | None = getattr(price, name)
        exponent = 0 if amount is None else amount.as_tuple().exponent
        if not isinstance(exponent, int) or exponent < -MAX_PRICE_DECIMALS:
            raise InvalidInput(f"A price has at most {MAX_PRICE_DECIMALS} decimals.", field=field)
    stored = _stored_price(price)
    check_own_prices({PRICES: {model_id: stored}}, field=field)
    return stored


def _stored_price(price: PriceChange) -> dict[str, str]:
    given = {name: getattr(price, name) for name in PriceChange.__slots__}
    return {name: format(amount, "f") for name, amount in given.items() if amount is not None}


def _checked_parameters(
    kind: ProviderKind, parameters: tuple[ModelParameter, ...] | None, *, field: tuple[str, ...]
) -> list[str] | None:
    if parameters is None:
        return None
    if not parameters:
        # An empty set means everywhere that nothing is known.
        raise InvalidInput("Name what it takes, or null for what is known without you.", field=field)
    if unspeakable := sorted(_UNSPEAKABLE.get(kind, frozenset()).intersection(parameters)):
        raise InvalidInput(f"This provider's protocol has no {unspeakable[0]}.", field=field)
    return sorted(set(parameters))


def _own_parameters(provider: Provider, model_id: str) -> frozenset[ModelParameter] | None:
    """What is stored; an entry that makes no sense counts as none, and so does one that says nothing."""
    entry = _entries(provider.config, PARAMETERS).get(model_id)
    if not isinstance(entry, list):
        return None
    try:
        return frozenset(ModelParameter(name) for name in entry) or None
    except ValueError:
        return None


def _entries(config: Mapping[str, object], name: str) -> Mapping[str, Any]:  # Any: JSON
    entries = config.get(name)
    return entries if isinstance(entries, Mapping) else {}
