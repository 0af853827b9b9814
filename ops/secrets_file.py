"""The server's own secrets: made once into the data folder, or demanded where the folder does not hold the database."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from ops.data_folder import prepare
from ops.encryption_key import EXPECTED, EncryptionKey, parse_keys
from ops.errors import StartupError

FILE_NAME: Final = "secrets.json"
_log = structlog.get_logger(__name__)


def encryption_keys(
    configured: Sequence[EncryptionKey], *, data_dir: Path, is_embedded: bool
) -> tuple[EncryptionKey, ...]:
    """The keys in force, the active one first. Raises StartupError.

    With an external database they must be configured: a key in a folder of one of its servers would be lost with that
    server, and unknown to the others. With the embedded one, configured keys come before the folder's own, which still
    open what they have sealed.
    """
    if not is_embedded:
        if not configured:
            raise StartupError(f"ENCRYPTION_KEYS is needed together with DATABASE_URL: expected {EXPECTED}.")
        return tuple(configured)
    path = prepare(data_dir) / FILE_NAME
    kept = _read(path)
    if not kept and not configured:
        _put_in_place(path, [EncryptionKey.generate()], replace=False)
        _log.info("secrets_generated", path=str(path))
        kept = _read(path)
    keys = {key.id: key for key in (*kept, *configured)}
    for key in kept:
        if keys[key.id] != key:
            raise StartupError(
                f"ENCRYPTION_KEYS gives the id {key.id} to another key than {path} does: use a new id for a new key."
            )
    return (*configured, *(key for key in kept if key not in configured))


def add_key(data_dir: Path) -> EncryptionKey:
    """Makes another key into the data folder, as the active one. The others stay: backups may need them."""
    folder = prepare(data_dir)
    path = folder / FILE_NAME
    key = EncryptionKey.generate()
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Whoever else adds one at this moment must not take this one away again.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        _put_in_place(path, [key, *_read(path)], replace=True)
    finally:
        os.close(descriptor)
    _log.info("secrets_generated", path=str(path))
    return key


def _read(path: Path) -> tuple[EncryptionKey, ...]:
    """No keys when there is no file."""
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            # Not mended in silence: whoever could read it until now may have.
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise StartupError(
                    f"{path} holds the server's secrets and other users may read it (mode {mode:04o}): "
                    f"if none of them has, run chmod 600 {path}."
                )
            written = json.load(file)["encryption_keys"]
        return parse_keys(",".join(written))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise StartupError(f"{path} cannot be read ({(error.strerror or 'unknown reason').lower()}).") from error
    except (ValueError, TypeError, KeyError):
        # What is in the file must not show up as somebody's cause.
        raise StartupError(
            f"{path} is damaged: restore it from a backup, for without it no stored API key or token can be read."
        ) from None


def _put_in_place(path: Path, keys: Sequence[EncryptionKey], *, replace: bool) -> None:
    """Whole or not at all; without `replace` never over a file that another process has made meanwhile."""
    unfinished = path.with_name(f"{FILE_NAME}.{secrets.token_hex(4)}.new")
    content = json.dumps({"encryption_keys": [key.written() for key in keys]}, indent=2)
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content + "\n")
            file.flush()
            os.fsync(file.fileno())
        if replace:
            unfinished.replace(path)
        else:
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(unfinished)
            unfinished.unlink()
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StartupError(f"{path} cannot be written ({(error.strerror or 'unknown reason').lower()}).") from error
