"""Pictures that requests bring: read within limits, looked at once, and kept where no later upload can change them."""

from __future__ import annotations

import threading
from collections.abc import Callable

from cachetools import LRUCache

from schemas.errors import BadImage, InputMissing, ObjectMissing, Temporary
from schemas.input_image import MAX_INPUT_BYTES, InputImage
from schemas.input_reference import InputReference
from schemas.object_keys import input_key
from storage.objects.store import ObjectInfo, ObjectStore

#: Says what a picture is; raises BadImage.
Inspect = Callable[[bytes], InputImage]
Stores = Callable[[str], ObjectStore]

#: Pictures that are decoded at the same time; each may take some hundred megabytes.
_DECODED_AT_ONCE = 2


class Inputs:
    """Looks pictures up by reference, and takes in bytes; safe to share between threads.

    Whatever it returns lies in the tenant's results store under `inputs/{sha[:2]}/{sha}`, durable, before it returns.
    Raises BadImage and InputMissing, which the caller can repair, and the stores' own errors.
    """

    def __init__(self, *, results: Stores, uploads: Stores, inspect: Inspect, remembered: int = 4096) -> None:
        self._results, self._uploads, self._inspect = results, uploads, inspect
        #: By tenant, reference and the version that lay there: an upload that is replaced is looked at again.
        self._known: LRUCache[tuple[str, str, str], InputImage] = LRUCache(remembered)
        self._lock, self._decoding = threading.Lock(), threading.BoundedSemaphore(_DECODED_AT_ONCE)

    def resolve(self, tenant: str, reference: str) -> InputImage:
        """The picture that a tenant's request names."""
        named = InputReference.parse(reference)
        store = self._uploads(tenant) if named.place == "uploads" else self._results(tenant)
        key = input_key(named.key) if named.place == "inputs" else named.key
        info = store.head(key)
        if info is None:
            raise InputMissing(f"there is no {reference}")
        if info.size > MAX_INPUT_BYTES:
            raise BadImage(f"{info.size} bytes", limit=MAX_INPUT_BYTES)
        version = (tenant, reference, info.etag)
        with self._lock:
            known = self._known.get(version)
        if known is None or self._results(tenant).head(input_key(known.sha256)) is None:
            known = self.accept(tenant, _bytes(store, info, reference))
            if named.place == "inputs" and known.sha256 != named.key:
                raise BadImage("what lies there are not the bytes that were sent")
            with self._lock:
                self._known[version] = known
        return known

    def accept(self, tenant: str, data: bytes) -> InputImage:
        """Take in bytes; the same bytes again change nothing."""
        with self._decoding:
            found = self._inspect(data)
        self._results(tenant).put(input_key(found.sha256), data, media_type=found.media_type)
        return found


def _bytes(store: ObjectStore, info: ObjectInfo, reference: str) -> bytes:
    """The version that `info` describes, whole; Temporary when somebody is writing there just now."""
    try:
        data = store.get_range(info.key, 0, MAX_INPUT_BYTES + 1, etag=info.etag)
    except ObjectMissing:
        data = b""
    if len(data) != info.size:
        raise Temporary(f"{reference} was replaced while it was read")
    return data
