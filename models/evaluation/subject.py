# ruff: noqa: S311 - draws by lot, no secrets
"""What is evaluated: something that draws prompts, a model in one setting or, as the truth, the renderer itself."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, Protocol, Self, overload

from models.adapters import WeightedAdapter, load_adapter
from models.card import ModelCard
from models.catalogue.captions import training_scene
from models.catalogue.world import Scene
from models.evaluation.judgement import Pictures, Pixels
from models.evaluation.prompts import ScoredPrompt
from models.pipeline import FailedImage, Shot, TextToImage
from models.runtime import Precision, RuntimeName

OnImage = Callable[[int, int], None]

#: seed of the starter's recipe and rows of a shard of its training set (models/training/recipes/starter.toml)
TRAINING_SEED = 2
_SHARD_ROWS = 2500


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How a model is run; None means what its card says."""

    folder: Path
    runtime: RuntimeName = "onnx"
    precision: Precision = "int8"
    steps: int | None = None
    guidance: float | None = None
    adapters: tuple[tuple[Path, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Pictures of prompts, in their order, and what one took."""

    pictures: Pictures
    seconds_per_image: float


class Subject(Protocol):
    """Draws prompts."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of its pictures."""
        ...

    def knows(self, scene: Scene) -> bool:
        """Whether a scene lies inside what it says it can draw."""
        ...

    def describe(self) -> dict[str, Any]:
        """Name, digest and setting, as a report names it."""
        ...

    def draw(self, prompts: Sequence[ScoredPrompt], on_image: OnImage | None = None) -> Drawing:
        """One picture per prompt; `on_image` is told (done, all)."""
        ...


class ModelSubject:
    """A model folder in one setting."""

    def __init__(self, model: TextToImage, setting: Setting) -> None:
        self._model = model
        card = model.card
        self._adapters = tuple(
            WeightedAdapter(adapter=load_adapter(folder, card), weight=weight)
            for folder, weight in setting.adapters
        )
        self._setting = replace(
            setting,
            steps=setting.steps or card.steps.default,
            guidance=card.guidance.default if setting.guidance is None else setting.guidance,
        )

    @classmethod
    def open(cls, setting: Setting) -> Self:
        """Open the model; raises as `TextToImage.open` and `load_adapter` do."""
        return cls(TextToImage.open(setting.folder, setting.runtime, setting.precision), setting)

    @property
    def card(self) -> ModelCard:
        """The model's own."""
        return self._model.card

    @property
    def size(self) -> tuple[int, int]:
        """The model's first size."""
        return self._model.card.sizes[0]

    def knows(self, scene: Scene) -> bool:
        """By the words of its card; a card without words is of an open domain and knows everything."""
        words = self._model.card.vocabulary
        asked = {
            scene.kind: words.kinds, scene.colour: words.colours, scene.material: words.materials,
            scene.background: words.backgrounds, scene.layout: words.layouts,
        }  # fmt: skip
        return all(not known or word in known for word, known in asked.items())

    def describe(self) -> dict[str, Any]:
        """Name, digest and setting."""
        setting, card = self._setting, self._model.card
        return {
            "name": card.name,
            "version": card.version,
            "digest": card.digest,
            "runtime": setting.runtime,
            "precision": setting.precision,
            "steps": setting.steps,
            "guidance": setting.guidance,
            "adapters": [
                {"name": used.adapter.card.name, "digest": used.adapter.digest, "weight": used.weight}
                for used in self._adapters
            ],
        }

    def draw(self, prompts: Sequence[ScoredPrompt], on_image: OnImage | None = None) -> Drawing:
        """One picture per prompt in the model's first size; any failure is raised: a score of the others would mislead."""
        pictures, started = [], time.perf_counter()
        for i, prompt in enumerate(prompts):
            pictures.append(self._draw_one(prompt))
            if on_image:
                on_image(i + 1, len(prompts))
        seconds = (time.perf_counter() - started) / max(1, len(prompts))
        return Drawing(pictures=pictures, seconds_per_image=seconds)

    def _draw_one(self, prompt: ScoredPrompt) -> Pixels:
        width, height = self.size
        assert self._setting.steps is not None and self._setting.guidance is not None
        shot = Shot(
            prompt=prompt.prompt, seed=prompt.seed, width=width, height=height, steps=self._setting.steps,
            guidance=self._setting.guidance, adapters=self._adapters,
        )  # fmt: skip
        result = self._model.render([shot])[0]
        if isinstance(result, FailedImage):
            raise result.error
        return result.pixels


class RenderedTruth:
    """The renderer as a subject: what a perfect model would score."""

    def __init__(self, size: tuple[int, int] = (128, 128), offset: int = 0) -> None:
        self._size = size
        self._offset = offset

    @property
    def size(self) -> tuple[int, int]:
        """As given."""
        return self._size

    def knows(self, scene: Scene) -> bool:  # noqa: ARG002 - the renderer draws the whole world
        """Every scene."""
        return True

    def describe(self) -> dict[str, Any]:
        """It has no digest: the renderer is code."""
        return {"name": "renders", "version": "", "digest": ""}

    def draw(self, prompts: Sequence[ScoredPrompt], on_image: OnImage | None = None) -> Drawing:
        """One render per prompt's scene and seed."""
        started, pictures = time.perf_counter(), []
        for i, prompt in enumerate(prompts):
            pictures += real_renders([prompt.scene], self._offset + prompt.seed, self._size)
            if on_image:
                on_image(i + 1, len(prompts))
        seconds = (time.perf_counter() - started) / max(1, len(prompts))
        return Drawing(pictures=pictures, seconds_per_image=seconds)


def real_renders(
    scenes: Sequence[Scene], first_seed: int, size: tuple[int, int] = (128, 128)
) -> list[Pixels]:
    """Renders of scenes with the seeds `first_seed`, `first_seed` + 1 and so on.

    Raises:
        ImportError: skia-python, of the [train] extra, is not installed.
    """
    from models.training.renderer import render

    width, height = size
    return [render(scene, first_seed + i, width, height) for i, scene in enumerate(scenes)]


class TrainingRenders(Sequence[Pixels]):
    """The very renders the starter was trained on, from the beginning of its set; each is drawn when it is asked for.

    They are decided by the recipe's seed, the picture size and the shard, as `models/training/latents.py` draws them.
    """

    def __init__(self, count: int, size: tuple[int, int] = (128, 128), seed: int = TRAINING_SEED) -> None:
        self._count, self._size, self._seed = count, size, seed

    def __len__(self) -> int:
        """As given."""
        return self._count

    @overload
    def __getitem__(self, place: int) -> Pixels: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Pixels]: ...

    def __getitem__(self, place: int | slice) -> Pixels | Sequence[Pixels]:
        """Draw one, or several."""
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(self._count))]
        if not 0 <= place < self._count:
            raise IndexError(place)
        scenes, seeds = _shard_plan(self._seed, self._size, place // _SHARD_ROWS)
        row = place % _SHARD_ROWS
        return real_renders([scenes[row]], seeds[row], self._size)[0]


@lru_cache(maxsize=2)
def _shard_plan(seed: int, size: tuple[int, int], shard: int) -> tuple[list[Scene], list[int]]:
    """Scenes and render seeds of one whole shard: all scenes are drawn by lot before the first seed."""
    width, height = size
    rng = Random(f"latents {seed} {width}x{height} {shard:06d}")
    scenes = [training_scene(rng) for _ in range(_SHARD_ROWS)]
    return scenes, [rng.getrandbits(40) for _ in range(_SHARD_ROWS)]
