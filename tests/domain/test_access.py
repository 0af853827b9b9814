"""Who may do what."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from domain.access import Rule, Who
from domain.account import Role, Scope, User, Viewer
from domain.errors import Forbidden, Unauthenticated

_NOW = datetime(2026, 11, 30, tzinfo=UTC)
_ME = UUID(int=1)
_SOMEBODY = UUID(int=2)
_ALL = frozenset(Scope)


def _viewer(role: Role = Role.USER, *, scopes: frozenset[Scope] | None = None) -> Viewer:
    user = User(
        id=_ME,
        email="ada@example.org",
        username="ada",
        role=role,
        is_active=True,
        created_at=_NOW,
        updated_at=_NOW,
    )
    return Viewer(user=user, session_id=UUID(int=3), authenticated_until=_NOW, scopes=scopes)


@pytest.mark.parametrize(
    ("who", "visitor", "stranger", "owner", "administrator"),
    [
        (Who.ANYONE, True, True, True, True),
        (Who.SIGNED_IN, False, True, True, True),
        (Who.OWNER, False, False, True, False),
        (Who.OWNER_OR_ADMINISTRATOR, False, False, True, True),
        (Who.ADMINISTRATOR, False, False, False, True),
    ],
)
def test_who(*, who: Who, visitor: bool, stranger: bool, owner: bool, administrator: bool) -> None:
    rule = Rule(who=who, scope=None)
    refusal = rule.find_refusal(None, owner_id=_ME)
    assert isinstance(refusal, type(None) if visitor else Unauthenticated)
    asked = [
        (rule.find_refusal(_viewer(), owner_id=_SOMEBODY), stranger),
        (rule.find_refusal(_viewer(), owner_id=_ME), owner),
        (rule.find_refusal(_viewer(Role.ADMIN), owner_id=_SOMEBODY), administrator),
    ]
    for refusal, may in asked:
        assert isinstance(refusal, type(None) if may else Forbidden)


def test_what_belongs_to_nobody_has_no_owner() -> None:
    assert Rule(who=Who.OWNER, scope=None).find_refusal(_viewer(), owner_id=None) is not None


@pytest.mark.parametrize("who", [Who.ANYONE, Who.SIGNED_IN, Who.OWNER])
def test_a_token_needs_the_scope_and_a_sign_in_does_not(who: Who) -> None:
    for scope in Scope:
        rule = Rule(who=who, scope=scope)
        assert rule.find_refusal(_viewer(), owner_id=_ME) is None
        assert rule.find_refusal(_viewer(scopes=frozenset({scope})), owner_id=_ME) is None
        for lacking in (frozenset[Scope](), _ALL - {scope}):
            refusal = rule.find_refusal(_viewer(scopes=lacking), owner_id=_ME)
            assert isinstance(refusal, Forbidden)
            assert scope in refusal.message


def test_without_a_scope_no_token_will_do_unless_anyone_may() -> None:
    assert isinstance(Rule(who=Who.SIGNED_IN, scope=None).find_refusal(_viewer(scopes=_ALL)), Forbidden)
    assert Rule(who=Who.ANYONE, scope=None).find_refusal(_viewer(scopes=frozenset())) is None


def test_a_scope_gives_no_right_that_its_owner_lacks() -> None:
    rule = Rule(who=Who.ADMINISTRATOR, scope=Scope.ADMIN)
    assert isinstance(rule.find_refusal(_viewer(scopes=_ALL)), Forbidden)
    assert rule.find_refusal(_viewer(Role.ADMIN, scopes=_ALL)) is None
