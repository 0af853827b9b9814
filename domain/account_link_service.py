"""Invitations and forgotten passwords: links made by administrators, and a password put in place by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from domain.account import Client, PasswordHasher, Role, Viewer
from domain.account_link import AccountLink, LinkPurpose, hash_of_link, new_link_secret
from domain.audit import AuditAction, AuditEvent
from domain.errors import InvalidInput, NotFound
from domain.page import Page, PageRequest
from domain.password import PasswordRules
from domain.secret import Secret
from domain.sign_in import SignIn, SignIns
from domain.store import Store

MAX_HOURS: Final = 30 * 24
_GONE: Final = "This link is not valid, or not any more. Ask the administrator for another."


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccountLink:
    """A link that was just made, with what is shown this once."""

    link: AccountLink
    secret: Secret
    url: Secret


class AccountLinkService:
    """Links that let in without a password, so they are made for administrators only, and used once."""

    def __init__(
        self,
        *,
        store: Store,
        passwords: PasswordHasher,
        password_rules: PasswordRules,
        sign_ins: SignIns,
        origin: str,
        clock: Callable[[], datetime],
        new_id: Callable[[], UUID],
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._password_rules = password_rules
        self._sign_ins = sign_ins
        self._origin = origin
        self._clock = clock
        self._new_id = new_id

    async def invite(self, viewer: Viewer, *, role: Role, hours: int, client: Client) -> NewAccountLink:
        """A link by which one person makes an account. Raises InvalidInput."""
        link = self._new(viewer, LinkPurpose.INVITATION, hours, role=role)
        return await self._add(link, client, AuditAction.INVITATION_CREATED, "#invitation=")

    async def offer_reset(self, viewer: Viewer, user_id: UUID, *, hours: int, client: Client) -> NewAccountLink:
        """A link by which a user chooses another password; an earlier one is void. Raises InvalidInput, NotFound."""
        link = self._new(viewer, LinkPurpose.PASSWORD_RESET, hours, user_id=user_id)
        async with self._store.begin() as tx:
            if await tx.users.find(user_id) is None:
                raise NotFound("There is no such user.", field=("userId",))
        return await self._add(link, client, AuditAction.PASSWORD_RESET_OFFERED, "#passwordReset=")

    async def list_links(self, page: PageRequest) -> Page[AccountLink]:
        """A page of the links that have not run out, used ones too, the newest first. For administrators."""
        async with self._store.begin() as tx:
            return await tx.account_links.list_page(page, now=self._clock())

    async def count_links(self) -> int:
        """How many these are."""
        async with self._store.begin() as tx:
            return await tx.account_links.count(now=self._clock())

    async def withdraw(self, viewer: Viewer, link_id: UUID, *, client: Client) -> AccountLink:
        """Makes anybody's link void. Raises NotFound for one that is used, has run out or was withdrawn."""
        async with self._store.begin() as tx:
            link = await tx.account_links.withdraw(link_id, now=self._clock())
            if link is None:
                raise NotFound("There is no such link, or not any more.", field=("id",))
            await tx.audit.append(
                AuditEvent(
                    action=AuditAction.ACCOUNT_LINK_WITHDRAWN,
                    actor_id=viewer.user.id,
                    target=link.target,
                    ip=client.ip,
                    details={**_told(link), "created_by": str(link.created_by)},
                )
            )
        return link

    async def reset_password(self, *, secret: str, new_password: str, client: Client) -> SignIn:
        """Puts the password in place, ends all that was signed in or made before, and signs in.

        Whoever needs this may have lost more than a password, so personal access tokens end too. Raises InvalidInput.
        """
        now = self._clock()
        secret_hash = hash_of_link(secret)
        gone = InvalidInput(_GONE, field=("secret",))
        async with self._store.begin() as tx:
            link = await tx.account_links.find_good(secret_hash, LinkPurpose.PASSWORD_RESET, now=now)
            user = None if link is None or link.user_id is None else await tx.users.find(link.user_id)
        if link is None or user is None:
            raise gone
        checked = self._password_rules.checked(new_password, about=(user.email, user.username), field=("newPassword",))
        password_hash = await self._passwords.hash(checked)
        async with self._store.begin() as tx:
            found = await tx.users.lock(user.id)
            if found is None or not found[0].is_active or not await tx.account_links.use(link.id, now=self._clock()):
                raise gone
            await tx.users.set_password_hash(user.id, password_hash)
            await tx.sessions.revoke_all(user.id, except_id=None, now=now)
            await tx.access_tokens.remove_all(user.id)
            await tx.audit.append(
                AuditEvent(action=AuditAction.PASSWORD_RESET, actor_id=user.id, target=f"user:{user.id}", ip=client.ip)
            )
            return await self._sign_ins.begin(tx, found[0], client)

    def _new(
        self, viewer: Viewer, purpose: LinkPurpose, hours: int, *, role: Role | None = None, user_id: UUID | None = None
    ) -> AccountLink:
        if not 1 <= hours <= MAX_HOURS:
            raise InvalidInput(f"A link lasts 1 to {MAX_HOURS} hours.", field=("expiresInHours",))
        now = self._clock()
        return AccountLink(
            id=self._new_id(),
            purpose=purpose,
            role=role,
            user_id=user_id,
            created_by=viewer.user.id,
            created_at=now,
            expires_at=now + timedelta(hours=hours),
        )

    async def _add(self, link: AccountLink, client: Client, action: AuditAction, place: str) -> NewAccountLink:
        secret, secret_hash = new_link_secret()
        async with self._store.begin() as tx:
            await tx.account_links.add(link, secret_hash=secret_hash)
            await tx.audit.append(
                AuditEvent(
                    action=action,
                    actor_id=link.created_by,
                    target=link.target if link.user_id is None else f"user:{link.user_id}",
                    ip=client.ip,
                    details=_told(link),
                )
            )
        # After the #, so that no server and no proxy on the way writes it down.
        url = Secret(f"{self._origin}/{place}{secret.reveal()}")
        return NewAccountLink(link=link, secret=secret, url=url)


def _told(link: AccountLink) -> dict[str, object]:
    """What the audit log says of a link."""
    whose = {"user_id": str(link.user_id)} if link.role is None else {"role": link.role.value}
    return {"link": str(link.id), "purpose": link.purpose.value, **whose, "expires_at": link.expires_at.isoformat()}
