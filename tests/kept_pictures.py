"""Ports of `handlers.inputs` for tests: decoding in this process, and judges whose answer is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from handlers.input_book import FreeBook
from handlers.inputs import InputPorts
from safety.input_image import PictureReader, decode
from schemas.verdict import Check, Decision, Verdict
from storage.objects.store import ObjectStore

#: Under which the records of these tests are sealed.
KEY = b"k" * 32
POLICY_DIGEST = "5" * 64


def upload_verdict(decision: Decision = Decision.ALLOW, **fields: Any) -> Verdict:
    check = Check(name="toy", version="1", milliseconds=3.0, status="ok")
    return Verdict(
        stage="upload",
        decision=decision,
        policy="strict",
        policy_digest=POLICY_DIGEST,
        checks=(check,),
        **fields,
    )


class ToyJudge:
    """Says `verdict` of every picture, and remembers what it was shown under which policy."""

    def __init__(self, verdict: Verdict | None = None) -> None:
        self.verdict, self.installed = verdict or upload_verdict(), "toy"
        self.shown: list[tuple[bytes, str | None]] = []

    def mark(self, policy_digest: str | None) -> str:
        return f"{policy_digest or POLICY_DIGEST}.{self.installed}"

    def check(self, png: bytes, policy_digest: str | None) -> Verdict:
        self.shown.append((png, policy_digest))
        return self.verdict


def same_pixels(kept: bytes, sent: bytes) -> bool:
    """Whether what is kept shows exactly what was sent."""
    return np.array_equal(decode(kept), decode(sent))


def input_ports(
    results: Callable[[str], ObjectStore], uploads: Callable[[str], ObjectStore], **others: Any
) -> InputPorts:
    """Everything allowed, nothing counted."""
    ports: dict[str, Any] = {
        "clean": PictureReader().clean,
        "judge": ToyJudge(),
        "book": FreeBook(),
        "key": lambda _tenant: KEY,
    }
    return InputPorts(results=results, uploads=uploads, **{**ports, **others})
