"""Who may make an account: as the server is configured, until an administrator decides."""

from __future__ import annotations

from dataclasses import replace

from domain.account import Client, Viewer
from domain.audit import AuditAction, AuditEvent
from domain.errors import Forbidden
from domain.server_settings import ServerSettings, SignUpPolicy
from domain.store import Store, Transaction


class SignUp:
    """The policy that counts, on all instances alike."""

    def __init__(self, *, store: Store, configured: SignUpPolicy) -> None:
        self._store = store
        self._configured = configured

    async def get_policy(self) -> SignUpPolicy:
        """Who may make an account now."""
        async with self._store.begin() as tx:
            return self._policy_of(await tx.server_settings.get())

    async def check(self, *, is_invited: bool) -> None:
        """Raises Forbidden for somebody who may not make an account as things are."""
        self._check(await self.get_policy(), is_invited=is_invited)

    async def check_in(self, tx: Transaction, *, is_invited: bool) -> None:
        """The same, and it stays so until the transaction ends."""
        self._check(self._policy_of(await tx.server_settings.hold()), is_invited=is_invited)

    async def set_policy(self, viewer: Viewer, policy: SignUpPolicy | None, *, client: Client) -> None:
        """Decides; None takes an earlier decision back. Once it returns, nobody gets in by what counted before."""
        async with self._store.begin() as tx:
            before = await tx.server_settings.lock()
            after = replace(before, sign_up_policy=policy)
            await tx.server_settings.put(after)
            await tx.audit.append(
                AuditEvent(
                    action=AuditAction.SIGN_UP_POLICY_CHANGED,
                    actor_id=viewer.user.id,
                    target="server",
                    ip=client.ip,
                    details={"before": self._told(before), "after": self._told(after)},
                )
            )

    def _policy_of(self, settings: ServerSettings) -> SignUpPolicy:
        return settings.sign_up_policy or self._configured

    def _told(self, settings: ServerSettings) -> dict[str, object]:
        return {"policy": self._policy_of(settings).value, "is_configured": settings.sign_up_policy is None}

    def _check(self, policy: SignUpPolicy, *, is_invited: bool) -> None:
        match policy:
            case SignUpPolicy.CLOSED:
                raise Forbidden("Sign-up is closed on this server; ask its administrator for an account.")
            case SignUpPolicy.INVITE if not is_invited:
                raise Forbidden("Sign-up needs an invitation on this server; ask its administrator for one.")
