"""How a decoder process is asked and how it answers: fixed headers, then as many bytes as they say."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

#: Operation, bytes that follow, CPU seconds that may be spent.
QUESTION = struct.Struct("<BxxxIf")
#: Status, channels or reason, two sizes, bytes that follow, CPU seconds spent so far in this process's life.
ANSWER = struct.Struct("<BBxxIIQd")
#: A word that no stray output begins with, the version of this protocol, the limits in force.
HELLO = struct.Struct("<8sHH")
GREETING, VERSION = b"AQdecode", 1


class Operation(IntEnum):
    OPEN = 1
    #: What an original says about where it comes from, for the record of what was made out of it.
    NOTE_ORIGIN = 2


class Status(IntEnum):
    DONE = 1
    REFUSED = 2


class Limits(IntFlag):
    """What a process could really be held to on this system."""

    MEMORY = 1
    CPU = 2
    NO_WRITING = 4
    NO_FILES = 8
    NO_CORE = 16


ALL_LIMITS = Limits.MEMORY | Limits.CPU | Limits.NO_WRITING | Limits.NO_FILES | Limits.NO_CORE


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A header, unpacked; nothing in it is believed before it is checked against what was asked."""

    status: int
    detail: int
    first: int
    second: int
    length: int
    cpu_seconds: float

    @classmethod
    def unpack(cls, header: bytes) -> Answer:
        status, detail, first, second, length, cpu = ANSWER.unpack(header)
        return cls(status=status, detail=detail, first=first, second=second, length=length, cpu_seconds=cpu)
