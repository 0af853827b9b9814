"""Who may do what: the rule that a part of the API has, and what it says to a caller."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never
from uuid import UUID

from domain.account import Role, Scope, Viewer
from domain.errors import AssistantError, Forbidden, Unauthenticated


class Who(StrEnum):
    """Who may have something. An owner is the person whose data it is."""

    ANYONE = "ANYONE"
    SIGNED_IN = "SIGNED_IN"
    OWNER = "OWNER"
    OWNER_OR_ADMINISTRATOR = "OWNER_OR_ADMINISTRATOR"
    ADMINISTRATOR = "ADMINISTRATOR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Who may, and what a token must be good for. Without a scope no token will do, unless anyone may."""

    who: Who
    scope: Scope | None

    def find_refusal(self, viewer: Viewer | None, *, owner_id: UUID | None = None) -> AssistantError | None:
        """Why this caller may not; None when they may."""
        if viewer is None:
            return None if self.who is Who.ANYONE else Unauthenticated("Sign in first.")
        if not self.admits(viewer, owner_id=owner_id):
            return Forbidden("You may not do this.")
        return self._find_lack_of_scope(viewer)

    def admits(self, viewer: Viewer, *, owner_id: UUID | None) -> bool:
        """Whether somebody who is signed in is one of those who may, whatever they have signed in with."""
        is_administrator = viewer.user.role is Role.ADMIN
        match self.who:
            case Who.ANYONE | Who.SIGNED_IN:
                return True
            case Who.OWNER:
                return owner_id == viewer.user.id
            case Who.OWNER_OR_ADMINISTRATOR:
                return is_administrator or owner_id == viewer.user.id
            case Who.ADMINISTRATOR:
                return is_administrator
            case _:
                assert_never(self.who)

    def _find_lack_of_scope(self, viewer: Viewer) -> AssistantError | None:
        if viewer.scopes is None or self.scope in viewer.scopes:
            return None
        if self.scope is not None:
            return Forbidden(f"The token lacks the scope {self.scope}.")
        return None if self.who is Who.ANYONE else Forbidden("A token may not do this; sign in.")
