# ruff: noqa: S311 - draws by lot, no secrets
"""Does a picture show what its prompt says? Scores of both meters, with ceiling, chance and the parts of language."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias

from models.catalogue.world import Scene
from models.evaluation.classifier import Classifier
from models.evaluation.intervals import Share
from models.evaluation.judgement import Judgement, Pictures, is_right, shares_right
from models.evaluation.pixel_checks import PixelMeter
from models.evaluation.prompts import ScoredPrompt, subset_places

Shares: TypeAlias = Mapping[str, Share]


@dataclass(frozen=True)
class Meters:
    """The two meters: a small net, and plain pixel statistics."""

    classifier: Classifier
    pixels: PixelMeter

    @classmethod
    def open(cls) -> "Meters":
        """Those that came with the repository."""
        return cls(Classifier(), PixelMeter.open())

    def judge(self, pictures: Pictures) -> dict[str, list[Judgement]]:
        """What each sees."""
        return {"classifier": self.classifier.judge(pictures), "pixels": self.pixels.judge(pictures)}

    def shares(self, seen: Mapping[str, list[Judgement]], scenes: Sequence[Scene]) -> dict[str, Shares]:
        """Shares right by meter; the pixel meter answers only for what it claims to see."""
        return {
            "classifier": shares_right(seen["classifier"], scenes),
            "pixels": shares_right(seen["pixels"], scenes, self.pixels.can_judge),
        }


@dataclass(frozen=True, kw_only=True)
class Following:
    """Scores of one list of prompts; `ceiling` is None where nothing could be rendered to measure it on."""

    count: int
    meters: Mapping[str, Shares]
    ceiling: Mapping[str, Shares] | None
    chance: Mapping[str, Shares]
    subsets: Mapping[str, Shares]
    wrong: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        """As a report writes it."""
        return {
            "count": self.count,
            "meters": _as_json(self.meters),
            "ceiling": None if self.ceiling is None else _as_json(self.ceiling),
            "chance": _as_json(self.chance),
            "subsets": _as_json(self.subsets),
            "wrong": list(self.wrong),
        }


def follow(
    meters: Meters, prompts: Sequence[ScoredPrompt], pictures: Pictures, truth: Pictures | None
) -> Following:
    """Judge pictures of prompts.

    Args:
        meters: the judges.
        prompts: what was asked for.
        pictures: what was drawn, in their order.
        truth: real renders of the same scenes, which give the ceiling.
    """
    scenes = [prompt.scene for prompt in prompts]
    seen = meters.judge(pictures)
    net = seen["classifier"]
    subsets = {
        name: shares_right([net[i] for i in places], [scenes[i] for i in places])
        for name, places in subset_places(prompts).items()
        if places
    }
    return Following(
        count=len(prompts),
        meters=meters.shares(seen, scenes),
        ceiling=None if truth is None else meters.shares(meters.judge(truth), scenes),
        chance=meters.shares(seen, shuffled(scenes)),
        subsets=subsets,
        wrong=tuple(
            i
            for i, (judgement, scene) in enumerate(zip(net, scenes, strict=True))
            if not is_right(judgement, scene)
        ),
    )


def shuffled(scenes: Sequence[Scene]) -> list[Scene]:
    """The same scenes, none at its own place, against other pictures: a meter that still says right is broken."""
    order = Random(0).sample(range(len(scenes)), len(scenes))
    moved = {place: order[(i + 1) % len(order)] for i, place in enumerate(order)}  # one cycle: nobody stays
    return [scenes[moved[i]] for i in range(len(scenes))]


def _as_json(tables: Mapping[str, Shares]) -> dict[str, dict[str, dict[str, float]]]:
    return {name: {key: share.as_json() for key, share in shares.items()} for name, shares in tables.items()}
