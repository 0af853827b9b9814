"""A real file system that is soon full, wherever there is a way to have one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SIZE_MIB = 112
# Containers have one of their own, of 64 MiB, and may not mount any other.
_SHARED_MEMORY = Path("/dev/shm")
_SMALL_BYTES = 256 << 20
_BLOCK_BYTES = 1 << 16
REASON = "a full disk needs a small file system: root or sudo without a password to mount one, or a small /dev/shm"


class SmallDisk:
    """A folder on it, with room for a PostgreSQL and little more."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Not a byte is left."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (_BLOCK_BYTES, 1):
                try:
                    while ballast.write(bytes(size)):
                        pass
                except OSError:
                    continue

    def free(self) -> None:
        """Somebody has cleared it up."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk() -> Iterator[SmallDisk | None]:
    """None where there is no way."""
    folder = Path(tempfile.mkdtemp(prefix="faults-disk-"))
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    try:
        if _is_mounted(folder, prefix):
            try:
                yield SmallDisk(folder)
            finally:
                subprocess.run([*prefix, "umount", "--lazy", str(folder)], check=True)
        elif _SHARED_MEMORY.is_dir() and shutil.disk_usage(_SHARED_MEMORY).total <= _SMALL_BYTES:
            place = Path(tempfile.mkdtemp(prefix="faults-disk-", dir=_SHARED_MEMORY))
            try:
                yield SmallDisk(place)
            finally:
                shutil.rmtree(place)
        else:
            yield None
    finally:
        folder.rmdir()


def _is_mounted(folder: Path, prefix: list[str]) -> bool:
    if sys.platform != "linux" or shutil.which((prefix or ["mount"])[0]) is None:
        return False
    options = f"size={_SIZE_MIB}m,mode=0755,uid={os.geteuid()}"
    command = [*prefix, "mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
