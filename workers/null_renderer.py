"""A renderer that draws nothing worth seeing, for measuring everything but the render."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from models.adapters import ADAPTER_FILE, Adapter
from models.errors import AdapterMismatch
from schemas.microbatch import ImageTask
from schemas.receipt import RenderedWith
from workers.ports import NotRendered, OnStep, Pixels, Work


class NullRenderer:
    """Fills each picture with a pattern of its digest's bytes. Never chosen unless somebody asks for it by name."""

    def __init__(self, models: Mapping[str, str], *, seconds: float = 0.0) -> None:
        self._models, self._seconds = dict(models), seconds

    @property
    def models(self) -> Mapping[str, str]:
        return self._models

    @property
    def rendered_with(self) -> RenderedWith:
        return RenderedWith(aquatint="0", runtime="null", precision="none", device="none")

    def read_adapter(self, model: str, description: bytes, weights: bytes) -> Adapter:  # noqa: ARG002  (of no use to it)
        raise AdapterMismatch(ADAPTER_FILE, f"{model} takes no adapters")

    def render(
        self, works: Sequence[Work], *, on_step: OnStep, cancelled: Callable[[], bool]
    ) -> list[Pixels | NotRendered]:
        """Takes `seconds` altogether, in steps of at most 10 ms."""
        until = time.monotonic() + self._seconds
        while not cancelled() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.01))
            on_step(0, 0)
        return [NotRendered(reason="shutdown") if cancelled() else pattern(work.task) for work in works]


def pattern(task: ImageTask) -> Pixels:
    """A deterministic picture of the task's size: (height, width, 3)."""
    tile = np.frombuffer(bytes.fromhex(task.digest), dtype=np.uint8)
    return np.resize(tile, (task.spec.height, task.spec.width, 3))
