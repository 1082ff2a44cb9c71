"""How a request names a picture that it brings: an upload, an earlier result, bytes that were sent before, or an address."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from schemas.object_keys import MAX_KEY_BYTES, RESERVED_PREFIXES

Place = Literal["uploads", "results", "inputs", "web"]

#: As long as an address may be.
MAX_REFERENCE_CHARS = 2048
#: Of the kept prefixes, the one whose objects are pictures.
_PICTURES = "images/"

_SHA256 = re.compile(r"[0-9a-f]{64}")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
#: Which of these may be called is decided when it is: https and public addresses, unless the operator allows others.
_WEB = re.compile(r"https?://", re.IGNORECASE)
_FORMS = "uploads/KEY, results/KEY, inputs/SHA256 or https://..."


@dataclass(frozen=True, kw_only=True)
class InputReference:
    """A parsed reference; `key` is the object's key in the store of that place, for `inputs` its SHA-256, for `web` the address."""

    place: Place
    key: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """ValueError for anything but the four forms; a key can name nothing outside the tenant's own stores."""
        if _WEB.match(text):
            return cls(place="web", key=text)
        place, _, key = text.partition("/")
        if place == "uploads":
            return cls(place="uploads", key=_own_key(key))
        if place == "results":
            if key.startswith(RESERVED_PREFIXES) and not key.startswith(_PICTURES):
                raise ValueError("results/KEY names a picture: images/... or the key of your own copy")
            return cls(place="results", key=_own_key(key))
        if place == "inputs" and _SHA256.fullmatch(key):
            return cls(place="inputs", key=key)
        raise ValueError(f"a picture is named as {_FORMS}")


def _own_key(key: str) -> str:
    """The key, if it can only name an object below the store's own root; another tenant's lie under `tenants/`."""
    if any(part in ("", ".", "..") for part in key.split("/")) or "\\" in key:
        raise ValueError("a key is a relative path without empty, '.' or '..' parts")
    if any(char < " " or char == "\x7f" for char in key):
        raise ValueError("a key holds no control characters")
    if key.startswith("tenants/"):
        raise ValueError("keys under tenants/ belong to other tenants")
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise ValueError("a key is valid Unicode text") from None
    if size > MAX_KEY_BYTES:
        raise ValueError(f"a key has at most {MAX_KEY_BYTES} bytes")
    return key


def checked_reference(text: str) -> str:
    """The text, if it is a reference; other addresses than of the web get a typed error that says what to do instead."""
    if _ADDRESS.match(text) and not _WEB.match(text):
        raise _unsupported("only https addresses are fetched")
    InputReference.parse(text)
    return text


def checked_object(text: str) -> str:
    """The text, if it names an object of the tenant's own; addresses get a typed error."""
    if _ADDRESS.match(text):
        raise _unsupported("addresses are not fetched here")
    return checked_reference(text)


def _unsupported(why: str) -> PydanticCustomError:
    return PydanticCustomError(
        "unsupported_address",
        "{why}: send the file to POST /v1/inputs and name it as it answers, inputs/SHA256",
        {"why": why, "limit": _FORMS},
    )


#: A reference as it stands in a request; validated, kept as text.
Reference = Annotated[
    str, Field(min_length=1, max_length=MAX_REFERENCE_CHARS), AfterValidator(checked_reference)
]
