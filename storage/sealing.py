"""Sealing customers' text: AES-256-GCM under one data key per tenant, itself wrapped under the installation's secret.

A sealed value says by which key it was made, so that keys can be replaced; what it was sealed for (tenant, purpose, row)
is authenticated with it and cannot be exchanged. Dropping a tenant's data key makes every copy of its values, backups
included, unreadable.
"""

from __future__ import annotations

import binascii
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from schemas.errors import KeyMissing, SealBroken

KEY_BYTES = 32
_NONCE_BYTES = 12
#: How a sealed text begins: format 1; the number of the data key and the bytes in base64 follow, each behind a dot.
_PREFIX = "sealed.1."


def derive_key(master: bytes, purpose: str, tenant: str = "") -> bytes:
    """A key of 32 bytes for one purpose and tenant (HKDF-SHA256, RFC 5869); the same wherever the master secret is the same."""
    info = "\x1f".join(("aquatint", purpose, tenant)).encode()
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(master)


def seal_bytes(key: bytes, plain: bytes, context: bytes) -> bytes:
    """Nonce, ciphertext and tag; opens only with the same `context`."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, context)


def unseal_bytes(key: bytes, sealed: bytes, context: bytes) -> bytes:
    """What `seal_bytes` was given; SealBroken for another key, another context or changed bytes."""
    return _opened(AESGCM(key), sealed, context)


def _opened(cipher: AESGCM, sealed: bytes, context: bytes) -> bytes:
    try:
        return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context)
    except (InvalidTag, ValueError) as error:
        raise SealBroken from error


class DataKey:
    """One tenant's key; texts sealed with it name it by its number."""

    def __init__(self, *, tenant: str, number: int, key: bytes) -> None:
        self.tenant, self.number, self.key = tenant, number, key
        self._cipher = AESGCM(key)

    def __repr__(self) -> str:
        return f"DataKey(tenant={self.tenant!r}, number={self.number})"

    def seal(self, plain: str, purpose: str, row: str) -> str:
        """The text, sealed for one purpose and row of this tenant."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, plain.encode(), self._context(purpose, row))
        return f"{_PREFIX}{self.number}.{binascii.b2a_base64(sealed, newline=False).decode('ascii')}"

    def unseal(self, text: str, purpose: str, row: str) -> str:
        """What `seal` was given; SealBroken when it was sealed for something else, or changed."""
        number, sealed = taken_apart(text)
        if number != self.number:
            raise SealBroken(f"it was sealed with key {number}, this is key {self.number}")
        return self.opened(sealed, purpose, row)

    def opened(self, sealed: bytes, purpose: str, row: str) -> str:
        """As `unseal`, for the bytes that `taken_apart` gave."""
        return _opened(self._cipher, sealed, self._context(purpose, row)).decode()

    def _context(self, purpose: str, row: str) -> bytes:
        return "\x1f".join((self.tenant, purpose, row)).encode()


def is_sealed(text: str) -> bool:
    """Whether a text was sealed; rows of older installations are not."""
    return text.startswith(_PREFIX)


def taken_apart(text: str) -> tuple[int, bytes]:
    """The number of the data key that a sealed text needs, and the sealed bytes; SealBroken for what is not sealed."""
    number, _, sealed = text[len(_PREFIX) :].partition(".")
    if not is_sealed(text) or not number.isdecimal():
        raise SealBroken("this is not a sealed text")
    try:
        return int(number), binascii.a2b_base64(sealed)
    except ValueError as error:
        raise SealBroken from error


class MasterKeys:
    """Wraps data keys under the installation's secret, and opens those still wrapped under the one before it."""

    def __init__(self, secret: bytes, previous: bytes | None = None) -> None:
        self._wrapping = dict(_wrapping_key(one) for one in (secret, previous) if one)
        #: Names the secret that new wraps use, without telling anything of it.
        self.id = _wrapping_key(secret)[0]

    def __repr__(self) -> str:
        return f"MasterKeys(id={self.id!r})"

    def wrap(self, data_key: DataKey) -> str:
        sealed = seal_bytes(
            self._wrapping[self.id], data_key.key, _wrap_context(data_key.tenant, data_key.number)
        )
        return f"{self.id}.{binascii.b2a_base64(sealed, newline=False).decode('ascii')}"

    def unwrap(self, wrapped: str, tenant: str, number: int) -> DataKey:
        """KeyMissing when it was wrapped under a secret that is not given here; SealBroken when for another tenant."""
        id, _, text = wrapped.partition(".")
        if id not in self._wrapping:
            raise KeyMissing(
                f"the key of tenant {tenant} is wrapped under another secret: give the one before as "
                "AQUATINT_PREVIOUS_SECRET_KEY"
            )
        key = unseal_bytes(self._wrapping[id], binascii.a2b_base64(text), _wrap_context(tenant, number))
        return DataKey(tenant=tenant, number=number, key=key)

    def knows(self, wrapped: str) -> bool:
        """Whether `unwrap` can be tried: the secret it was wrapped under is given here."""
        return wrapped.partition(".")[0] in self._wrapping


def _wrapping_key(secret: bytes) -> tuple[str, bytes]:
    return derive_key(secret, "wrapping-key-id")[:4].hex(), derive_key(secret, "wrapping-key")


def _wrap_context(tenant: str, number: int) -> bytes:
    return f"{tenant}\x1f{number}".encode()


def new_data_key(tenant: str, number: int) -> DataKey:
    return DataKey(tenant=tenant, number=number, key=os.urandom(KEY_BYTES))
