"""Ids: a prefix that names the kind and a UUIDv7 (RFC 9562) in Crockford base32, sortable by time and safe in URLs."""

from __future__ import annotations

import os
import re
import threading
import time
from typing import Literal

Kind = Literal["job", "bat", "img", "evt", "dlv", "end", "mb", "wrk", "fin", "run", "trn", "rev", "era"]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ID = re.compile(r"(job|bat|img|evt|dlv|end|mb|wrk|fin|run|trn|rev|era)_[0-9a-hjkmnp-tv-z]{26}")


def uuid7(now_ms: int, entropy: bytes) -> int:
    """The 128 bits of a UUIDv7 from milliseconds since 1970 and ten random bytes."""
    random_bits = int.from_bytes(entropy[:10], "big")
    rand_a, rand_b = (random_bits >> 62) & 0xFFF, random_bits & ((1 << 62) - 1)
    return (now_ms & ((1 << 48) - 1)) << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b


def encode(kind: Kind, value: int) -> str:
    digits = [_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5)]
    return f"{kind}_{''.join(digits)}"


class _Latest:
    """The last number given out, so that ids of one process sort in the order they were made."""

    def __init__(self) -> None:
        self._lock, self._value = threading.Lock(), 0

    def after(self, value: int, entropy: bytes) -> int:
        """`value`, or, if that would not sort behind the last one, a number a little behind that."""
        with self._lock:
            self._value = value if value > self._value else self._value + 1 + int.from_bytes(entropy[:4], "big")
            return self._value


_latest = _Latest()


def new_id(kind: Kind) -> str:
    """A fresh id, e.g. ``img_01jd8...``: ids of one process sort in the order they were made, others by the millisecond."""
    entropy = os.urandom(10)
    return encode(kind, _latest.after(uuid7(time.time_ns() // 1_000_000, entropy), entropy))


def is_id(text: str, kind: Kind | None = None) -> bool:
    match = _ID.fullmatch(text)
    return match is not None and (kind is None or match[1] == kind)


def floor_id(kind: Kind, seconds: float) -> str:
    """The least id of its kind that was made at that moment (Unix seconds) or later."""
    return encode(kind, max(0, int(seconds * 1000)) << 80)


def made_at(id: str) -> float:
    """Unix seconds, to the millisecond, of the moment an id was made."""
    value = 0
    for digit in id.rpartition("_")[2][:10]:
        value = value << 5 | _ALPHABET.index(digit)
    # 26 digits hold 130 bits: the first ten are two zeros and 48 bits of milliseconds.
    return value / 1000
