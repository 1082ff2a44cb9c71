"""How long a stage runs and how its learning rate moves, both counted in steps."""

import math
from dataclasses import dataclass

from models.training.recipe import TrainedStage


def rate_factor(stage: TrainedStage, step: int, total_steps: int) -> float:
    """Factor on the learning rate at `step` of `total_steps`: warm-up, then the stage's schedule down to its floor."""
    warm = min(1.0, (step + 1) / stage.warmup_steps)
    progress, floor = min(1.0, step / total_steps), stage.final_share
    if stage.schedule == "cosine":
        return warm * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))
    constant = stage.constant_share
    decay = (1 - progress) / (1 - constant) if progress > constant else 1.0
    return warm * max(floor, decay)


@dataclass
class Plan:
    """The number of steps a stage will take: as its recipe says, or as many as fit into its minutes at the speed seen so far.

    Only a number of steps makes a run repeatable to the bit; minutes are for machines whose speed is not known beforehand,
    since a learning rate that has fallen to its end is worth more than a fixed count.
    """

    stage: TrainedStage
    total_steps: int = 0
    step_seconds: float = 0.0  # smoothed

    def __post_init__(self) -> None:
        if self.stage.steps is not None:
            self.total_steps = self.stage.steps
        elif not self.total_steps:
            self.total_steps = 10**9  # until the first measurement

    def revise(self, step: int, used_seconds: float, recent_step_seconds: float) -> None:
        """Plan anew after `step` steps and `used_seconds`, the last of which took `recent_step_seconds` each."""
        if self.stage.minutes is None:
            return
        before = self.step_seconds or recent_step_seconds
        self.step_seconds = 0.9 * before + 0.1 * recent_step_seconds
        left = self.stage.minutes * 60 - used_seconds
        self.total_steps = step + max(0, round(left / self.step_seconds))
