"""What every object store promises: atomic objects under keys, created at most once when asked so."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from schemas.errors import OutOfRange
from schemas.object_keys import MAX_KEY_BYTES

#: Amazon S3's limit on all user metadata of an object, names and values together.
MAX_METADATA_BYTES = 1800
#: Amazon S3's limit on the lifetime of a signed link.
MAX_LINK_SECONDS = 7 * 24 * 3600
DEFAULT_MEDIA_TYPE = "application/octet-stream"

_MEDIA_TYPE = re.compile(r"[\w.+-]{1,64}/[\w.+-]{1,64}(; ?[\w-]+=[\w.+-]+)*", re.ASCII)
_METADATA_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_METADATA_VALUE = re.compile(r"[!-~]([ -~]{0,510}[!-~])?")


@dataclass(frozen=True, kw_only=True, slots=True)
class PutResult:
    """`created` is False when the key was taken; `etag` and `sha256` are of what is stored now."""

    created: bool
    etag: str
    #: None for an object that was not written by one of our stores.
    sha256: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectInfo:
    """An object without its bytes; `etag` changes whenever the content does."""

    key: str
    size: int
    etag: str
    media_type: str
    sha256: str | None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectEntry:
    """One line of a listing; `etag` is that of `head`."""

    key: str
    size: int
    etag: str
    modified: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """What a store was seen to do when it was probed."""

    #: A second create of the same key is refused by the store itself, so of many writers one wins.
    conditional_create: bool
    #: How the store wants the etag in a conditional replace; "no" when a stale etag is not refused.
    conditional_replace: Literal["quoted", "bare", "no"]
    #: Objects can be removed; cleaning up needs it, rendering does not.
    delete: bool


class ObjectStore(Protocol):
    """Objects by key, in a bucket.

    Every operation raises StoreDenied, StoreFull, StoreUnavailable or StoreUnfit when the store itself is at fault.
    """

    @property
    def bucket(self) -> str: ...

    def probe(self) -> Capabilities:
        """Tries the store on a scratch key; to be called at start, so that a wrong set-up is known before work is.

        It writes, so it is not for a store that is only read: its scratch object would be announced as an upload.
        """
        ...

    def put(
        self,
        key: str,
        data: bytes,
        *,
        media_type: str = DEFAULT_MEDIA_TYPE,
        metadata: Mapping[str, str] | None = None,
        if_absent: bool = True,
    ) -> PutResult:
        """Stores `data` whole or not at all; with `if_absent` an existing object is left as it is.

        Durable when it returns. Raises OutOfRange for a key, media type or metadata that not every store can hold.
        """
        ...

    def get(self, key: str) -> bytes:
        """All bytes; raises ObjectMissing."""
        ...

    def get_range(self, key: str, start: int, length: int, *, etag: str | None = None) -> bytes:
        """Up to `length` bytes from offset `start`, empty behind the end.

        Raises ObjectMissing, also when `etag` is given and the object is no longer that one.
        """
        ...

    def head(self, key: str) -> ObjectInfo | None: ...

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectEntry]:
        """Entries in the order of the keys' UTF-8 bytes, strictly after `start_after`."""
        ...

    def presign(self, key: str, *, expires_seconds: int) -> str:
        """A link to GET the object without credentials, for at most 7 days; whoever has it can read: never log it."""
        ...

    def delete(self, key: str) -> None:
        """Removes the object; a missing one is no error."""
        ...


def require_key(key: str) -> None:
    """Raises OutOfRange unless every store can hold `key` and every client can request it.

    Refused are empty, ``.`` and ``..`` segments (clients rewrite such addresses), control characters and more than
    1024 bytes.
    """
    if not is_storable(key):
        raise OutOfRange(
            "an object key has 1 to 1024 bytes of UTF-8, no control characters, and no empty, '.' or '..' segment",
            field="key",
            limit=MAX_KEY_BYTES,
        )


def is_storable(key: str) -> bool:
    if any(character < " " or character == "\x7f" for character in key):
        return False
    if any(segment in ("", ".", "..") for segment in key.split("/")):
        return False
    try:
        return len(key.encode()) <= MAX_KEY_BYTES
    except UnicodeEncodeError:
        return False


def require_description(media_type: str, metadata: Mapping[str, str]) -> None:
    """Raises OutOfRange unless media type and metadata fit into the headers of S3."""
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise OutOfRange("not a media type", field="media_type", limit=_MEDIA_TYPE.pattern)
    for name, value in metadata.items():
        if not _METADATA_NAME.fullmatch(name) or not _METADATA_VALUE.fullmatch(value):
            raise OutOfRange(
                "metadata is printable ASCII under lower-case names", field=f"metadata.{name[:64]}", limit=512
            )
    if sum(len(name) + len(value) for name, value in metadata.items()) > MAX_METADATA_BYTES:
        raise OutOfRange("too much metadata", field="metadata", limit=MAX_METADATA_BYTES)


def require_lifetime(expires_seconds: int) -> None:
    if not 1 <= expires_seconds <= MAX_LINK_SECONDS:
        raise OutOfRange(
            "a signed link lives 1 second to 7 days", field="expires_seconds", limit=MAX_LINK_SECONDS
        )
