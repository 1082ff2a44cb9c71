"""How a request names a picture that it brings: an upload, an earlier result, or bytes that were sent before."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from schemas.object_keys import MAX_KEY_BYTES, RESERVED_PREFIXES

Place = Literal["uploads", "results", "inputs"]

#: "uploads/" and the longest key.
MAX_REFERENCE_CHARS = MAX_KEY_BYTES + 8
#: Of the kept prefixes, the one whose objects are pictures.
_PICTURES = "images/"

_SHA256 = re.compile(r"[0-9a-f]{64}")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_FORMS = "uploads/KEY, results/KEY or inputs/SHA256"


@dataclass(frozen=True, kw_only=True)
class InputReference:
    """A parsed reference; `key` is the object's key in the store of that place, or for `inputs` its SHA-256."""

    place: Place
    key: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """ValueError for anything but the three forms; the key can name nothing outside the tenant's own stores."""
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
    """The text, if it is a reference; addresses get a typed error that says what to do instead."""
    if _ADDRESS.match(text):
        raise PydanticCustomError(
            "unsupported_address",
            "addresses are not fetched: send the file to POST /v1/inputs and name it as it answers, inputs/SHA256",
            {"limit": _FORMS},
        )
    InputReference.parse(text)
    return text


#: A reference as it stands in a request; validated, kept as text.
Reference = Annotated[str, Field(min_length=1, max_length=MAX_REFERENCE_CHARS), AfterValidator(checked_reference)]
