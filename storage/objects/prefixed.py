"""A part of another store: every key lies below one prefix, e.g. a tenant's or that of ``s3://bucket/prefix``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from storage.objects.store import (
    DEFAULT_MEDIA_TYPE,
    Capabilities,
    ObjectEntry,
    ObjectInfo,
    ObjectStore,
    PutResult,
    require_key,
)


class PrefixedStore:
    """The objects of `store` whose keys start with `prefix` and a slash, under keys without them."""

    def __init__(self, store: ObjectStore, prefix: str) -> None:
        trimmed = prefix.strip("/")
        require_key(trimmed)
        self._store, self._prefix = store, trimmed + "/"

    @property
    def bucket(self) -> str:
        return self._store.bucket

    def _full(self, key: str) -> str:
        # Checked without the prefix too: "../other-tenant/x" must not be judged only after it was joined.
        require_key(key)
        return self._prefix + key

    def probe(self) -> Capabilities:
        return self._store.probe()

    def put(
        self,
        key: str,
        data: bytes,
        *,
        media_type: str = DEFAULT_MEDIA_TYPE,
        metadata: Mapping[str, str] | None = None,
        if_absent: bool = True,
    ) -> PutResult:
        return self._store.put(
            self._full(key), data, media_type=media_type, metadata=metadata, if_absent=if_absent
        )

    def get(self, key: str) -> bytes:
        return self._store.get(self._prefix + key)

    def get_range(self, key: str, start: int, length: int, *, etag: str | None = None) -> bytes:
        return self._store.get_range(self._prefix + key, start, length, etag=etag)

    def head(self, key: str) -> ObjectInfo | None:
        info = self._store.head(self._prefix + key)
        return replace(info, key=key) if info else None

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectEntry]:
        after = self._prefix + start_after if start_after else ""
        for entry in self._store.list(self._prefix + prefix, start_after=after):
            yield replace(entry, key=entry.key.removeprefix(self._prefix))

    def presign(self, key: str, *, expires_seconds: int) -> str:
        return self._store.presign(self._full(key), expires_seconds=expires_seconds)

    def delete(self, key: str) -> None:
        self._store.delete(self._prefix + key)
