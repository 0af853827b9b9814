"""Slows down whoever guesses passwords, without letting anybody lock somebody else out.

Failures are counted by account and address together, by account, and by address. Each further failure makes the next
try wait longer, up to a bound. An account's counter never keeps back the first try from an address, and neither it nor
the address's counter keeps back a person where they have been signed in before: so a stranger's failures do not lock
the owner out. What is counted is stored, so it holds in all instances, and forgotten after a day without failures.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address
from typing import Final
from uuid import UUID

from domain.errors import RateLimited
from domain.sign_in_attempts import Attempts
from domain.store import Transaction

FORGET_AFTER: Final = timedelta(days=1)
_IPV6_NETWORK_BITS: Final = 64  # what one customer of a provider has to themselves


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A try that was let through and counts as failed until it is known to have succeeded."""

    own_key: bytes
    shared_keys: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limit:
    """After so many failures each further one makes the next try wait twice as long, up to a bound."""

    free: int
    longest: timedelta

    def wait_after(self, failures: int) -> timedelta:
        if failures < self.free:
            return timedelta()
        return min(self.longest, timedelta(seconds=2.0 ** min(failures - self.free, 30)))


_OWN: Final = _Limit(free=8, longest=timedelta(minutes=5))
_ACCOUNT: Final = _Limit(free=20, longest=timedelta(minutes=1))
_ADDRESS: Final = _Limit(free=60, longest=timedelta(minutes=5))


async def admit(tx: Transaction, *, login: str, user_id: UUID | None, ip: str | None, now: datetime) -> Admission:
    """Lets a try through and counts it. Raises RateLimited, alike whether there is such a user or not."""
    account = login.strip().casefold() if user_id is None else str(user_id)
    address = _network_of(ip)
    own_key, account_key, address_key = _key(account, address), _key(account, None), _key(None, address)
    # Asked in any case, so that it takes as long for a user who does not exist.
    is_known_here = await tx.sessions.has_been_seen_at(user_id or UUID(int=0), ip)
    limits = {own_key: _OWN} if is_known_here else {own_key: _OWN, account_key: _ACCOUNT, address_key: _ADDRESS}
    found = await tx.sign_in_attempts.lock(sorted(limits), now=now)
    current = {key: _forgotten_if_old(attempts, now) for key, attempts in found.items()}
    binding = set(limits)
    if current[own_key].failures == 0:
        binding.discard(account_key)
    wait = max(current[key].blocked_until for key in binding) - now
    if wait > timedelta():
        raise RateLimited(
            "Too many sign-ins have failed. Wait a moment before the next try.",
            retry_after_seconds=math.ceil(wait.total_seconds()),
        )
    for key, limit in limits.items():
        failures = current[key].failures + 1
        until = max(current[key].blocked_until, now + limit.wait_after(failures))
        await tx.sign_in_attempts.save(key, Attempts(failures=failures, blocked_until=until, updated_at=now))
    return Admission(own_key=own_key, shared_keys=tuple(key for key in limits if key != own_key))


async def succeed(tx: Transaction, admission: Admission) -> None:
    """The try was right: what was counted under its own key is forgotten, and it counts nowhere else.

    No more is forgotten there, or a guesser could sign in to an account of their own now and then.
    """
    await tx.sign_in_attempts.take_back(admission.shared_keys, forgetting=admission.own_key)


async def withdraw(tx: Transaction, admission: Admission) -> None:
    """The try came to nothing through no fault of its own."""
    await tx.sign_in_attempts.take_back((admission.own_key, *admission.shared_keys))


def _forgotten_if_old(attempts: Attempts, now: datetime) -> Attempts:
    if now - attempts.updated_at < FORGET_AFTER:
        return attempts
    return Attempts(failures=0, blocked_until=attempts.updated_at, updated_at=now)


def _network_of(ip: str | None) -> str:
    try:
        address = ip_address(ip or "")
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(IPv6Address(int(address) >> _IPV6_NETWORK_BITS << _IPV6_NETWORK_BITS))
    return str(address)


def _key(account: str | None, address: str | None) -> bytes:
    """No login and no address is stored for this."""
    return hashlib.sha256(repr((account, address)).encode("utf-8", "surrogatepass")).digest()
