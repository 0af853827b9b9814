"""A user's own keys at AI providers: added, tried, switched off, removed; never shown again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from domain.account import Client, Viewer
from domain.audit import AuditAction, AuditEvent
from domain.cipher import Cipher, Sealed, api_key_place
from domain.errors import Conflict, InvalidInput, NotFound, ProviderFailed, ProviderFailureReason
from domain.generation import Failure
from domain.provider import ApiKey, ProviderKind
from domain.provider_catalog import ProviderCatalog
from domain.secret import Secret
from domain.store import Store
from domain.unset import UNSET, UnsetType

HINT_CHARS = 4
MIN_KEY_CHARS = 8
MAX_KEY_CHARS = 512
MAX_KEYS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyTest:
    """What a provider has said of a key; `is_accepted` is None when it could not be asked."""

    api_key: ApiKey
    is_accepted: bool | None
    model_count: int | None
    failure: Failure | None


class ApiKeyService:
    """A user's keys."""

    def __init__(
        self,
        *,
        store: Store,
        catalog: ProviderCatalog,
        cipher: Cipher,
        clock: Callable[[], datetime],
        new_id: Callable[[], UUID],
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._cipher = cipher
        self._clock = clock
        self._new_id = new_id

    async def list_of(self, viewer: Viewer) -> tuple[ApiKey, ...]:
        """The viewer's keys, newest first."""
        async with self._store.begin() as tx:
            return await tx.api_keys.list_of(viewer.user.id)

    async def add(
        self, viewer: Viewer, *, provider_id: str, key: Secret, expires_at: datetime | None, client: Client
    ) -> ApiKey:
        """Stores a key, sealed; the newest usable one is used. Raises InvalidInput, and Conflict for too many."""
        value = key.reveal().strip()
        now = self._clock()
        if (
            not (MIN_KEY_CHARS <= len(value) <= MAX_KEY_CHARS and value.isascii() and value.isprintable())
            or " " in value
        ):
            raise InvalidInput(
                f"A key is {MIN_KEY_CHARS} to {MAX_KEY_CHARS} printable ASCII characters without spaces.",
                field=("key",),
            )
        _check_expiry(expires_at, now)
        key_id = self._new_id()
        api_key = ApiKey(
            id=key_id,
            user_id=viewer.user.id,
            provider_id=provider_id,
            hint=value[-HINT_CHARS:],
            is_active=True,
            created_at=now,
            expires_at=expires_at,
            last_used_at=None,
        )
        sealed = self._cipher.seal(Secret(value), place=api_key_place(viewer.user.id, key_id))
        async with self._store.begin() as tx:
            # Held until the key is stored: a provider that moves elsewhere in this moment clears it again.
            provider = await tx.providers.find_for_share(provider_id)
            if provider is None or not provider.is_active or provider.kind is ProviderKind.DEMO:
                raise InvalidInput("There is no such provider that takes a key.", field=("provider",))
            if len(await tx.api_keys.list_of(viewer.user.id)) >= MAX_KEYS:
                raise Conflict(f"You have {MAX_KEYS} keys already: remove one first.")
            await tx.api_keys.add(api_key, sealed=sealed)
            await tx.audit.append(_event(AuditAction.API_KEY_ADDED, viewer, key_id, client))
        return api_key

    async def update(
        self,
        viewer: Viewer,
        key_id: UUID,
        *,
        is_active: bool | UnsetType,
        expires_at: datetime | UnsetType | None,
        client: Client,
    ) -> ApiKey:
        """Has a key used or not used from now on, or until then. Raises InvalidInput and NotFound."""
        if expires_at is not UNSET:
            _check_expiry(expires_at, self._clock())
        async with self._store.begin() as tx:
            key, _ = _found(await tx.api_keys.find(viewer.user.id, key_id))
            changed = replace(
                key,
                is_active=key.is_active if is_active is UNSET else is_active,
                expires_at=key.expires_at if expires_at is UNSET else expires_at,
            )
            await tx.api_keys.update(changed)
            await tx.audit.append(
                _event(AuditAction.API_KEY_UPDATED, viewer, key_id, client, is_active=changed.is_active)
            )
        return changed

    async def test(self, viewer: Viewer, key_id: UUID, *, client: Client) -> ApiKeyTest:
        """Asks the provider for its models, which costs nothing. It changes nothing but the audit log.

        Raises NotFound; what the provider says is the test's outcome and no error.
        """
        async with self._store.begin() as tx:
            key, sealed = _found(await tx.api_keys.find(viewer.user.id, key_id))
            # In one transaction with the key, which belongs to the provider's address of this moment.
            provider = await tx.providers.find_for_share(key.provider_id)
        if provider is None:
            raise NotFound("There is no such key.", field=("id",))
        secret = self._cipher.open(sealed, place=api_key_place(viewer.user.id, key_id))
        is_accepted, model_count, failure = None, None, None
        try:
            model_count = len(await self._catalog.ask_for_models(provider, secret))
            is_accepted = True
        except ProviderFailed as error:
            is_accepted = False if error.reason is ProviderFailureReason.AUTHENTICATION else None
            failure = Failure(
                code=error.code,
                message=error.message,
                reason=error.reason.value,
                retry_after_seconds=error.retry_after_seconds,
            )
        async with self._store.begin() as tx:
            reason = None if failure is None else failure.reason
            await tx.audit.append(_event(AuditAction.API_KEY_TESTED, viewer, key_id, client, reason=reason))
        return ApiKeyTest(api_key=key, is_accepted=is_accepted, model_count=model_count, failure=failure)

    async def remove(self, viewer: Viewer, key_id: UUID, *, client: Client) -> None:
        """Deletes a key. Raises NotFound."""
        async with self._store.begin() as tx:
            if not await tx.api_keys.remove(viewer.user.id, key_id):
                raise NotFound("There is no such key.", field=("id",))
            await tx.audit.append(_event(AuditAction.API_KEY_REMOVED, viewer, key_id, client))


def _check_expiry(expires_at: datetime | None, now: datetime) -> None:
    if expires_at is not None and expires_at <= now:
        raise InvalidInput("This is in the past.", field=("expiresAt",))


def _found(key: tuple[ApiKey, Sealed] | None) -> tuple[ApiKey, Sealed]:
    if key is None:
        raise NotFound("There is no such key.", field=("id",))
    return key


def _event(action: AuditAction, viewer: Viewer, key_id: UUID, client: Client, **details: object) -> AuditEvent:
    return AuditEvent(action=action, actor_id=viewer.user.id, target=f"api_key:{key_id}", ip=client.ip, details=details)
