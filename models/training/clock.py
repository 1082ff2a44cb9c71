"""The time budget of a training phase, the learning rate that follows from it, and when to save."""

import math
import time


class TrainingClock:
    """Counts seconds of training only: scoring and saving are paused, a resumed run goes on where it stopped."""

    def __init__(self, minutes: float, save_every_seconds: float, used_seconds: float = 0.0) -> None:
        self.budget_seconds = minutes * 60
        self.save_every_seconds = save_every_seconds
        self._started = time.monotonic() - used_seconds
        self._saved = time.monotonic()

    @property
    def used_seconds(self) -> float:
        """Seconds trained so far."""
        return time.monotonic() - self._started

    @property
    def progress(self) -> float:
        """Share of the budget used, 0 to 1 (and a little over at the end)."""
        return self.used_seconds / self.budget_seconds

    def save_is_due(self) -> bool:
        """True once per interval."""
        return time.monotonic() - self._saved >= self.save_every_seconds

    def resume(self, used_seconds: float) -> None:
        """Go on counting from `used_seconds`: called after saving, so that its time is not counted."""
        self._started = time.monotonic() - used_seconds
        self._saved = time.monotonic()


def cosine_rate(step: int, progress: float, warmup_steps: int, floor: float = 0.02) -> float:
    """Factor on the learning rate: linear warm-up over steps, cosine to `floor` over the time budget."""
    return _warmup(step, warmup_steps) * (
        floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    )


def constant_then_linear_rate(
    step: int, progress: float, warmup_steps: int, constant_share: float, floor: float = 0.02
) -> float:
    """Factor on the learning rate: warm-up, constant for `constant_share` of the budget, then linear to `floor`."""
    decay = (1 - progress) / (1 - constant_share) if progress > constant_share else 1.0
    return _warmup(step, warmup_steps) * max(floor, decay)


def _warmup(step: int, warmup_steps: int) -> float:
    return min(1.0, (step + 1) / warmup_steps)
