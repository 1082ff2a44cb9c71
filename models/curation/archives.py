"""Members of tar archives (webdataset shards) as ranges of the archive's bytes: nothing is ever unpacked."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

from models.curation.places import Place
from models.curation.reasons import Reason, Refused

SUFFIX = ".tar"
#: read at once while headers are looked for; members larger than this are skipped over
BLOCK_BYTES = 64 * 1024
#: no honest header is longer; one that says so would be read into memory whole
MAX_HEADER_BYTES = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A file inside an archive, or what is wrong with the rest of it."""

    name: str
    offset: int = 0
    size: int = 0
    refusal: Reason | None = None


class PlaceReader(io.RawIOBase):
    """A file of a place as a seekable binary file."""

    def __init__(self, place: Place, name: str, size: int) -> None:
        self._place, self._name, self._size, self._offset = place, name, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._offset, io.SEEK_END: self._size}[whence]
        self._offset = max(base + offset, 0)
        return self._offset

    def tell(self) -> int:
        return self._offset

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        data = self._place.read(self._name, self._offset, len(view)) if self._offset < self._size else b""
        view[: len(data)] = data
        self._offset += len(data)
        return len(data)


class _HeaderReader(io.BufferedReader):
    """Reads headers only: `tarfile` seeks over the members themselves."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= MAX_HEADER_BYTES:
            raise ValueError("a header of the archive is too long")
        return super().read(size)


def open_file(place: Place, name: str, size: int) -> BinaryIO:
    """A buffered, seekable, read-only file; reading raises Refused."""
    return cast(BinaryIO, io.BufferedReader(PlaceReader(place, name, size), BLOCK_BYTES))


def members(place: Place, name: str, size: int) -> Iterator[Member]:
    """Every member in the order of the archive; what cannot be read ends it with one refusal."""
    try:
        reader = _HeaderReader(PlaceReader(place, name, size), BLOCK_BYTES)
        with tarfile.open(fileobj=reader, mode="r:") as archive:
            # Forgetting what was read keeps memory constant for archives of any length.
            while (info := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]
                if not info.isdir():
                    yield _member(info, size)
    except (tarfile.TarError, Refused, OSError, ValueError, EOFError, RecursionError, OverflowError):
        yield Member(name="", refusal=Reason.BROKEN_ARCHIVE)


def _member(info: tarfile.TarInfo, size: int) -> Member:
    name = info.name.encode("utf-8", "backslashreplace").decode()
    if not info.isreg() or info.issparse():
        return Member(name=name, refusal=Reason.NOT_A_FILE)
    if info.offset_data + info.size > size:
        return Member(name=name, refusal=Reason.CORRUPT)
    return Member(name=name, offset=info.offset_data, size=info.size)
