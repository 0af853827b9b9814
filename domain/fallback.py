"""Which models a request falls back on when the one that was asked for is out of order."""

from __future__ import annotations

from dataclasses import dataclass

from domain.account import Viewer
from domain.errors import InvalidInput
from domain.parameter_rules import find_untaken
from domain.provider import Parameters
from domain.provider_catalog import Choice, ProviderCatalog
from domain.settings import Fallback, UserSettings
from domain.text import checked_text

MAX_FALLBACKS = 4
MAX_NAME_CHARS = 200


def checked_fallbacks(fallbacks: tuple[Fallback, ...]) -> None:
    """Raises InvalidInput for too many, and for names that cannot be any."""
    if len(fallbacks) > MAX_FALLBACKS:
        raise InvalidInput(f"At most {MAX_FALLBACKS} are allowed.", field=("fallback",))
    for place, fallback in enumerate(fallbacks):
        checked_text(fallback.provider_id, field=("fallback", str(place), "provider"), max_chars=MAX_NAME_CHARS)
        if fallback.model is not None:
            checked_text(fallback.model, field=("fallback", str(place), "model"), max_chars=MAX_NAME_CHARS)


async def check_fallbacks_exist(catalog: ProviderCatalog, viewer: Viewer, fallbacks: tuple[Fallback, ...]) -> None:
    """Raises InvalidInput for a provider or model that the server does not know."""
    for place, fallback in enumerate(fallbacks):
        try:
            await catalog.check_choice(viewer, fallback.provider_id, fallback.model)
        except InvalidInput as error:
            name = "model" if error.field == ("defaultModel",) else "provider"
            raise InvalidInput(error.message, field=("fallback", str(place), name)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackChooser:
    """Turns what was asked for into models that can be asked."""

    catalog: ProviderCatalog

    async def chosen(
        self, viewer: Viewer, settings: UserSettings, asked: tuple[Fallback, ...], *, first: Choice, given: Parameters
    ) -> tuple[Choice, ...]:
        """All of them. Raises InvalidInput for one that cannot be used, takes less than is given, or comes twice."""
        choices = [first]
        for place, fallback in enumerate(asked):
            choice = await self._choose(viewer, settings, fallback, given, field=("fallback", str(place)))
            if any(each.ref == choice.ref for each in choices):
                raise InvalidInput("This model is asked before.", field=("fallback", str(place)))
            choices.append(choice)
        return tuple(choices[1:])

    async def usable(
        self, viewer: Viewer, settings: UserSettings, wished: tuple[Fallback, ...], *, first: Choice, given: Parameters
    ) -> tuple[Choice, ...]:
        """Those that this request can fall back on: a choice of some time ago must not spoil the request of today."""
        choices = [first]
        for fallback in wished:
            try:
                choice = await self._choose(viewer, settings, fallback, given, field=())
            except InvalidInput:
                continue
            if all(each.ref != choice.ref for each in choices):
                choices.append(choice)
        return tuple(choices[1:])

    async def _choose(
        self, viewer: Viewer, settings: UserSettings, fallback: Fallback, given: Parameters, *, field: tuple[str, ...]
    ) -> Choice:
        try:
            choice = await self.catalog.choose(
                viewer, settings, provider_id=fallback.provider_id, model_id=fallback.model
            )
        except InvalidInput as error:
            raise InvalidInput(error.message, field=(*field, *(error.field or ()))) from error
        if (untaken := find_untaken(given, choice.model)) is not None:
            raise InvalidInput(f"The model {choice.model.id} does not take {untaken}.", field=(*field, "model"))
        limit, tokens = choice.model.max_output_tokens, given.max_output_tokens
        if limit is not None and tokens is not None and tokens > limit:
            raise InvalidInput(f"The model {choice.model.id} writes at most {limit} tokens.", field=(*field, "model"))
        return choice
