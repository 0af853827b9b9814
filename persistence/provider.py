"""The providers that the server knows, and the users' own keys at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Executable,
    RowMapping,
    and_,
    delete,
    exists,
    func,
    insert,
    not_,
    or_,
    select,
    update,
)

from domain.cipher import Sealed
from domain.provider import ApiKey, Model, ModelParameter, Provider, ProviderKind
from persistence.statements import Statements
from persistence.tables import ai_providers, api_keys, metadata

# Where a provider is named for ever.
_NAMING_COLUMNS: Final = tuple(
    key.parent
    for table in metadata.sorted_tables
    for key in table.foreign_keys
    if key.references(ai_providers) and key.ondelete is None
)
_KNOWN_KINDS: Final = frozenset(kind.value for kind in ProviderKind)


class PostgresProviders:
    """Behind the port Providers."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def list_active(self) -> tuple[Provider, ...]:
        """In the order in which they are offered."""
        rows = await self._statements.rows(
            select(ai_providers).where(ai_providers.c.is_active).order_by(ai_providers.c.position, ai_providers.c.id)
        )
        return _providers_of(rows)

    async def list_all(self) -> tuple[Provider, ...]:
        """The same with those that are switched off."""
        return _providers_of(
            await self._statements.rows(select(ai_providers).order_by(ai_providers.c.position, ai_providers.c.id))
        )

    async def find_for_update(self, provider_id: str) -> Provider | None:
        """The provider, whether active or not, with its row locked until the transaction ends."""
        return await self._find(select(ai_providers).where(ai_providers.c.id == provider_id).with_for_update())

    async def find_for_share(self, provider_id: str) -> Provider | None:
        """The provider, which nobody changes until the transaction ends."""
        return await self._find(select(ai_providers).where(ai_providers.c.id == provider_id).with_for_update(read=True))

    async def add(self, provider: Provider) -> None:
        """Stores a new one, offered after all others. Raises Conflict with field ("id",) when the id is taken."""
        last = select(func.coalesce(func.max(ai_providers.c.position), 0)).scalar_subquery()
        await self._statements.change(
            insert(ai_providers).values(
                id=provider.id, kind=provider.kind.value, position=last + 1, **_changeable_values(provider)
            )
        )

    async def update(self, provider: Provider) -> None:
        """Stores what it is now."""
        await self._statements.change(
            update(ai_providers).where(ai_providers.c.id == provider.id).values(**_changeable_values(provider))
        )

    async def remove(self, provider_id: str) -> bool:
        """Deletes it; False when somebody's history still names it."""
        is_named = or_(*(exists().where(column == provider_id) for column in _NAMING_COLUMNS))
        removed = await self._statements.change(
            delete(ai_providers).where(ai_providers.c.id == provider_id, not_(is_named))
        )
        return removed == 1

    async def _find(self, statement: Executable) -> Provider | None:
        row = await self._statements.row(statement)
        return next(iter(_providers_of([] if row is None else [row])), None)


