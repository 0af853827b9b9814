"""Whether what somebody has come by still counts, at the end of what takes its time."""

from __future__ import annotations

from datetime import datetime

from domain.account import Viewer
from domain.errors import Unauthenticated
from domain.store import Transaction


async def check_credential(tx: Transaction, viewer: Viewer, *, now: datetime) -> None:
    """Locks the viewer's account, so that whatever ends sign-ins comes before or after, and looks once more.

    For what lasts longer than the sign-in by which it was asked for. Raises Unauthenticated.
    """
    await tx.users.lock(viewer.user.id)
    if viewer.access_token_id is not None:
        is_live = viewer.access_token_id in await tx.access_tokens.list_live([viewer.access_token_id], now=now)
    else:
        is_live = await tx.sessions.find_viewer(viewer.credential_id, now=now) is not None
    if not is_live:
        raise Unauthenticated("The session has ended; sign in again.")
