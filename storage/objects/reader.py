"""Reading a big object piece by piece as an ordinary seekable file."""

from __future__ import annotations

import io
from typing import BinaryIO, cast

from schemas.errors import ObjectMissing
from storage.objects.store import ObjectInfo, ObjectStore

BLOCK_BYTES = 1024 * 1024


class _RangeReader(io.RawIOBase):
    """Each read is one ranged get of the version that `info` describes; memory stays at one block."""

    def __init__(self, store: ObjectStore, info: ObjectInfo) -> None:
        self._store, self._info, self._offset = store, info, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._offset, io.SEEK_END: self._info.size}[whence]
        self._offset = max(base + offset, 0)
        return self._offset

    def tell(self) -> int:
        return self._offset

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        if self._offset >= self._info.size:
            return 0
        data = self._store.get_range(self._info.key, self._offset, len(view), etag=self._info.etag)
        view[: len(data)] = data
        self._offset += len(data)
        return len(data)


def open_object(store: ObjectStore, key: str) -> BinaryIO:
    """A seekable, buffered, read-only file over the object as it is now.

    Raises ObjectMissing, also while reading when the object is replaced or removed meanwhile: never a mixture.
    """
    info = store.head(key)
    if info is None:
        raise ObjectMissing(f"there is no object {key!r} in {store.bucket}", field="key")
    return cast(BinaryIO, io.BufferedReader(_RangeReader(store, info), BLOCK_BYTES))
