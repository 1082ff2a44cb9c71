"""Folders for work in progress, which go with the process that made them, or with the next one after its death."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOCK = "lock"


class Scratch:
    """A folder below `root` that is this process's as long as it lives; what dead ones left there is removed."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in root.iterdir():
            _remove_if_dead(left)
        self._folder = Path(tempfile.mkdtemp(dir=root))
        self._lock = (self._folder / _LOCK).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """An empty folder, which is removed whatever happens."""
        made = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.close()


def _remove_if_dead(folder: Path) -> None:
    # Without a lock somebody is making it just now, or it is none of ours; a lock that is held has an owner who lives.
    with contextlib.suppress(OSError), (folder / _LOCK).open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
