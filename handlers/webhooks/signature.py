"""Standard Webhooks 1.0 signatures, version `v1`: HMAC-SHA256 over the exact bytes on the wire."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence

from schemas.errors import BadSettings, SignatureRefused

#: Seconds that the clocks of sender and receiver may differ, either way.
TOLERANCE_SECONDS = 300
#: Size of a secret in bytes, as the specification bounds it.
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64

_PREFIX = "whsec_"
_PURPOSE = b"aquatint webhook v1\x00"
#: A receiver reads at most this many signatures: a longer list is hostile, and each costs an HMAC.
_MAX_SIGNATURES = 16


def tenant_secret(master: bytes, tenant: str) -> str:
    """The `whsec_` secret of one tenant, derived from the installation's master key by HKDF-SHA256 (RFC 5869).

    Nothing is stored: whoever has the master can show the tenant its secret again. To rotate, sign with the secrets
    of the old and the new master for a while.
    """
    if len(master) < 32:
        raise BadSettings("the webhook master key needs at least 32 bytes", field="webhook_key", limit=32)
    return _PREFIX + base64.b64encode(_hkdf(master, _PURPOSE + tenant.encode(), 32)).decode()


def sign(secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` header: one `v1,...` per secret, in order; `timestamp` is that of the attempt."""
    if not secrets or not message_id or "." in message_id:
        raise ValueError("a signature needs a secret, and a message id without dots")
    return " ".join(_signature(_key(secret), message_id, str(timestamp), body) for secret in secrets)


def verify(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: float) -> str:
    """The message id of a message signed with one of `secrets` within the tolerance; else SignatureRefused.

    `headers` must have lower-case names. Unknown signature versions and malformed entries are skipped.
    """
    message_id, stamp, given = (
        _header(headers, name) for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
    )
    if not stamp.isascii() or not stamp.isdigit() or len(stamp) > 15:
        raise SignatureRefused("the timestamp is not a number of seconds", field="webhook-timestamp")
    if abs(now - int(stamp)) > TOLERANCE_SECONDS:
        raise SignatureRefused(
            "the timestamp is too far from now", field="webhook-timestamp", limit=TOLERANCE_SECONDS
        )
    candidates = given.split(" ")[:_MAX_SIGNATURES]
    expected = [_signature(_key(secret), message_id, stamp, body) for secret in secrets]
    # Every pair is compared, so that the time taken does not tell which secret or which entry matched.
    matches = [
        hmac.compare_digest(mine.encode(), theirs.encode(errors="surrogateescape"))
        for mine in expected
        for theirs in candidates
    ]
    if not any(matches):
        raise SignatureRefused("no signature matches", field="webhook-signature")
    return message_id


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "")
    if not value:
        raise SignatureRefused(f"the header {name} is missing", field=name)
    return value


def _signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    signed = b".".join((message_id.encode(errors="surrogateescape"), timestamp.encode(), body))
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        limit = f"{MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes"
        raise BadSettings(
            f"a webhook secret is whsec_ and the base64 of {limit}", field="webhook_secret", limit=limit
        )
    return key


def _hkdf(master: bytes, info: bytes, length: int, salt: bytes = b"") -> bytes:
    """RFC 5869: extract, then expand."""
    extracted = hmac.digest(salt or bytes(hashlib.sha256().digest_size), master, "sha256")
    block, output = b"", b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.digest(extracted, block + info + bytes([counter]), "sha256")
        output += block
    return output[:length]
