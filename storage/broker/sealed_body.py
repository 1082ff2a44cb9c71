"""Message bodies that a broker's disk, its dead letters and its operators' consoles cannot read.

Microbatches and fine-tunes hold customers' words; reports about them hold none and travel as they are. One key for the
whole fleet, since a worker is told of a tenant only by what it receives.
"""

from __future__ import annotations

import binascii
import json
from typing import Any

from schemas.errors import KeyMissing, SealBroken
from storage.sealing import seal_bytes, unseal_bytes

_FIELD = "sealed"


def seal_body(key: bytes, text: str, queue: str) -> str:
    """A JSON object that opens with the same key, on the same queue; the text itself where there is no key."""
    if not key:
        return text
    sealed = seal_bytes(key, text.encode(), queue.encode())
    return json.dumps({_FIELD: binascii.b2a_base64(sealed, newline=False).decode("ascii")})


def open_body(key: bytes, payload: Any, queue: str) -> Any:
    """The parsed JSON of what was sealed; a payload that is not sealed comes back as it is.

    SealBroken for what was changed or meant for another queue; KeyMissing when there is no key here.
    """
    if not (isinstance(payload, dict) and set(payload) == {_FIELD}):
        return payload
    if not key:
        raise KeyMissing("messages are sealed, and this process has no AQUATINT_SECRET_KEY")
    try:
        sealed = binascii.a2b_base64(payload[_FIELD])
    except (ValueError, TypeError) as error:
        raise SealBroken from error
    return json.loads(unseal_bytes(key, sealed, queue.encode()))
