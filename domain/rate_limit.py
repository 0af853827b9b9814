"""How often somebody may do what: a bucket for each person, token and address, that fills up again with time."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv6Address, ip_address
from typing import Protocol

from domain.account import Client, Viewer
from domain.errors import RateLimited

_MAX_EMPTY_BUCKETS = 10_000
_NETWORK_BITS = 64  # an IPv6 site can use any address of its network
_TOKEN_SHARE = 2  # a token may use half of what its owner may, so that a program leaves its owner something


class Rate(StrEnum):
    """What is counted."""

    SIGN_IN = "sign_in"
    SIGN_UP = "sign_up"
    GENERATE = "generate"
    COST = "cost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """So many points in so much time; none at all means that nothing is counted."""

    points: int
    period: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How full a bucket is, and when the next points come back into it."""

    limit: int
    remaining: int
    resets_at: datetime


class RateCounters(Protocol):
    """Where the buckets are; never fails, and answers within a fraction of a second."""

    async def take(self, bucket: str, allowance: Allowance, *, points: int) -> bool:
        """Takes points; False when there are not so many, and none are taken."""

    async def standing(self, bucket: str, allowance: Allowance) -> Standing:
        """How full it is."""


class RateLimits:
    """Counts what is asked, and refuses what is too much.

    Sign-ins and sign-ups count for the address they come from, everything else for who is signed in: many people may
    share an address.
    """

    def __init__(
        self, *, counters: RateCounters, allowances: Mapping[Rate, Allowance], clock: Callable[[], datetime]
    ) -> None:
        self._counters = counters
        self._allowances = {rate: each for rate, each in allowances.items() if each.points > 0}
        self._clock = clock
        self._empty: OrderedDict[str, datetime] = OrderedDict()

    def ensure_open(self, viewer: Viewer | None, client: Client) -> None:
        """Turns away at once, and at no cost, who was told a moment ago to come back later. Raises RateLimited."""
        for bucket, _ in self._buckets(Rate.COST, viewer, client):
            if (until := self._empty.get(bucket)) is not None and until > self._clock():
                raise self._refusal(until)

    async def take(self, rate: Rate, viewer: Viewer | None, client: Client, *, points: int = 1) -> None:
        """Counts it. Raises RateLimited when it is too much; more than a full bucket is taken for a full one."""
        for bucket, allowance in self._buckets(rate, viewer, client):
            wanted = min(points, allowance.points)
            if await self._counters.take(bucket, allowance, points=wanted):
                continue
            until = (await self._counters.standing(bucket, allowance)).resets_at
            self._empty[bucket] = until
            self._empty.move_to_end(bucket)
            if len(self._empty) > _MAX_EMPTY_BUCKETS:
                self._empty.popitem(last=False)
            raise self._refusal(until)

    async def standing(self, viewer: Viewer | None, client: Client) -> Standing | None:
        """The emptiest of the buckets that the cost of operations is taken from; None when nothing is counted."""
        buckets = self._buckets(Rate.COST, viewer, client)
        standings = [await self._counters.standing(bucket, allowance) for bucket, allowance in buckets]
        return min(standings, key=lambda each: each.remaining, default=None)

    def _buckets(self, rate: Rate, viewer: Viewer | None, client: Client) -> list[tuple[str, Allowance]]:
        allowance = self._allowances.get(rate)
        if allowance is None:
            return []
        if viewer is None or rate in (Rate.SIGN_IN, Rate.SIGN_UP):
            return [(f"{rate}:ip:{_network_of(client.ip)}", allowance)]
        buckets = [(f"{rate}:user:{viewer.user.id}", allowance)]
        if viewer.access_token_id is not None:
            share = Allowance(points=max(1, allowance.points // _TOKEN_SHARE), period=allowance.period)
            # The smaller one first: what it refuses is not taken from the owner.
            buckets.insert(0, (f"{rate}:token:{viewer.access_token_id}", share))
        return buckets

    def _refusal(self, until: datetime) -> RateLimited:
        seconds = max(1, math.ceil((until - self._clock()).total_seconds()))
        return RateLimited("This was too much in too little time; try again later.", retry_after_seconds=seconds)


def _network_of(ip: str | None) -> str:
    try:
        address = ip_address(ip or "")
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return f"{int(address) >> (128 - _NETWORK_BITS):x}"
    return str(address)
