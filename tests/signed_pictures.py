"""Signers, and picture files with and without a signature."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from safety.provenance.certificates import SelfMade
from safety.provenance.signing import Claim, CredentialSigner
from schemas.microbatch import ImageTask
from schemas.provenance import SourceType
from schemas.request import Format
from workers.encode import MEDIA_TYPES, encode_picture
from workers.ports import Pixels

FORMATS: tuple[Format, ...] = ("png", "jpeg", "webp", "avif")


@cache
def own_chain() -> SelfMade:
    """One self-made chain for the whole run: making one takes longer than a test."""
    return SelfMade(Path(tempfile.mkdtemp(prefix="aquatint-test-certificates-")))


def a_signer() -> CredentialSigner:
    return CredentialSigner(own_chain().current, version="0.0.0", training_use="not_allowed")


def anchor() -> str:
    """The root that makes `own_chain` trusted."""
    own_chain().current()
    return own_chain().root_file.read_text()


def some_pixels(side: int = 48, seed: int = 3) -> Pixels:
    ramp = np.linspace(0, 200, side * side * 3).reshape(side, side, 3).astype(np.uint8)
    return ramp + np.random.default_rng(seed).integers(0, 40, ramp.shape, dtype=np.uint8)


def unsigned_file(format: Format = "png", xmp: bytes = b"", seed: int = 3) -> bytes:
    return encode_picture(some_pixels(seed=seed), format, None, xmp)


def a_claim(source: SourceType = "trainedAlgorithmicMedia", **changes: object) -> Claim:
    return Claim(**{"source": source, "model": "starter", "model_version": "a" * 16, **changes})  # type: ignore[arg-type]


def signed_file(format: Format = "png", seed: int = 3, claim: Claim | None = None) -> bytes:
    data, _ = a_signer().sign(unsigned_file(format, seed=seed), MEDIA_TYPES[format], claim or a_claim())
    return data


def task_of(task: ImageTask, **spec: object) -> ImageTask:
    """The task with another spec, under its digest."""
    changed = task.spec.model_copy(update=spec)
    return task.model_copy(update={"spec": changed, "digest": changed.digest})
