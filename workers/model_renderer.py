"""The renderer that draws: models of `models.pipeline` behind the worker's port."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from models.adapters import ADAPTER_FILE, Adapter, WeightedAdapter, read_adapter
from models.errors import AdapterMismatch, RenderCancelled
from models.pipeline import FailedImage, RenderedImage, TextToImage
from models.shot import Control, Shot
from schemas.outcome import Failure
from schemas.receipt import RenderedWith
from schemas.states import Stage
from workers.failures import failure_of
from workers.ports import NotRendered, OnStep, Pixels, Work


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

    def read_adapter(self, model: str, description: bytes, weights: bytes) -> Adapter:
        known = self._models.get(model)
        if known is None:
            raise AdapterMismatch(ADAPTER_FILE, f"there is no model {model} here")
        return read_adapter(description, weights, known.card)

    def render(
        self, works: Sequence[Work], *, on_step: OnStep, cancelled: Callable[[], bool]
    ) -> list[Pixels | Failure | NotRendered]:
        """The works share a batch key, hence a model."""
        model = self._models.get(works[0].task.spec.model)
        if model is None or any(work.task.spec.model_digest != model.card.digest for work in works):
            # Another worker may have this version: the fault is in who it was sent to.
            return [NotRendered(reason="worker_fault")] * len(works)
        results = model.render([shot_of(work) for work in works], on_step=on_step, cancelled=cancelled)
        return [_result(result) for result in results]


def shot_of(work: Work) -> Shot:
    spec, fetched = work.task.spec, work.fetched
    lines = zip(spec.control, fetched.control, strict=True)
    control = next((Control(kind=one.kind, pixels=pixels, weight=one.weight) for one, pixels in lines), None)
    weighted = zip(spec.adapters, fetched.adapters, strict=True)
    return Shot(
        prompt=spec.prompt,
        negative_prompt=spec.negative_prompt,
        seed=spec.seed,
        width=spec.width,
        height=spec.height,
        steps=spec.steps,
        guidance=spec.guidance,
        image=fetched.image,
        mask=fetched.mask,
        strength=spec.strength,
        control=control,
        adapters=tuple(WeightedAdapter(adapter=adapter, weight=one.weight) for one, adapter in weighted),
    )


def _result(result: RenderedImage | FailedImage) -> Pixels | Failure | NotRendered:
    if isinstance(result, RenderedImage):
        return result.pixels
    if isinstance(result.error, RenderCancelled):
        return NotRendered(reason="shutdown")
    return failure_of(Stage.GENERATE, result.error)
