"""Whatever one person's devices do, in whatever order: who may get in stays true."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from domain.account import Client, PasswordHasher, Viewer
from domain.authentication import REUSE_GRACE, AuthenticationService
from domain.errors import InvalidInput, NotFound, RateLimited, Unauthenticated
from domain.password import PasswordRules
from domain.secret import Secret
from domain.server_settings import SignUpPolicy
from domain.session_service import SessionService
from domain.sign_in import Lifetimes, SignIn, SignIns
from domain.sign_up import SignUp
from domain.signing_key_service import SigningKeyService
from integrations.cipher import AesGcmCipher
from integrations.tokens import LEEWAY_SECONDS, SealedAccessTokens
from persistence.engine import create_engine
from persistence.store import PostgresStore
from persistence.tables import users
from tests.api.audit import IS_FULL

T = TypeVar("T")
START = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
CLIENT = Client(ip="192.0.2.1", user_agent="a device")
ACCESS, IDLE, ABSOLUTE = timedelta(minutes=10), timedelta(hours=5), timedelta(hours=12)
PASSWORDS = ["a river of quiet lamps", "seven owls on a wire", "snow over the old quay"]
_ANY = st.integers(0, 1_000_000)


class PlainPasswords(PasswordHasher):
    """Hashing takes its time elsewhere; here it is how often passwords are compared that counts."""

    async def hash(self, password: Secret) -> str:
        return password.reveal()

    async def verify(self, password: Secret, password_hash: str | None) -> bool:
        await asyncio.sleep(0)
        return password.reveal() == password_hash

    def needs_rehash(self, password_hash: str) -> bool:
        return not password_hash


@dataclass(slots=True)
class Family:
    """One session as it must be: its refresh tokens in their order, and what they and its access tokens are worth."""

    id: UUID
    tokens: list[str]
    access: list[tuple[str, datetime]]
    rotated_at: datetime
    created_at: datetime
    ends_at: datetime
    is_ended: bool = False
    # Put in place by a change of the password, the newest follows from no token of before.
    is_renewed: bool = False

    def take(self, sign_in: SignIn, now: datetime) -> None:
        """What a sign-in or an exchange has given."""
        self.access.append((sign_in.access_token.reveal(), now + ACCESS))
        if not self.tokens or self.tokens[-1] != sign_in.refresh_token.reveal():
            self.tokens.append(sign_in.refresh_token.reveal())
            self.rotated_at = now
            self.ends_at = min(now + IDLE, self.created_at + ABSOLUTE)


class AccountMachine(RuleBasedStateMachine):
    """One account, its devices, and a model of what each of their credentials is worth."""

    runner: ClassVar[asyncio.Runner]
    engine: ClassVar[AsyncEngine]

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.families: list[Family] = []
        self.password = PASSWORDS[0]
        self.is_active = True
        self.name = f"u{uuid7().hex}"
        self.store = PostgresStore(self.engine)
        self.sessions = SessionService(store=self.store, clock=lambda: self.now)
        self.service = _service(self.store, lambda: self.now)
        account = {"email": f"{self.name}@example.org", "username": self.name, "password": self.password}
        sign_in = self._run(self.service.register(**account, client=CLIENT))
        self.user = sign_in.user
        self._begin(sign_in)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def _begin(self, sign_in: SignIn) -> None:
        family = Family(
            id=sign_in.session_id, tokens=[], access=[], rotated_at=self.now, created_at=self.now, ends_at=self.now
        )
        family.take(sign_in, self.now)
        self.families.append(family)

    def _is_live(self, family: Family) -> bool:
        return self.is_active and not family.is_ended and self.now < family.ends_at

    def _viewer(self, pick: int) -> tuple[Family, Viewer]:
        live = [family for family in self.families if self._is_live(family)]
        family = live[pick % len(live)]
        return family, Viewer(user=self.user, session_id=family.id, authenticated_until=None)

    def _has_live(self) -> bool:
        return any(self._is_live(family) for family in self.families)

    @rule(is_right=st.booleans())
    def login(self, *, is_right: bool) -> None:
        password = self.password if is_right else "something else altogether"
        try:
            self._begin(self._run(self.service.login(login=self.name, password=password, client=CLIENT)))
            assert is_right
            assert self.is_active
        except Unauthenticated:
            assert not (is_right and self.is_active)
        except RateLimited:
            pass  # never more than a matter of time

    @rule(pick=_ANY, age=st.integers(0, 4))
    def refresh(self, pick: int, age: int) -> None:
        family = self.families[pick % len(self.families)]
        place = max(0, len(family.tokens) - 1 - age)
        age = len(family.tokens) - 1 - place
        newest = family.tokens[-1]
        was_live = self._is_live(family)
        in_grace = age == 1 and self.now - family.rotated_at <= REUSE_GRACE
        try:
            sign_in = self._run(self.service.refresh(refresh_token=family.tokens[place], client=CLIENT))
        except Unauthenticated:
            assert not was_live or age > 0
            assert not (was_live and in_grace and not family.is_renewed)
            if was_live and not in_grace:
                family.is_ended = True
            return
        assert was_live
        assert sign_in.session_id == family.id
        if age == 0:
            assert sign_in.refresh_token.reveal() not in family.tokens
            family.is_renewed = False
        else:
            assert in_grace
            assert sign_in.refresh_token.reveal() == newest
        family.take(sign_in, self.now)

    @precondition(_has_live)
    @rule(pick=_ANY)
    def refresh_at_once(self, pick: int) -> None:
        family, _ = self._viewer(pick)

        async def all_at_once() -> list[SignIn]:
            exchanges = (self.service.refresh(refresh_token=family.tokens[-1], client=CLIENT) for _ in range(6))
            return await asyncio.gather(*exchanges)

        sign_ins = self._run(all_at_once())
        assert len({sign_in.refresh_token.reveal() for sign_in in sign_ins}) == 1
        assert {sign_in.session_id for sign_in in sign_ins} == {family.id}
        family.is_renewed = False
        for sign_in in sign_ins:
            family.take(sign_in, self.now)

    @precondition(_has_live)
    @rule(pick=_ANY, is_right=st.booleans(), new=st.sampled_from(PASSWORDS))
    def change_password(self, pick: int, *, is_right: bool, new: str) -> None:
        family, viewer = self._viewer(pick)
        current = self.password if is_right else "something else altogether"
        try:
            sign_in = self._run(
                self.service.change_password(viewer, current_password=current, new_password=new, client=CLIENT)
            )
        except InvalidInput:
            assert not is_right
            return
        except RateLimited:
            return
        assert is_right
        self.password = new
        for other in self.families:
            other.is_ended = other.is_ended or other is not family
        family.take(sign_in, self.now)
        family.is_renewed = True

    @precondition(_has_live)
    @rule(pick=_ANY, which=_ANY)
    def revoke_one(self, pick: int, which: int) -> None:
        _, viewer = self._viewer(pick)
        family = self.families[which % len(self.families)]
        try:
            self._run(self.sessions.revoke(viewer, family.id, client=CLIENT))
            assert self._is_live(family)
        except NotFound:
            assert not self._is_live(family)
        family.is_ended = True

    @precondition(_has_live)
    @rule(pick=_ANY)
    def revoke_others(self, pick: int) -> None:
        own, viewer = self._viewer(pick)
        self._run(self.sessions.revoke_others(viewer, client=CLIENT))
        for family in self.families:
            family.is_ended = family.is_ended or family is not own

    @precondition(_has_live)
    @rule(pick=_ANY)
    def logout(self, pick: int) -> None:
        family, viewer = self._viewer(pick)
        self._run(self.service.logout(viewer, client=CLIENT))
        family.is_ended = True

    @rule()
    def switch_account(self) -> None:
        self.is_active = not self.is_active

        async def switch() -> None:
            async with self.engine.begin() as connection:
                await connection.execute(
                    update(users).where(users.c.id == self.user.id).values(is_active=self.is_active)
                )

        self._run(switch())

    @rule(seconds=st.sampled_from([1, 9, 11, 400, 3600, 4 * 3600]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(pick=_ANY, which=_ANY)
    def use_access_token(self, pick: int, which: int) -> None:
        family = self.families[pick % len(self.families)]
        token, ends_at = family.access[which % len(family.access)]
        may = self._is_live(family) and self.now < ends_at + timedelta(seconds=LEEWAY_SECONDS)
        try:
            viewer = self._run(self.service.authenticate(f"Bearer {token}", CLIENT))
            assert may
            assert viewer is not None
            assert viewer.session_id == family.id
        except Unauthenticated:
            assert not may

    @invariant()
    def the_store_knows_the_same_live_sessions(self) -> None:
        async def live() -> set[UUID]:
            async with self.store.begin() as tx:
                return {session.id for session in await tx.sessions.list_of(self.user.id, now=self.now)}

        assert self._run(live()) == {family.id for family in self.families if self._is_live(family)}


def _service(store: PostgresStore, clock: Callable[[], datetime]) -> AuthenticationService:
    tokens = SealedAccessTokens(AesGcmCipher({"k": bytes(32)}, active="k"), issuer="i", audience="a")
    tokens.use([tokens.new_key(START)])
    keys = SigningKeyService(store=store, ring=tokens, clock=clock, rotated_every=timedelta(days=30), token_ttl=ACCESS)
    lifetimes = Lifetimes(access_token=ACCESS, session_idle=IDLE, session_absolute=ABSOLUTE)
    return AuthenticationService(
        store=store,
        passwords=PlainPasswords(),
        password_rules=PasswordRules(min_chars=15, common=frozenset()),
        keys=keys,
        sign_ins=SignIns(tokens=tokens, lifetimes=lifetimes, clock=clock, new_id=uuid7),
        sign_up=SignUp(store=store, configured=SignUpPolicy.OPEN),
        clock=clock,
        new_id=uuid7,
    )


def test_who_may_get_in_stays_true(database_url: str) -> None:
    with asyncio.Runner() as runner:
        engine = create_engine(database_url, pool_size=8)
        machine = type("Machine", (AccountMachine,), {"runner": runner, "engine": engine})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=40 if IS_FULL else 10,
                stateful_step_count=50 if IS_FULL else 30,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        runner.run(engine.dispose())
