"""The object store that ends with its process, for tests and single-process use."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from schemas.errors import ObjectMissing, StoreUnfit
from storage.objects.signed_link import LinkSigner
from storage.objects.store import (
    DEFAULT_MEDIA_TYPE,
    Capabilities,
    ObjectEntry,
    ObjectInfo,
    PutResult,
    require_description,
    require_key,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Stored:
    data: bytes
    info: ObjectInfo
    modified: datetime


class MemoryStore:
    """Objects in a dictionary; safe to share between threads."""

    def __init__(self, *, bucket: str, signer: LinkSigner | None = None) -> None:
        self._bucket, self._signer = bucket, signer
        self._objects: dict[str, _Stored] = {}
        self._lock = threading.Lock()

    @property
    def bucket(self) -> str:
        return self._bucket

    def probe(self) -> Capabilities:
        return Capabilities(conditional_create=True, conditional_replace="no", delete=True)

    def put(
        self,
        key: str,
        data: bytes,
        *,
        media_type: str = DEFAULT_MEDIA_TYPE,
        metadata: Mapping[str, str] | None = None,
        if_absent: bool = True,
    ) -> PutResult:
        require_key(key)
        require_description(media_type, metadata or {})
        sha256 = hashlib.sha256(data).hexdigest()
        info = ObjectInfo(
            key=key,
            size=len(data),
            etag=sha256,
            media_type=media_type,
            sha256=sha256,
            metadata=dict(metadata or {}),
        )
        with self._lock:
            present = self._objects.get(key) if if_absent else None
            if present:
                return PutResult(created=False, etag=present.info.etag, sha256=present.info.sha256)
            self._objects[key] = _Stored(data=bytes(data), info=info, modified=datetime.now(UTC))
        return PutResult(created=True, etag=sha256, sha256=sha256)

    def _stored(self, key: str) -> _Stored:
        stored = self._objects.get(key)
        if stored is None:
            raise ObjectMissing(f"there is no object {key!r} in {self._bucket}", field="key")
        return stored

    def get(self, key: str) -> bytes:
        return self._stored(key).data

    def get_range(self, key: str, start: int, length: int, *, etag: str | None = None) -> bytes:
        stored = self._stored(key)
        if etag not in (None, stored.info.etag):
            raise ObjectMissing(f"the object {key!r} was replaced while it was being read", field="key")
        return stored.data[start : start + length]

    def head(self, key: str) -> ObjectInfo | None:
        stored = self._objects.get(key)
        return stored.info if stored else None

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectEntry]:
        with self._lock:
            found = [(key, stored) for key, stored in self._objects.items() if key.startswith(prefix)]
        after = start_after.encode()
        for key, stored in sorted(found, key=lambda item: item[0].encode()):
            if key.encode() > after:
                info = stored.info
                yield ObjectEntry(key=key, size=info.size, etag=info.etag, modified=stored.modified)

    def presign(self, key: str, *, expires_seconds: int) -> str:
        if self._signer is None:
            raise StoreUnfit(f"the store {self._bucket} has no secret to sign links with")
        return self._signer.link(self._bucket, key, expires_seconds)

    def delete(self, key: str) -> None:
        with self._lock:
            self._objects.pop(key, None)