class PostgresApiKeys:
    """Behind the port ApiKeys."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def add(self, key: ApiKey, *, sealed: Sealed) -> None:
        """Stores a new key."""
        await self._statements.change(
            insert(api_keys).values(
                id=key.id,
                user_id=key.user_id,
                provider_id=key.provider_id,
                encrypted_key=sealed.ciphertext,
                encryption_key_id=sealed.key_id,
                hint=key.hint,
                is_active=key.is_active,
                created_at=key.created_at,
                expires_at=key.expires_at,
                last_used_at=key.last_used_at,
            )
        )

    async def list_of(self, user_id: UUID) -> tuple[ApiKey, ...]:
        """A user's keys, newest first."""
        rows = await self._statements.rows(
            select(api_keys)
            .where(api_keys.c.user_id == user_id)
            .order_by(api_keys.c.created_at.desc(), api_keys.c.id.desc())
        )
        return tuple(_api_key_of(row) for row in rows)

    async def find(self, user_id: UUID, key_id: UUID) -> tuple[ApiKey, Sealed] | None:
        """A user's key, usable or not."""
        row = await self._statements.row(select(api_keys).where(api_keys.c.id == key_id, api_keys.c.user_id == user_id))
        return None if row is None else (_api_key_of(row), _sealed_of(row))

    async def find_usable(
        self, user_id: UUID, provider_id: str, *, api_endpoint: str | None, now: datetime
    ) -> tuple[ApiKey, Sealed] | None:
        """The newest active key that has not expired; none when the provider is at another endpoint by now."""
        row = await self._statements.row(
            select(api_keys)
            .join(ai_providers)
            .where(
                api_keys.c.user_id == user_id,
                api_keys.c.provider_id == provider_id,
                ai_providers.c.api_endpoint.is_not_distinct_from(api_endpoint),
                _is_usable(now),
            )
            .order_by(api_keys.c.created_at.desc(), api_keys.c.id.desc())
            .limit(1)
        )
        return None if row is None else (_api_key_of(row), _sealed_of(row))

    async def list_usable_providers(self, user_id: UUID | None, *, now: datetime) -> frozenset[str]:
        """The providers for which the user, or without one anybody, has a usable key."""
        query = select(api_keys.c.provider_id).where(_is_usable(now)).distinct()
        rows = await self._statements.rows(
            query if user_id is None else query.where(api_keys.c.user_id == user_id),
        )
        return frozenset(row["provider_id"] for row in rows)

    async def remove(self, user_id: UUID, key_id: UUID) -> bool:
        """Deletes it; False when the user has no such key."""
        removed = await self._statements.change(
            delete(api_keys).where(api_keys.c.id == key_id, api_keys.c.user_id == user_id)
        )
        return removed == 1

    async def remove_all_of(self, provider_id: str) -> int:
        """Deletes everybody's keys at a provider; answers how many."""
        return await self._statements.change(delete(api_keys).where(api_keys.c.provider_id == provider_id))

    async def update(self, key: ApiKey) -> None:
        """Stores whether it is active and when it expires."""
        values = {"is_active": key.is_active, "expires_at": key.expires_at}
        await self._statements.change(update(api_keys).where(api_keys.c.id == key.id).values(**values))

    async def mark_used(self, key_id: UUID, *, now: datetime) -> None:
        """Notes its use."""
        await self._statements.change(update(api_keys).where(api_keys.c.id == key_id).values(last_used_at=now))


def _is_usable(now: datetime) -> ColumnElement[bool]:
    return and_(api_keys.c.is_active, or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > now))


def _providers_of(rows: Sequence[RowMapping]) -> tuple[Provider, ...]:
    """Those of a kind that this version knows: an instance of a newer one may already have added another."""
    return tuple(_provider_of(row) for row in rows if row["kind"] in _KNOWN_KINDS)


def _provider_of(row: RowMapping) -> Provider:
    return Provider(
        id=row["id"],
        kind=ProviderKind(row["kind"]),
        name=row["name"],
        api_endpoint=row["api_endpoint"],
        models=tuple(_model_of(model) for model in row["models"]),
        config=row["config"],
        is_active=row["is_active"],
    )


def _model_of(stored: Mapping[str, Any]) -> Model:  # Any: JSON
    return Model(
        id=stored["id"],
        name=stored["name"],
        context_window=stored.get("context_window"),
        max_output_tokens=stored.get("max_output_tokens"),
        parameters=frozenset(ModelParameter(parameter) for parameter in stored.get("parameters", ())),
    )


def _changeable_values(provider: Provider) -> dict[str, object]:
    return {
        "name": provider.name,
        "api_endpoint": provider.api_endpoint,
        "models": [_stored_model(model) for model in provider.models],
        "config": dict(provider.config),
        "is_active": provider.is_active,
    }


def _stored_model(model: Model) -> dict[str, object]:
    """The inverse of `_model_of`: what is not known is left out."""
    known = {
        "id": model.id,
        "name": model.name,
        "context_window": model.context_window,
        "max_output_tokens": model.max_output_tokens,
        "parameters": sorted(model.parameters) or None,
    }
    return {name: value for name, value in known.items() if value is not None}


def _sealed_of(row: RowMapping) -> Sealed:
    return Sealed(key_id=row["encryption_key_id"], ciphertext=row["encrypted_key"])


def _api_key_of(row: RowMapping) -> ApiKey:
    return ApiKey(
        id=row["id"],
        user_id=row["user_id"],
        provider_id=row["provider_id"],
        hint=row["hint"],
        is_active=row["is_active"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        last_used_at=row["last_used_at"],
    )
