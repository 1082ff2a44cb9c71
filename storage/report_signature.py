"""The signature under reports that come over HTTPS, from workers that cannot reach the broker."""

from __future__ import annotations

import hashlib
import hmac

TIMESTAMP_HEADER = "Aquatint-Timestamp"
SIGNATURE_HEADER = "Aquatint-Signature"

#: Seconds a report may be under way; an older one may be a replay.
TOLERANCE_SECONDS = 300


def sign(secret: bytes, timestamp: int, body: bytes) -> str:
    """``v1=`` and the hex HMAC-SHA-256 over the Unix time in seconds, a dot, and the exact body."""
    return "v1=" + hmac.new(secret, str(timestamp).encode() + b"." + body, hashlib.sha256).hexdigest()


def verify(secret: bytes, timestamp: str, body: bytes, signature: str, *, now: float) -> bool:
    """True when the body was signed with the secret less than `TOLERANCE_SECONDS` ago, in either direction of the clock."""
    if not secret or not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 20:
        return False
    fresh = abs(now - int(timestamp)) <= TOLERANCE_SECONDS
    expected = sign(secret, int(timestamp), body)
    return hmac.compare_digest(expected.encode(), signature.encode(errors="replace")) and fresh
