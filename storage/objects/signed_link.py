"""Links that let anyone who has them read one object for a while: HMAC-SHA256 over bucket, key and expiry.

Served by our own API for stores that have no server of their own.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote

from schemas.errors import BadSettings, Unauthorised
from storage.objects.store import require_key, require_lifetime

MIN_SECRET_BYTES = 32


def sign_path(secret: bytes, *, bucket: str, key: str, expires_at: int) -> str:
    """``{bucket}/{key}?expires=...&signature=...``, percent-encoded; `expires_at` in Unix seconds."""
    path = f"{quote(bucket, safe='')}/{quote(key, safe='/')}"
    return f"{path}?expires={expires_at}&signature={_signature(secret, bucket, key, str(expires_at))}"


def verify_path(secret: bytes, *, bucket: str, key: str, expires: str, signature: str, now: float) -> None:
    """Raises Unauthorised unless the link was signed for this object and has not expired.

    Takes `bucket` and `key` decoded and both query values as they came. The signature is checked first, so that an
    answer about the expiry is only given to someone who held a real link.
    """
    expected = _signature(secret, bucket, key, expires)
    if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")):
        raise Unauthorised("this link is not valid")
    if now >= int(expires):
        raise Unauthorised("this link has expired")


def _signature(secret: bytes, bucket: str, key: str, expires: str) -> str:
    # Lengths before the parts: no two different (bucket, key, expiry) give the same bytes.
    parts = [part.encode("utf-8", "replace") for part in ("GET", bucket, key, expires)]
    message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return hmac.new(secret, message, hashlib.sha256).hexdigest()


@dataclass(frozen=True, kw_only=True)
class LinkSigner:
    """Makes links below `base_url`, e.g. ``https://images.example/v1/objects``."""

    secret: bytes = field(repr=False)
    base_url: str
    now: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        if len(self.secret) < MIN_SECRET_BYTES:
            raise BadSettings(f"the signing secret needs at least {MIN_SECRET_BYTES} bytes")

    def link(self, bucket: str, key: str, expires_seconds: int) -> str:
        require_key(key)
        require_lifetime(expires_seconds)
        expires_at = int(self.now()) + expires_seconds
        return f"{self.base_url.rstrip('/')}/{sign_path(self.secret, bucket=bucket, key=key, expires_at=expires_at)}"

    def verify(self, *, bucket: str, key: str, expires: str, signature: str) -> None:
        """As `verify_path`, at this moment."""
        verify_path(self.secret, bucket=bucket, key=key, expires=expires, signature=signature, now=self.now())
