"""Where the bytes of a source lie: a folder here, memory, or (from `deploy/`) an object store."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from models.curation.reasons import Reason, Refused


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundFile:
    """One entry of a place; with a `refusal` there are no bytes to be had."""

    name: str
    size: int = 0
    refusal: Reason | None = None


class Place(Protocol):
    """Files by name, `/` between folders; has to survive pickling, since worker processes read from it, too."""

    @property
    def title(self) -> str:
        """How reports call it; no secrets."""
        ...

    def files(self) -> Iterator[FoundFile]:
        """Every entry once, in any order; nothing is left out silently."""
        ...

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`; raises Refused."""
        ...


@dataclass(frozen=True)
class FolderPlace:
    """A folder: links to files inside it are read, everything that leads out of it is refused."""

    root: Path

    @property
    def title(self) -> str:
        return str(self.root)

    def files(self) -> Iterator[FoundFile]:
        yield from self._walk("")

    def _walk(self, folder: str) -> Iterator[FoundFile]:
        try:
            with os.scandir(self.root / folder) as entries:
                for entry in entries:
                    yield from self._entry(f"{folder}/{entry.name}" if folder else entry.name, entry)
        except OSError:
            yield FoundFile(name=folder or ".", refusal=Reason.UNREADABLE)

    def _entry(self, name: str, entry: os.DirEntry[str]) -> Iterator[FoundFile]:
        if not _is_utf8(entry.name):
            yield FoundFile(name=_printable(name), refusal=Reason.BAD_NAME)
        elif entry.is_symlink():
            yield self._link(name)
        elif entry.is_dir(follow_symlinks=False):
            yield from self._walk(name)  # a real folder has one parent, so this ends
        elif entry.is_file(follow_symlinks=False):
            yield FoundFile(name=name, size=entry.stat(follow_symlinks=False).st_size)
        else:
            yield FoundFile(name=name, refusal=Reason.NOT_A_FILE)

    def _link(self, name: str) -> FoundFile:
        path = self.root / name
        try:
            target = path.resolve(strict=True)
            if not target.is_relative_to(self.root.resolve()):
                return FoundFile(name=name, refusal=Reason.OUTSIDE_SOURCE)
            if target.is_dir():
                return FoundFile(name=name, refusal=Reason.LINK_TO_FOLDER)
            return FoundFile(name=name, size=target.stat().st_size)
        except (OSError, RuntimeError):  # dangling, or a ring of links
            return FoundFile(name=name, refusal=Reason.UNREADABLE)

    def read(self, name: str, offset: int, length: int) -> bytes:
        path = self.root / name
        try:
            # Looked at again here: a listing may name anything, and a link may have changed since it was listed.
            if not path.resolve().is_relative_to(self.root.resolve()):
                raise Refused(Reason.OUTSIDE_SOURCE)
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe must not make us wait
        except (FileNotFoundError, NotADirectoryError):
            raise Refused(Reason.MISSING_FILE) from None
        except (OSError, RuntimeError, ValueError) as error:
            raise Refused(Reason.UNREADABLE, type(error).__name__) from None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Refused(Reason.NOT_A_FILE)
            return _read(descriptor, offset, length)
        except OSError as error:
            raise Refused(Reason.UNREADABLE, type(error).__name__) from None
        finally:
            os.close(descriptor)


@dataclass(frozen=True)
class MemoryPlace:
    """Files held in memory, for small sets that never were files."""

    contents: Mapping[str, bytes]
    title: str = "memory"

    def files(self) -> Iterator[FoundFile]:
        for name, data in self.contents.items():
            yield FoundFile(name=name, size=len(data))

    def read(self, name: str, offset: int, length: int) -> bytes:
        if name not in self.contents:
            raise Refused(Reason.MISSING_FILE)
        return self.contents[name][offset : offset + length]


def _read(descriptor: int, offset: int, length: int) -> bytes:
    """The kernel may give less than was asked for before the end is reached."""
    parts = []
    while length > 0 and (part := os.pread(descriptor, length, offset)):
        parts.append(part)
        offset, length = offset + len(part), length - len(part)
    return b"".join(parts)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _printable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")
