"""What the screens say about a prompt, an upload or an output."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from schemas.base import Frozen


class Decision(StrEnum):
    """In order of severity; a combined verdict takes the worst."""

    ALLOW = "allow"
    REVIEW = "review"
    BLOCK = "block"
    #: A required check did not give an answer. Never published.
    ERROR = "error"


class Check(Frozen):
    """One check that ran, or should have."""

    name: str
    version: str
    #: SHA-256 of the model file or rule pack it used.
    model_sha256: str | None = None
    milliseconds: float = Field(ge=0)
    status: Literal["ok", "error", "timeout", "missing"]


class CategoryScore(Frozen):
    """How strongly one category was found, and the threshold that it met or missed.

    In a coarse verdict the score is the threshold itself: met, and by how much is not said.
    """

    score: float = Field(ge=0, le=1)
    threshold: float = Field(ge=0)
    source: str


class Verdict(Frozen):
    """The outcome of one stage of screening under one policy."""

    stage: Literal["prompt", "upload", "output"]
    decision: Decision
    categories: dict[str, CategoryScore] = Field(default_factory=dict)
    #: Stable reason codes, e.g. "prompt.listed_term"; matched terms never leave the screen.
    reasons: tuple[str, ...] = ()
    policy: str
    policy_digest: str
    checks: tuple[Check, ...] = ()
    #: Less was checked than the policy requires: a check gave no answer and a person is to look instead, or an operator
    #: has waived what no screen covers.
    degraded: bool = False

    @property
    def found(self) -> tuple[str, ...]:
        """The categories whose thresholds were met, by name."""
        met = (name for name, one in self.categories.items() if one.score >= one.threshold)
        return tuple(sorted(met))

    def timeless(self) -> Verdict:
        """The verdict without the time that its checks took, so that equal findings are equal."""
        checks = tuple(check.model_copy(update={"milliseconds": 0.0}) for check in self.checks)
        return self.model_copy(update={"checks": checks})

    def coarse(self) -> Verdict:
        """The verdict as it may leave the installation: what was found, but not how strongly, which would teach evasion."""
        found = {
            name: self.categories[name].model_copy(update={"score": min(self.categories[name].threshold, 1.0)})
            for name in self.found
        }
        return self.model_copy(update={"categories": found})
