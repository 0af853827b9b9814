"""The system user under which a server that was started by root runs PostgreSQL, which refuses to be root."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

import structlog

from ops.errors import StartupError

USER_NAME: Final = "pgserver"
_log = structlog.get_logger(__name__)


class ProcessIdentity(TypedDict, total=False):
    """The arguments of subprocess.Popen that start a process as another user; empty for the present one."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseUser:
    """An unprivileged user and its group."""

    user_id: int
    group_id: int

    @property
    def identity(self) -> ProcessIdentity:
        """For subprocess.Popen."""
        return {"user": self.user_id, "group": self.group_id, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Hands the file or folder over to this user."""
        os.chown(path, self.user_id, self.group_id)

    def reach(self, folder: Path) -> None:
        """Lets this user pass through the folder and those above it, without letting it list them."""
        for place in (folder, *folder.parents):
            status = place.stat()
            if status.st_uid == self.user_id or status.st_mode & stat.S_IXOTH:
                continue
            if place != folder:
                _log.warning("folder_opened_for_passing", folder=str(place), user_id=self.user_id)
            place.chmod(stat.S_IMODE(status.st_mode) | stat.S_IXOTH)

    def read(self, tree: Path) -> None:
        """Lets this user read and execute everything in an installed package (a strict umask had shut it off)."""
        self.reach(tree)
        if (tree / "bin").stat().st_mode & stat.S_IROTH:
            return
        for place in (tree, *tree.rglob("*")):
            mode = stat.S_IMODE(place.stat().st_mode)
            wanted = mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0)
            if wanted != mode:
                place.chmod(wanted)


def database_user(folder: Path) -> DatabaseUser | None:
    """Whom to run PostgreSQL as: the present user; for root, the owner of existing data, else a user made for it."""
    if os.geteuid() != 0:
        return None
    if folder.exists() and (status := folder.stat()).st_uid != 0:
        return DatabaseUser(user_id=status.st_uid, group_id=status.st_gid)
    try:
        entry = pwd.getpwnam(USER_NAME)
    except KeyError:
        _make_user()
        entry = pwd.getpwnam(USER_NAME)
    return DatabaseUser(user_id=entry.pw_uid, group_id=entry.pw_gid)


def _make_user() -> None:
    sentence = (
        f"PostgreSQL does not run as root, and the user {USER_NAME} for it could not be made: start the server as "
        "another user, or set DATABASE_URL."
    )
    command = shutil.which("useradd") or shutil.which("useradd", path="/usr/sbin:/sbin")
    if command is None:
        raise StartupError(sentence)
    arguments = [command, "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", USER_NAME]
    try:
        subprocess.run(arguments, check=True, capture_output=True, timeout=30)  # noqa: S603 fixed arguments
    except (OSError, subprocess.SubprocessError) as error:
        try:
            # A server that was started at the same moment may have made it.
            pwd.getpwnam(USER_NAME)
        except KeyError:
            raise StartupError(sentence) from error
