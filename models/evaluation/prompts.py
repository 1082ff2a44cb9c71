# ruff: noqa: S311 - draws by lot, no secrets
"""The fixed prompts of the score: 500 with (kind, colour) pairs the model never saw, 240 written by hand, and seen ones.

python -m models.evaluation.prompts     # writes prompts.jsonl anew; the file in the repository is what counts
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import TypeVar

from models.catalogue.captions import caption
from models.catalogue.world import (
    BACKGROUNDS,
    DEFAULT_LIGHT,
    LAYOUTS,
    LIGHTS,
    MATERIALS,
    Scene,
    held_out_pairs,
    sample_scene,
)

PROMPTS_FILE = Path(__file__).with_name("prompts.jsonl")
HANDWRITTEN_FILE = Path(__file__).with_name("handwritten.jsonl")
PROMPT_COUNT = 500
#: as scenes are drawn for training: half from the left, one in five without a shadow
_LIGHT_ROUND = (*LIGHTS, DEFAULT_LIGHT)
_SHADOW_ROUND = (True, True, True, True, False)
_NEGATION = re.compile(r"\b(no|not|without|none|never|don'?t|doesn'?t|instead of|rather than)\b")
ValueT = TypeVar("ValueT")


@dataclass(frozen=True)
class ScoredPrompt:
    """A prompt, the scene it means and the seed it is drawn with."""

    prompt: str
    scene: Scene
    seed: int


def unseen_prompts(path: Path = PROMPTS_FILE) -> list[ScoredPrompt]:
    """The committed prompts with held-out pairs."""
    return read_prompts(path)


def handwritten_prompts(path: Path = HANDWRITTEN_FILE) -> list[ScoredPrompt]:
    """The prompts written by hand, whose phrasings no training caption has."""
    return read_prompts(path)


def seen_prompts(count: int = PROMPT_COUNT) -> list[ScoredPrompt]:
    """Prompts whose pairs were in the training set, though not in these words and places."""
    rng = Random("seen prompts")
    return [_prompt(sample_scene(rng), rng, i) for i in range(count)]


def read_prompts(path: Path) -> list[ScoredPrompt]:
    """JSON Lines with `prompt`, `scene` and `seed`."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [ScoredPrompt(row["prompt"], Scene(**row["scene"]), row["seed"]) for row in rows]


def draw_unseen_prompts(count: int = PROMPT_COUNT) -> list[ScoredPrompt]:
    """Prompts that go round all held-out pairs, materials, backgrounds and layouts evenly."""
    rng = Random("unseen prompts")
    pairs = _shuffled_round(held_out_pairs(), count, rng)
    materials = _shuffled_round(MATERIALS, count, rng)
    backgrounds = _shuffled_round(list(BACKGROUNDS), count, rng)
    layouts = _shuffled_round(list(LAYOUTS), count, rng)
    lights = _shuffled_round(_LIGHT_ROUND, count, rng)
    shadows = _shuffled_round(_SHADOW_ROUND, count, rng)
    scenes = [
        Scene(
            kind=kind, colour=colour, material=material, background=background, layout=layout, light=light,
            shadow=shadow,
        )
        for (kind, colour), material, background, layout, light, shadow in zip(
            pairs, materials, backgrounds, layouts, lights, shadows, strict=True
        )
    ]  # fmt: skip
    return [_prompt(scene, rng, i) for i, scene in enumerate(scenes)]


def subset_places(prompts: Sequence[ScoredPrompt]) -> Mapping[str, list[int]]:
    """Places of the prompts that test one side of language: negation, numbers, light."""
    tests: dict[str, Callable[[ScoredPrompt], bool]] = {
        "negation": lambda p: not p.scene.shadow or bool(_NEGATION.search(p.prompt.lower())),
        "number": lambda p: p.scene.layout == "pair",
        "light": lambda p: p.scene.light != DEFAULT_LIGHT,
    }
    return MappingProxyType(
        {name: [i for i, p in enumerate(prompts) if test(p)] for name, test in tests.items()}
    )


def to_lines(prompts: Iterable[ScoredPrompt]) -> str:
    """JSON Lines."""
    return "".join(json.dumps(asdict(prompt)) + "\n" for prompt in prompts)


def _shuffled_round(values: Sequence[ValueT], count: int, rng: Random) -> list[ValueT]:
    """`count` values in random order, each as often as any other."""
    whole = [values[i % len(values)] for i in range(count)]
    rng.shuffle(whole)
    return whole


def _prompt(scene: Scene, rng: Random, index: int) -> ScoredPrompt:
    return ScoredPrompt(caption(scene, rng), scene, 10_000 + index)


if __name__ == "__main__":
    PROMPTS_FILE.write_text(to_lines(draw_unseen_prompts()), "utf-8")
