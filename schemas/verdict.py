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
    """How strongly one category was found, and the threshold that it met or missed."""

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
