"""Exceptions in the words of an outcome."""

from __future__ import annotations

import re

from models.errors import ModelError
from schemas.errors import AquatintError
from schemas.outcome import Failure
from schemas.states import Stage


def failure_of(stage: Stage, error: Exception) -> Failure:
    """What failed and whether a repeat may help. The text of a foreign exception stays here: it may quote a prompt or a link."""
    if isinstance(error, AquatintError):
        detail = f"{error.field}: {error.detail}" if stage is Stage.FETCH and error.field else error.detail
        return Failure(stage=stage, code=error.code, detail=detail, retryable=error.retryable)
    if isinstance(error, ModelError):
        code = re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()
        return Failure(stage=stage, code=code, detail=str(error), retryable=error.retryable)
    return Failure(
        stage=stage, code=f"{stage}_error", detail=type(error).__name__, retryable=stage is Stage.SCREEN
    )
