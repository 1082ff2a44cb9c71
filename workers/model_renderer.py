"""The renderer that draws: models of `models.pipeline` behind the worker's port."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from models.errors import ModelError, RenderCancelled
from models.pipeline import FailedImage, RenderedImage, Shot, TextToImage
from schemas.microbatch import ImageTask
from schemas.outcome import Failure
from schemas.receipt import RenderedWith
from schemas.states import Stage
from workers.ports import NotRendered, OnStep, Pixels


class ModelRenderer:
    """Renders with the models given, each under its card's name."""

    def __init__(self, models: Sequence[TextToImage], rendered_with: RenderedWith) -> None:
        self._models = {model.card.name: model for model in models}
        self._rendered_with = rendered_with

    @property
    def models(self) -> Mapping[str, str]:
        return {name: model.card.digest for name, model in self._models.items()}

    @property
    def rendered_with(self) -> RenderedWith:
        return self._rendered_with

    def render(
        self, tasks: Sequence[ImageTask], *, on_step: OnStep, cancelled: Callable[[], bool]
    ) -> list[Pixels | Failure | NotRendered]:
        """The tasks share a batch key, hence a model."""
        spec = tasks[0].spec
        model = self._models.get(spec.model)
        if model is None or any(task.spec.model_digest != model.card.digest for task in tasks):
            # Another worker may have this version: the fault is in who it was sent to.
            return [NotRendered(reason="worker_fault")] * len(tasks)
        results = model.render([shot_of(task) for task in tasks], on_step=on_step, cancelled=cancelled)
        return [_result(result) for result in results]


def shot_of(task: ImageTask) -> Shot:
    spec = task.spec
    return Shot(
        prompt=spec.prompt,
        negative_prompt=spec.negative_prompt,
        seed=spec.seed,
        width=spec.width,
        height=spec.height,
        steps=spec.steps,
        guidance=spec.guidance,
    )


def _result(result: RenderedImage | FailedImage) -> Pixels | Failure | NotRendered:
    if isinstance(result, RenderedImage):
        return result.pixels
    if isinstance(result.error, RenderCancelled):
        return NotRendered(reason="shutdown")
    return _failure(result.error)


def _failure(error: ModelError) -> Failure:
    code = re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()
    return Failure(stage=Stage.GENERATE, code=code, detail=str(error), retryable=error.retryable)
