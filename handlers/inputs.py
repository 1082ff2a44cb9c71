"""Pictures that requests bring: read within limits, cleaned, judged, and kept where no later upload can change them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cachetools import LRUCache, TTLCache

from handlers.input_book import InputBook
from safety.upload_verdict import require_allowed
from schemas.errors import (
    BadImage,
    InputMissing,
    InputRefused,
    ObjectMissing,
    Temporary,
    Unsupported,
)
from schemas.input_image import CleanPicture, InputImage, JudgedInput
from schemas.input_limits import MAX_INPUT_BYTES
from schemas.input_record import InputRecord
from schemas.input_reference import InputReference
from schemas.object_keys import input_key
from schemas.verdict import Verdict
from storage.kept_inputs import KeptInputs
from storage.objects.store import ObjectInfo, ObjectStore

#: What a picture is, and a clean copy of it; raises BadImage.
Clean = Callable[[bytes], CleanPicture]
#: What an original says about where it comes from; empty when that is nothing.
Origin = Callable[[bytes], bytes]
#: The bytes at an address that a tenant names; raises BadInput and Temporary.
Fetch = Callable[[str, str], bytes]
Stores = Callable[[str], ObjectStore]

#: Decoded pictures that are held at the same time; each may take some hundred megabytes.
_DECODED_AT_ONCE = 4
#: A picture that was named again within this time is not looked up in the ledger anew.
_FRESH_SECONDS = 3600.0
#: A manifest full of one address asks there once.
_ADDRESS_SECONDS = 300.0


class Judge(Protocol):
    """Says under a policy whether a picture may be used; `safety.upload_judge`, or its twin in a test."""

    def mark(self, policy_digest: str | None) -> str:
        """Names the policy and all that is installed to judge by; the default policy for None."""

    def check(self, png: bytes, policy_digest: str | None) -> Verdict: ...


def _no_addresses(_tenant: str, _url: str) -> bytes:
    raise Unsupported(
        "pictures are not fetched here: send the file to POST /v1/inputs and name it inputs/SHA256"
    )


@dataclass(frozen=True, kw_only=True)
class InputPorts:
    """What `Inputs` works with."""

    results: Stores
    uploads: Stores
    clean: Clean
    judge: Judge
    book: InputBook
    #: The key under which a tenant's records are sealed.
    key: Callable[[str], bytes]
    origin: Origin = lambda _data: b""
    fetch: Fetch = _no_addresses
    #: Told of each refusal by policy: tenants that are refused again and again are slowed down.
    refused: Callable[[str, Verdict], None] = lambda _tenant, _verdict: None


class Inputs:
    """Looks pictures up by reference, and takes in bytes; safe to share between threads.

    Whatever it returns lies in the tenant's results store, durable, before it returns, and was allowed by the upload
    rules of the policy. Raises BadImage, InputMissing, InputRefused and QuotaReached, which the caller can repair, and
    the stores' own errors.
    """

    def __init__(self, ports: InputPorts, *, remembered: int = 4096) -> None:
        self._ports = ports
        #: By tenant, reference and the version that lay there: an upload that is replaced is looked at again.
        self._known: LRUCache[tuple[str, str, str], str] = LRUCache(remembered)
        self._fetched: TTLCache[tuple[str, str], str] = TTLCache(remembered, _ADDRESS_SECONDS)
        #: Pictures that the ledger was told of within the hour.
        self._noted: TTLCache[tuple[str, str], bool] = TTLCache(remembered, _FRESH_SECONDS)
        self._lock, self._decoding = threading.Lock(), threading.BoundedSemaphore(_DECODED_AT_ONCE)

    def resolve(self, tenant: str, reference: str, policy: str | None = None) -> JudgedInput:
        """The picture that a tenant's request names, judged under the policy of that digest."""
        named = InputReference.parse(reference)
        if named.place == "inputs":
            return self._kept(tenant, named.key, policy) or self._old(tenant, named.key, policy)
        if named.place == "web":
            return self._at_address(tenant, named.key, policy)
        store = self._ports.uploads(tenant) if named.place == "uploads" else self._ports.results(tenant)
        info = store.head(named.key)
        if info is None:
            raise InputMissing(f"there is no {reference}")
        if info.size > MAX_INPUT_BYTES:
            raise BadImage(f"{info.size} bytes", limit=MAX_INPUT_BYTES)
        version = (tenant, reference, info.etag)
        with self._lock:
            known = self._known.get(version)
        found = self._kept(tenant, known, policy) if known else None
        if found is None:
            found = self._take(tenant, _bytes(store, info, reference), policy, counted=False)
            with self._lock:
                self._known[version] = found.sha256
        return found

    def accept(self, tenant: str, data: bytes, policy: str | None = None) -> JudgedInput:
        """Take in bytes; the same bytes again change nothing."""
        return self._take(tenant, data, policy, counted=True)

    def _at_address(self, tenant: str, url: str, policy: str | None) -> JudgedInput:
        with self._lock:
            known = self._fetched.get((tenant, url))
        found = self._kept(tenant, known, policy) if known else None
        if found is None:
            found = self._take(tenant, self._ports.fetch(tenant, url), policy, counted=True)
            with self._lock:
                self._fetched[tenant, url] = found.sha256
        return found

    def _take(self, tenant: str, data: bytes, policy: str | None, *, counted: bool) -> JudgedInput:
        kept = self._kept(tenant, hashlib.sha256(data).hexdigest(), policy)
        if kept is not None:
            return kept
        ports, verdicts = self._ports, dict[str, Verdict]()
        with self._decoding:
            picture = ports.clean(data)
            # Before anything is stored: what is refused leaves nothing behind.
            verdict = self._allowed(tenant, picture.png, policy)
            verdicts[ports.judge.mark(policy)] = verdict
            size = len(picture.png)
            ports.book.add(tenant, picture.facts.sha256, size=size, counted=counted)
            self._of(tenant).keep(picture, ports.origin(data), verdicts)
        return _judged(picture.facts, verdict)

    def _kept(self, tenant: str, sha256: str, policy: str | None) -> JudgedInput | None:
        """A picture whose record and file are there; None when it has to be taken in."""
        kept = self._of(tenant)
        record = kept.record(sha256)
        if record is None or not kept.holds(record):
            return None
        self._note_use(tenant, record)
        verdict = record.verdicts.get(self._ports.judge.mark(policy))
        if verdict is None:
            verdict = self._allowed(tenant, kept.read(sha256), policy)
            kept.judged(record, {self._ports.judge.mark(policy): verdict})
        return _judged(record.facts, verdict)

    def _old(self, tenant: str, sha256: str, policy: str | None) -> JudgedInput:
        """A file that was kept as it came, before there were records; it gets one now."""
        store = self._ports.results(tenant)
        info = store.head(input_key(sha256))
        if info is None:
            raise InputMissing(f"there is no inputs/{sha256}")
        data = _bytes(store, info, f"inputs/{sha256}")
        if hashlib.sha256(data).hexdigest() != sha256:
            raise BadImage("what lies there are not the bytes that were sent")
        return self._take(tenant, data, policy, counted=True)

    def _note_use(self, tenant: str, record: InputRecord) -> None:
        """It stays from now on; LedgerBusy when it is just being removed."""
        sha256 = record.facts.sha256
        with self._lock:
            fresh = (tenant, sha256) in self._noted
        if not fresh:
            self._ports.book.use(tenant, sha256, size=record.kept_bytes)
            with self._lock:
                self._noted[tenant, sha256] = True

    def _allowed(self, tenant: str, png: bytes, policy: str | None) -> Verdict:
        """The verdict as it may be kept; InputRefused unless it allows, ScreenMissing when there is none."""
        verdict = self._ports.judge.check(png, policy)
        try:
            return require_allowed(verdict)
        except InputRefused:
            self._ports.refused(tenant, verdict)
            raise

    def _of(self, tenant: str) -> KeptInputs:
        return KeptInputs(store=self._ports.results(tenant), key=self._ports.key(tenant))


def _judged(facts: InputImage, verdict: Verdict) -> JudgedInput:
    return JudgedInput(**facts.model_dump(), verdict=verdict)


def _bytes(store: ObjectStore, info: ObjectInfo, reference: str) -> bytes:
    """The version that `info` describes, whole; Temporary when somebody is writing there just now."""
    try:
        data = store.get_range(info.key, 0, MAX_INPUT_BYTES + 1, etag=info.etag)
    except ObjectMissing:
        data = b""
    if len(data) != info.size:
        raise Temporary(f"{reference} was replaced while it was read")
    return data
