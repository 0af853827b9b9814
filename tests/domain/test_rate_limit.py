"""Whose bucket is taken from, and what is answered when it is empty."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from domain.account import Client, Role, User, Viewer
from domain.errors import RateLimited
from domain.rate_limit import Allowance, Rate, RateLimits, Standing

_NOW = datetime(2026, 11, 30, tzinfo=UTC)
_HERE = Client(ip="203.0.113.7", user_agent=None)
_USER = User(
    id=UUID(int=1),
    email="ada@example.org",
    username="ada",
    role=Role.USER,
    is_active=True,
    created_at=_NOW,
    updated_at=_NOW,
)
_ADA = Viewer(user=_USER, session_id=UUID(int=2), authenticated_until=_NOW)
_PROGRAM = replace(_ADA, session_id=None, access_token_id=UUID(int=3))


@dataclass
class Buckets:
    """Buckets that do not fill up again."""

    taken: dict[str, int] = field(default_factory=dict)

    async def take(self, bucket: str, allowance: Allowance, *, points: int) -> bool:
        if self.taken.get(bucket, 0) + points > allowance.points:
            return False
        self.taken[bucket] = self.taken.get(bucket, 0) + points
        return True

    async def standing(self, bucket: str, allowance: Allowance) -> Standing:
        remaining = allowance.points - self.taken.get(bucket, 0)
        return Standing(limit=allowance.points, remaining=remaining, resets_at=_NOW + timedelta(seconds=6.2))


def _limits(buckets: Buckets, *, points: int = 10) -> RateLimits:
    allowance = Allowance(points=points, period=timedelta(minutes=1))
    return RateLimits(counters=buckets, allowances=dict.fromkeys(Rate, allowance), clock=lambda: _NOW)


@pytest.mark.parametrize(
    ("rate", "viewer", "buckets"),
    [
        (Rate.COST, None, {"cost:ip:203.0.113.7"}),
        (Rate.COST, _ADA, {f"cost:user:{UUID(int=1)}"}),
        (Rate.COST, _PROGRAM, {f"cost:user:{UUID(int=1)}", f"cost:token:{UUID(int=3)}"}),
        (Rate.GENERATE, _ADA, {f"generate:user:{UUID(int=1)}"}),
        (Rate.SIGN_IN, None, {"sign_in:ip:203.0.113.7"}),
        # who is signed in tries passwords from an address like everybody
        (Rate.SIGN_IN, _ADA, {"sign_in:ip:203.0.113.7"}),
        (Rate.SIGN_UP, _PROGRAM, {"sign_up:ip:203.0.113.7"}),
    ],
)
async def test_whose_bucket(rate: Rate, viewer: Viewer | None, buckets: set[str]) -> None:
    seen = Buckets()
    await _limits(seen).take(rate, viewer, _HERE)
    assert seen.taken.keys() == buckets


@pytest.mark.parametrize(
    ("ips", "buckets"),
    [
        (("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"), 1),
        (("2001:db8:1:2::1", "2001:db8:1:3::1"), 2),
        (("203.0.113.7", "::ffff:203.0.113.7"), 1),
        (("203.0.113.7", "203.0.113.8"), 2),
        ((None, "nonsense"), 1),
    ],
)
async def test_addresses_that_are_one_network_share_a_bucket(ips: tuple[str | None, ...], buckets: int) -> None:
    seen = Buckets()
    for ip in ips:
        await _limits(seen).take(Rate.SIGN_IN, None, Client(ip=ip, user_agent=None))
    assert len(seen.taken) == buckets


async def test_an_empty_bucket_refuses_and_stays_closed_without_being_asked() -> None:
    seen = Buckets()
    limits = _limits(seen)
    for _ in range(10):
        await limits.take(Rate.COST, None, _HERE)
    limits.ensure_open(None, _HERE)
    with pytest.raises(RateLimited) as caught:
        await limits.take(Rate.COST, None, _HERE)
    assert caught.value.retry_after_seconds == 7
    seen.taken.clear()
    with pytest.raises(RateLimited):
        limits.ensure_open(None, _HERE)
    limits.ensure_open(_ADA, _HERE)
    limits.ensure_open(None, replace(_HERE, ip="203.0.113.8"))


async def test_a_program_leaves_its_owner_half() -> None:
    seen = Buckets()
    limits = _limits(seen)
    for _ in range(5):
        await limits.take(Rate.GENERATE, _PROGRAM, _HERE)
    with pytest.raises(RateLimited):
        await limits.take(Rate.GENERATE, _PROGRAM, _HERE)
    assert seen.taken[f"generate:user:{UUID(int=1)}"] == 5
    await limits.take(Rate.GENERATE, _ADA, _HERE)


async def test_more_than_there_can_ever_be_takes_all_there_is() -> None:
    seen = Buckets()
    limits = _limits(seen)
    await limits.take(Rate.COST, _ADA, _HERE, points=1_000)
    standing = await limits.standing(_ADA, _HERE)
    assert standing is not None
    assert standing.remaining == 0
    with pytest.raises(RateLimited):
        await limits.take(Rate.COST, _ADA, _HERE)


async def test_nothing_is_counted_where_nothing_is_said() -> None:
    seen = Buckets()
    limits = _limits(seen, points=0)
    await limits.take(Rate.COST, None, _HERE, points=1_000_000)
    assert seen.taken == {}
    assert await limits.standing(None, _HERE) is None
