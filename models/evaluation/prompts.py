# ruff: noqa: S311 - draws by lot, no secrets
"""The fixed prompts of the score: 200 with (kind, colour) pairs the model never saw, and 200 others beside them.

python -m models.evaluation.prompts     # writes prompts.jsonl anew; the file in the repository is what counts
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import TypeVar

from models.catalogue.captions import caption
from models.catalogue.world import BACKGROUNDS, LAYOUTS, MATERIALS, Scene, held_out_pairs, sample_scene

PROMPTS_FILE = Path(__file__).with_name("prompts.jsonl")
PROMPT_COUNT = 200
ValueT = TypeVar("ValueT")


@dataclass(frozen=True)
class ScoredPrompt:
    """A prompt, the scene it means and the seed it is drawn with."""

    prompt: str
    scene: Scene
    seed: int


def unseen_prompts(path: Path = PROMPTS_FILE) -> list[ScoredPrompt]:
    """The committed prompts with held-out pairs."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [ScoredPrompt(row["prompt"], Scene(**row["scene"]), row["seed"]) for row in rows]


def seen_prompts(count: int = PROMPT_COUNT) -> list[ScoredPrompt]:
    """Prompts whose pairs were in the training set, though not in these words and places."""
    rng = Random("seen prompts")
    return [_prompt(sample_scene(rng), rng, i) for i in range(count)]


def draw_unseen_prompts(count: int = PROMPT_COUNT) -> list[ScoredPrompt]:
    """Prompts that go round all held-out pairs, backgrounds, layouts and materials evenly."""
    rng, pairs = Random("unseen prompts"), held_out_pairs()
    words = [_shuffled_round(list(values), count, rng) for values in (MATERIALS, BACKGROUNDS, LAYOUTS)]
    scenes = [
        Scene(kind=kind, colour=colour, material=material, background=background, layout=layout)
        for (kind, colour), material, background, layout in zip(
            _shuffled_round(pairs, count, rng), *words, strict=True
        )
    ]
    return [_prompt(scene, rng, i) for i, scene in enumerate(scenes)]


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
