"""The way of one picture from the renderer to the store: marked, sealed, screened by its caller, permitted, stored or held.

Needs no GPU: what a reviewer releases later goes the same way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import structlog

from safety.allow_token import Tokens, pixels_sha256
from safety.provenance.watermark import Watermarker
from schemas.errors import AquatintError
from schemas.microbatch import ImageTask
from schemas.outcome import (
    Failure,
    ImageBlocked,
    ImageFailed,
    ImageHeld,
    ImageRendered,
    Outcome,
    QuarantineRef,
)
from schemas.provenance import Watermark
from schemas.receipt import RenderedWith
from schemas.states import Stage
from schemas.verdict import Decision, Verdict
from workers import shelf
from workers.failures import failure_of
from workers.ports import Pixels, Stores
from workers.shelf import Encode, Permitted

log = structlog.get_logger(__name__)


class Quarantine(Protocol):
    """Keeps a picture where nobody outside can see it, with all that publishing it later takes."""

    def keep(
        self,
        task: ImageTask,
        pixels: Pixels,
        verdict: Verdict,
        *,
        rendered_with: RenderedWith,
        watermark: Watermark | None = None,
    ) -> QuarantineRef:
        """Durable when it returns; raises what its store raises. Of two pictures of one image the first stays."""


@dataclass(frozen=True, kw_only=True)
class WayOut:
    """What an installation puts between its renderer and its store."""

    encode: Encode
    watermarker: Watermarker | None = None
    #: None: a picture that needs a reviewer fails, since there is nowhere to keep it.
    quarantine: Quarantine | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """A picture as it would be published. Nobody can write to its pixels, and the digest was taken before any check."""

    pixels: Pixels
    sha256: str
    watermark: Watermark | None = None


@dataclass(frozen=True, kw_only=True)
class Finishing:
    """Brings pictures out, or keeps them in; safe to share between threads."""

    way_out: WayOut
    stores: Stores
    tokens: Tokens = field(default_factory=Tokens.of_this_process)

    def prepare(self, task: ImageTask, pixels: Pixels) -> Candidate | Failure:
        """The final pixels: marked if this installation marks, copied, and digested before anything looks at them."""
        watermarker, mark = self.way_out.watermarker, None
        if watermarker is not None:
            try:
                marked, mark = watermarker.mark(pixels, task.digest)
                if marked.shape != pixels.shape or marked.dtype != pixels.dtype:
                    raise ValueError("the mark changed the form of the picture")
            except Exception as error:
                return _mark_failed(task, error)
            pixels = marked
        # A copy: the renderer's buffer may be written to again.
        own = np.array(pixels, order="C")
        own.flags.writeable = False
        return Candidate(pixels=own, sha256=pixels_sha256(own), watermark=mark)

    def finish(
        self, task: ImageTask, candidate: Candidate, verdict: Verdict, rendered_with: RenderedWith
    ) -> Outcome:
        """Publishes what the verdict allows, holds what a person must see, and refuses the rest."""
        if verdict.decision is Decision.REVIEW:
            return self._hold(task, candidate, verdict, rendered_with)
        if verdict.decision is not Decision.ALLOW:
            return ImageBlocked(image=task.image, digest=task.digest, verdict=verdict)
        try:
            return self.publish(task, candidate, verdict, rendered_with)
        except Exception as error:
            return _not_stored(task, error)

    def publish(
        self, task: ImageTask, candidate: Candidate, verdict: Verdict, rendered_with: RenderedWith
    ) -> ImageRendered:
        """Issues the permission, and stores with it. Raises NotAllowed, and what encoding, signing and the store raise."""
        token = self.tokens.issuer.issue(verdict, candidate.sha256, digest=task.digest, tenant=task.tenant)
        permitted = Permitted(
            pixels=candidate.pixels, token=token, verdict=verdict, watermark=candidate.watermark
        )
        return shelf.put(
            task,
            permitted,
            verifier=self.tokens.verifier,
            encode=self.way_out.encode,
            rendered_with=rendered_with,
            store=self.stores(task.tenant),
        )

    def _hold(
        self, task: ImageTask, candidate: Candidate, verdict: Verdict, rendered_with: RenderedWith
    ) -> Outcome:
        if self.way_out.quarantine is None:
            failure = Failure(
                stage=Stage.STORE,
                code="no_quarantine",
                detail="a reviewer is needed, and nothing can be held here",
            )
            return ImageFailed(image=task.image, digest=task.digest, failure=failure)
        try:
            kept = self.way_out.quarantine.keep(
                task, candidate.pixels, verdict, rendered_with=rendered_with, watermark=candidate.watermark
            )
        except Exception as error:
            return _not_stored(task, error)
        return ImageHeld(image=task.image, digest=task.digest, verdict=verdict, quarantined=kept)


def _mark_failed(task: ImageTask, error: Exception) -> Failure:
    log.warning("worker.mark_failed", image=task.image, job=task.job, error=type(error).__name__)
    if isinstance(error, AquatintError):
        return failure_of(Stage.GENERATE, error)
    # Ours to repair, but another worker may do better.
    return Failure(stage=Stage.GENERATE, code="watermark_failed", detail=type(error).__name__, retryable=True)


def _not_stored(task: ImageTask, error: Exception) -> ImageFailed:
    name = type(error).__name__
    log.warning("worker.image_not_stored", image=task.image, job=task.job, trace=task.traceparent, error=name)
    return ImageFailed(image=task.image, digest=task.digest, failure=failure_of(Stage.STORE, error))
