"""Signing in and staying signed in: accounts, sessions with rotating refresh tokens, and who a request speaks for."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from domain.access_token import hash_of, is_secret
from domain.account import (
    Client,
    PasswordHasher,
    Role,
    User,
    Viewer,
    checked_email,
    checked_username,
)
from domain.account_link import AccountLink, LinkPurpose, hash_of_link
from domain.audit import AuditAction, AuditEvent
from domain.errors import InvalidInput, RateLimited, Unauthenticated, Unavailable
from domain.password import PasswordRules, password_to_try
from domain.secret import Secret
from domain.sign_in import RefreshToken, SignIn, SignIns
from domain.sign_up import SignUp
from domain.signing_key_service import SigningKeyService
from domain.store import Store, Transaction
from domain.text import is_storable
from domain.throttle import Admission, admit, succeed, withdraw

_log = logging.getLogger(__name__)

REUSE_GRACE = timedelta(seconds=10)  # for an answer that was lost, and for two tabs that ask at the same moment
_SEEN_EVERY = timedelta(minutes=1)  # when something was last used is written no more often
_NO_INVITATION = "This invitation is not valid, or not any more. Ask the administrator for another."
_TRIES = 2  # when the password's hash is replaced in the middle of the sign-in


class AuthenticationService:
    """Accounts, sign-ins, and the one function that tells whom a request speaks for."""

    def __init__(
        self,
        *,
        store: Store,
        passwords: PasswordHasher,
        password_rules: PasswordRules,
        keys: SigningKeyService,
        sign_ins: SignIns,
        sign_up: SignUp,
        clock: Callable[[], datetime],
        new_id: Callable[[], UUID],
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._password_rules = password_rules
        self._keys = keys
        self._sign_ins = sign_ins
        self._sign_up = sign_up
        self._clock = clock
        self._new_id = new_id

    async def register(
        self, *, email: str, username: str, password: str, client: Client, invitation: str | None = None
    ) -> SignIn:
        """Makes an account and signs it in, with the rights that an invitation gives.

        Raises InvalidInput, Conflict (taken), Forbidden (sign-up is closed, or needs an invitation).
        """
        link = await self._find_invitation(invitation)
        role = Role.USER if link is None or link.role is None else link.role
        user, password_hash = await self._new_user(email, username, password, role=role)
        async with self._store.begin() as tx:
            # Once more, for hashing takes its time.
            await self._sign_up.check_in(tx, is_invited=link is not None)
            if link is not None and not await tx.account_links.use(link.id, now=self._clock()):
                raise InvalidInput(_NO_INVITATION, field=("invitation",))
            await self._add_user(tx, user, password_hash, client, link)
            return await self._sign_ins.begin(tx, user, client)

    async def _find_invitation(self, invitation: str | None) -> AccountLink | None:
        await self._sign_up.check(is_invited=invitation is not None)
        if invitation is None:
            return None
        async with self._store.begin() as tx:
            link = await tx.account_links.find_good(hash_of_link(invitation), LinkPurpose.INVITATION, now=self._clock())
        if link is None:
            raise InvalidInput(_NO_INVITATION, field=("invitation",))
        return link

    async def create_administrator(self, *, email: str, username: str, password: str) -> User:
        """Makes an administrator's account. Raises InvalidInput, Conflict."""
        user, password_hash = await self._new_user(email, username, password, role=Role.ADMIN)
        async with self._store.begin() as tx:
            await self._add_user(tx, user, password_hash, None, None)
        return user

    async def has_unchanged_password(self, email: str) -> bool:
        """Whether this account is there, active, and its password the one that it was made with."""
        async with self._store.begin() as tx:
            return await tx.users.has_unchanged_password(email)

    async def has_administrator(self) -> bool:
        """Whether anybody can administer this server."""
        async with self._store.begin() as tx:
            return await tx.users.has_administrator()

    async def login(self, *, login: str, password: str, client: Client) -> SignIn:
        """Signs in by email or username.

        Raises Unauthenticated, the same for an unknown user and a wrong password, and RateLimited after many failures.
        """
        admission = await self._admit(login, client)
        async with self._withdrawn_when_busy(admission):
            user, sign_in = await self._try(login, password_to_try(password), admission, client)
        if sign_in is None:
            await self._note_failure(user, client)
            raise Unauthenticated("Unknown user or wrong password.")
        return sign_in

    async def change_password(
        self, viewer: Viewer, *, current_password: str, new_password: str, client: Client
    ) -> SignIn:
        """Puts another password in place, ends the viewer's other sessions and renews this one.

        Raises InvalidInput (also for a wrong current password), RateLimited after many failures, Forbidden for a token.
        """
        session_id = viewer.require_session()
        user = viewer.user
        new = self._password_rules.checked(new_password, about=(user.email, user.username), field=("newPassword",))
        admission, current_hash = await self._admit_owner(user, client)
        async with self._withdrawn_when_busy(admission):
            is_right = await self._passwords.verify(password_to_try(current_password), current_hash)
            new_hash = await self._passwords.hash(new) if is_right else ""
        now = self._clock()
        async with self._store.begin() as tx:
            found = await tx.users.lock(user.id)
            session = await tx.sessions.find_for_update(session_id)
            if is_right and found is not None and session is not None and found[1] == current_hash:
                if await tx.sessions.find_viewer(session_id, now=now) is None:
                    raise Unauthenticated("The session has ended; sign in again.")
                await tx.users.set_password_hash(user.id, new_hash)
                await tx.sessions.revoke_all(user.id, except_id=session_id, now=now)
                await succeed(tx, admission)
                await tx.audit.append(_event(AuditAction.PASSWORD_CHANGED, user, f"user:{user.id}", client))
                return await self._sign_ins.renew(tx, session, found[0])
        await self._note_failure(user, client)
        raise InvalidInput("This is not the current password.", field=("currentPassword",))

    async def confirm_password(self, viewer: Viewer, password: str, *, client: Client) -> None:
        """Makes sure that it is the viewer who asks for something grave.

        Raises InvalidInput for a wrong password, RateLimited after many failures, Forbidden for a token.
        """
        viewer.require_session()
        admission, password_hash = await self._admit_owner(viewer.user, client)
        async with self._withdrawn_when_busy(admission):
            is_right = await self._passwords.verify(password_to_try(password), password_hash)
        if not is_right:
            await self._note_failure(viewer.user, client)
            raise InvalidInput("This is not your password.", field=("password",))
        async with self._store.begin() as tx:
            await succeed(tx, admission)

    async def refresh(self, *, refresh_token: str, client: Client) -> SignIn:
        """Exchanges a refresh token for the next one and a fresh access token.

        A token that was exchanged before ends the whole session (RFC 9700, 4.14.2). Only the one before the newest is
        for some seconds answered once more as it was the first time, with the newest. Raises Unauthenticated, with
        `expired` when there is a newer token that will do.
        """
        token = RefreshToken.read(refresh_token)
        now = self._clock()
        async with self._store.begin() as tx:
            session = await tx.sessions.find_for_update(token.session_id)
            found = None if session is None else await tx.sessions.find_viewer(token.session_id, now=now)
            if session is None or found is None:
                raise Unauthenticated("The session has ended; sign in again.")
            user, _ = found
            if token.matches(session.refresh_hash):
                return await self._sign_ins.rotate(tx, session, user, token.raw)
            if token.matches(session.previous_hash) and now - session.rotated_at <= REUSE_GRACE:
                again = self._sign_ins.repeat(session, user, token.raw)
                if again is not None:
                    return again
                raise Unauthenticated("This refresh token has just been exchanged; use the newer one.", expired=True)
            await tx.sessions.revoke(session.id, now=now)
            await tx.audit.append(_event(AuditAction.REFRESH_TOKEN_REUSED, user, f"session:{session.id}", client))
        _log.warning("refresh_token_reused", extra={"session_id": str(token.session_id)})
        raise Unauthenticated("This refresh token was used before, so the session has been ended; sign in again.")

    async def logout(self, viewer: Viewer, *, client: Client) -> None:
        """Ends the viewer's session. Raises Forbidden for a viewer who came by a token."""
        session_id = viewer.require_session()
        async with self._store.begin() as tx:
            if await tx.sessions.revoke(session_id, now=self._clock()):
                await tx.audit.append(_event(AuditAction.SIGNED_OUT, viewer.user, f"session:{session_id}", client))

    async def authenticate(self, authorization: str | None, client: Client) -> Viewer | None:
        """Whom an `Authorization` value speaks for; None when there is none. Raises Unauthenticated for a bad one."""
        if authorization is None:
            return None
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("The Authorization header must read `Bearer <access token>`.")
        if is_secret(token):
            return await self._viewer_by_personal_token(token)
        now = self._clock()
        claims = await self._keys.verify(token, now=now)
        async with self._store.begin() as tx:
            found = await tx.sessions.find_viewer(claims.session_id, now=now)
            if found is None or found[0].id != claims.user_id:
                raise Unauthenticated("The session has ended; sign in again.")
            user, last_seen_at = found
            if now - last_seen_at >= _SEEN_EVERY:
                await tx.sessions.mark_seen(claims.session_id, now=now, ip=client.ip)
        return Viewer(user=user, session_id=claims.session_id, authenticated_until=claims.expires_at)

    async def renew(self, viewer: Viewer) -> Viewer:
        """The viewer as they are by now: who holds a connection keeps no rights that were taken from them since.

        Raises Unauthenticated when their session or token has ended.
        """
        now = self._clock()
        async with self._store.begin() as tx:
            if viewer.access_token_id is not None:
                user = await tx.users.find(viewer.user.id)
                live = await tx.access_tokens.list_live([viewer.access_token_id], now=now)
                if user is None or not live:
                    raise Unauthenticated("The access token has been revoked or has run out.")
            else:
                found = await tx.sessions.find_viewer(viewer.credential_id, now=now)
                if found is None:
                    raise Unauthenticated("The session has ended; sign in again.")
                user, _ = found
        return replace(viewer, user=user)

    async def _viewer_by_personal_token(self, secret: str) -> Viewer:
        now = self._clock()
        async with self._store.begin() as tx:
            found = await tx.access_tokens.find_viewer(hash_of(secret), now=now)
            if found is None:
                raise Unauthenticated("This access token is not valid, or not any more.")
            user, token = found
            if token.last_used_at is None or now - token.last_used_at >= _SEEN_EVERY:
                await tx.access_tokens.mark_used(token.id, now=now)
        return Viewer(
            user=user,
            session_id=None,
            authenticated_until=token.expires_at,
            scopes=token.scopes,
            access_token_id=token.id,
        )

    async def _new_user(self, email: str, username: str, password: str, *, role: Role) -> tuple[User, str]:
        email = checked_email(email, field=("email",))
        username = checked_username(username, field=("username",))
        checked = self._password_rules.checked(password, about=(email, username), field=("password",))
        password_hash = await self._passwords.hash(checked)
        now = self._clock()
        user = User(
            id=self._new_id(),
            email=email,
            username=username,
            role=role,
            is_active=True,
            created_at=now,
            updated_at=now,
        )
        return user, password_hash

    async def _add_user(
        self, tx: Transaction, user: User, password_hash: str, client: Client | None, link: AccountLink | None
    ) -> None:
        await tx.users.add(user, password_hash=password_hash)
        await tx.audit.append(
            AuditEvent(
                action=AuditAction.USER_REGISTERED,
                actor_id=user.id,
                target=f"user:{user.id}",
                ip=None if client is None else client.ip,
                details={"role": user.role.value, **({} if link is None else {"link": str(link.id)})},
            )
        )

    async def _try(
        self, login: str, given: Secret, admission: Admission, client: Client
    ) -> tuple[User | None, SignIn | None]:
        """Whom the login names, and what they get if the password is theirs."""
        user, password_hash = await self._find(login)
        for _ in range(_TRIES):
            is_right = await self._passwords.verify(given, password_hash)
            if not is_right or user is None or password_hash is None:
                break
            better_hash = await self._passwords.hash(given) if self._passwords.needs_rehash(password_hash) else None
            async with self._store.begin() as tx:
                current = await tx.users.lock(user.id)
                if current is None or not current[0].is_active:
                    break
                if current[1] == password_hash:
                    if better_hash is not None:
                        await tx.users.set_password_hash(user.id, better_hash)
                    await succeed(tx, admission)
                    return user, await self._sign_ins.begin(tx, user, client)
            # Meanwhile the hash was replaced: by a better one of the same password, or by another password's.
            user, password_hash = current
        return user, None

    @asynccontextmanager
    async def _withdrawn_when_busy(self, admission: Admission) -> AsyncIterator[None]:
        """Too many at once is nobody's failure."""
        try:
            yield
        except (RateLimited, Unavailable):
            async with self._store.begin() as tx:
                await withdraw(tx, admission)
            raise

    async def _admit(self, login: str, client: Client) -> Admission:
        user, _ = await self._find(login)
        async with self._store.begin() as tx:
            user_id = None if user is None else user.id
            return await admit(tx, login=login, user_id=user_id, ip=client.ip, now=self._clock())

    async def _admit_owner(self, user: User, client: Client) -> tuple[Admission, str | None]:
        """Lets somebody who is signed in try their own password; with its hash."""
        async with self._store.begin() as tx:
            found = await tx.users.lock(user.id)
            admission = await admit(tx, login="", user_id=user.id, ip=client.ip, now=self._clock())
        return admission, None if found is None else found[1]

    async def _find(self, login: str) -> tuple[User, str] | tuple[None, None]:
        login = login.strip()
        async with self._store.begin() as tx:
            found = await tx.users.find_by_login(login) if is_storable(login) else None
        return (None, None) if found is None else found

    async def _note_failure(self, user: User | None, client: Client) -> None:
        async with self._store.begin() as tx:
            await tx.audit.append(_event(AuditAction.SIGN_IN_FAILED, user, "session", client))


def _event(action: AuditAction, actor: User | None, target: str, client: Client) -> AuditEvent:
    return AuditEvent(action=action, actor_id=None if actor is None else actor.id, target=target, ip=client.ip)
