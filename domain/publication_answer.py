"""Whose answer a page shows: known only when it is there, since a fallback may have given it."""

from __future__ import annotations

from collections.abc import Mapping

from domain.generation import Generation
from domain.property_map import is_open, settled
from domain.provider_attempt import answered_by
from domain.publication import Publication
from domain.store import Transaction


async def who_answered(tx: Transaction, generation: Generation) -> tuple[str, str]:
    """The provider's name and the model's id; of a generation without an answer those that were asked for."""
    attempts = await tx.provider_attempts.list_by_generation(generation.user_id, [generation.id])
    provider_id, model = answered_by(generation, attempts.get(generation.id, ()))
    names = {each.id: each.name for each in await tx.providers.list_all()}
    return names.get(provider_id, provider_id), model


async def properties_of(tx: Transaction, publication: Publication) -> Mapping[str, object]:
    """The values of the page's properties, complete."""
    if not is_open(publication.properties):
        return publication.properties
    generation = await tx.generations.find(publication.user_id, publication.generation_id)
    if generation is None:
        return publication.properties
    provider, model = await who_answered(tx, generation)
    return settled(publication.properties, provider=provider, model=model, types=publication.parent.properties)
