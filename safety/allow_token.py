"""The permission to store one picture: for these pixels, under this policy, for this tenant, once and soon.

A token binds what was checked to what is stored. Whoever stores redeems it against the pixels in hand, and goes on with
the copy that redeeming returns, so that nothing can be exchanged between the check and the file.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from safety.image_screen import Pixels
from schemas.base import Frozen
from schemas.canonical import canonical
from schemas.errors import NotAllowed
from schemas.render_spec import Sha256
from schemas.verdict import Decision, Verdict

#: Longer than encoding, signing and every repetition of a store call take, short against a worker's life.
LIFETIME_SECONDS = 300.0
#: Clocks of one machine may be set back a little.
_CLOCK_SLACK_SECONDS = 5.0
_KEY_BYTES = 32


class AllowToken(Frozen):
    """HMAC-SHA256 (RFC 2104) over everything else in it; times are Unix seconds."""

    pixels_sha256: Sha256
    #: The render digest, under which the picture will be stored.
    digest: Sha256
    policy_digest: Sha256
    tenant: str
    issued_at: float
    expires_at: float
    nonce: str = Field(pattern=r"^[0-9a-f]{32}$")
    signature: Sha256


class TokenIssuer:
    """Signs tokens for verdicts that allow."""

    def __init__(
        self,
        key: bytes,
        *,
        clock: Callable[[], float] = time.time,
        lifetime_seconds: float = LIFETIME_SECONDS,
    ) -> None:
        self._key, self._clock, self._lifetime = _checked(key), clock, lifetime_seconds

    def issue(self, verdict: Verdict, pixels_sha256: str, *, digest: str, tenant: str) -> AllowToken:
        """A token for the pixels that the verdict is about; NotAllowed unless it is the output's and allows them."""
        if verdict.stage != "output" or verdict.decision is not Decision.ALLOW:
            raise NotAllowed(f"the {verdict.stage} verdict is {verdict.decision}")
        now = self._clock()
        facts = {
            "pixels_sha256": pixels_sha256,
            "digest": digest,
            "policy_digest": verdict.policy_digest,
            "tenant": tenant,
            "issued_at": now,
            "expires_at": now + self._lifetime,
            "nonce": secrets.token_hex(16),
        }
        return AllowToken.model_validate({**facts, "signature": _signature(self._key, facts)})


class TokenVerifier:
    """Redeems tokens, each once; safe to share between threads."""

    def __init__(self, key: bytes, *, clock: Callable[[], float] = time.time) -> None:
        self._key, self._clock = _checked(key), clock
        self._lock = threading.Lock()
        #: Nonce to expiry: a token that has expired need not be remembered.
        self._used: dict[str, float] = {}

    def redeem(
        self, token: AllowToken, pixels: Pixels, *, digest: str, policy_digest: str, tenant: str
    ) -> Pixels:
        """The checked pixels, as a copy of one's own that cannot be written to; NotAllowed says what disagrees.

        A token that was shown with the wrong picture is spent all the same.
        """
        facts = token.model_dump(exclude={"signature"})
        if not hmac.compare_digest(_signature(self._key, facts), token.signature):
            raise NotAllowed("the permission was not signed here")
        self._spend(token)
        expected = {"digest": digest, "policy_digest": policy_digest, "tenant": tenant}
        wrong = sorted(name for name, value in expected.items() if getattr(token, name) != value)
        if wrong:
            raise NotAllowed(f"the permission is for another {', '.join(wrong)}")
        own = np.array(pixels, order="C")
        own.flags.writeable = False
        if not hmac.compare_digest(pixels_sha256(own), token.pixels_sha256):
            raise NotAllowed("the picture is not the one that was checked")
        return own

    def _spend(self, token: AllowToken) -> None:
        now = self._clock()
        if not token.issued_at - _CLOCK_SLACK_SECONDS <= now <= token.expires_at:
            raise NotAllowed("the permission has expired")
        with self._lock:
            self._used = {nonce: expiry for nonce, expiry in self._used.items() if expiry >= now}
            if token.nonce in self._used:
                raise NotAllowed("the permission was used before")
            self._used[token.nonce] = token.expires_at


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Both sides of one key."""

    issuer: TokenIssuer
    verifier: TokenVerifier

    @classmethod
    def of_this_process(cls, clock: Callable[[], float] = time.time) -> Tokens:
        """Under a key that never leaves the process: checking and storing happen in one.

        A key derived from the installation's secret would let any other holder of the secret issue permissions, and a
        token be replayed in a process that has not seen it.
        """
        key = secrets.token_bytes(_KEY_BYTES)
        return cls(issuer=TokenIssuer(key, clock=clock), verifier=TokenVerifier(key, clock=clock))


def pixels_sha256(pixels: Pixels) -> str:
    """SHA-256 over shape, type and samples of a picture."""
    samples = np.ascontiguousarray(pixels)
    digest = hashlib.sha256(f"{samples.shape} {samples.dtype.str}\n".encode())
    digest.update(samples.data)
    return digest.hexdigest()


def _signature(key: bytes, facts: dict[str, object]) -> str:
    return hmac.new(key, canonical(facts), hashlib.sha256).hexdigest()


def _checked(key: bytes) -> bytes:
    if len(key) < _KEY_BYTES:
        raise ValueError(f"the key has {len(key)} bytes, at least {_KEY_BYTES}")
    return key
