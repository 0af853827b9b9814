"""Links that an administrator makes and hands over, good once: for an invitation or a forgotten password."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from domain.account import Role
from domain.page import Page, PageRequest
from domain.secret import Secret

_SECRET_BYTES = 32


class LinkPurpose(StrEnum):
    """What a link is good for."""

    INVITATION = "INVITATION"
    PASSWORD_RESET = "PASSWORD_RESET"  # noqa: S105  (a purpose's name, not a password)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLink:
    """A link without its secret, of which only SHA-256 is stored. One that was used stays until it would have run out.

    An invitation has the role of the account to be made, a password's reset has its user.
    """

    id: UUID
    purpose: LinkPurpose
    role: Role | None
    user_id: UUID | None
    created_by: UUID
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None

    @property
    def target(self) -> str:
        """As the audit log names what is done with it."""
        return f"account_link:{self.id}"


def new_link_secret() -> tuple[Secret, bytes]:
    """A link's secret, and the hash that is stored."""
    secret = base64.urlsafe_b64encode(secrets.token_bytes(_SECRET_BYTES)).decode().rstrip("=")
    return Secret(secret), hash_of_link(secret)


def hash_of_link(secret: str) -> bytes:
    """What is stored of a secret."""
    return hashlib.sha256(secret.strip().encode("utf-8", "surrogatepass")).digest()


class AccountLinks(Protocol):
    """The links that have been made."""

    async def add(self, link: AccountLink, *, secret_hash: bytes) -> None:
        """Stores a new one; an earlier one for the same user's password that was not used is deleted."""

    async def find_good(self, secret_hash: bytes, purpose: LinkPurpose, *, now: datetime) -> AccountLink | None:
        """One that was not used, has not run out, and whose maker is still an active administrator."""

    async def use(self, link_id: UUID, *, now: datetime) -> bool:
        """Makes it void; False when it is not good any more."""

    async def list_page(self, page: PageRequest, *, now: datetime) -> Page[AccountLink]:
        """A page of those that have not run out and whose maker is still an active administrator, the newest first."""

    async def count(self, *, now: datetime) -> int:
        """How many these are."""

    async def withdraw(self, link_id: UUID, *, now: datetime) -> AccountLink | None:
        """Deletes one of these that was not used; None when there is no such one."""

    async def withdraw_all_by(self, user_id: UUID) -> int:
        """Deletes all that a user has made and nobody has used; answers how many."""

    async def purge(self, *, expired_before: datetime) -> int:
        """Deletes those that ran out before then; answers how many."""
