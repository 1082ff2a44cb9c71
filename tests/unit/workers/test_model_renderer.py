"""The adapter between the worker's port and `models.pipeline`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np
import pytest
from microbatches import MODEL, MODEL_DIGEST, a_task

from models.errors import NonFiniteImage, RenderCancelled, RenderFailed, UnsupportedSize
from models.pipeline import FailedImage, RenderedImage, Shot, Timing
from schemas.microbatch import ImageTask
from schemas.outcome import Failure
from schemas.receipt import RenderedWith
from schemas.states import Stage
from workers.model_renderer import ModelRenderer
from workers.ports import NotRendered, Work

WITH = RenderedWith(aquatint="1", runtime="onnx", precision="int8", device="cpu")


class Model:
    """Gives the results it is told to, by seed, and remembers its shots."""

    def __init__(self, results: dict[int, Exception] | None = None) -> None:
        self.card = SimpleNamespace(name=MODEL, digest=MODEL_DIGEST)
        self.errors, self.shots = results or {}, list[Shot]()

    def render(
        self, shots: Sequence[Shot], on_step: object, cancelled: object
    ) -> list[RenderedImage | FailedImage]:
        self.shots = list(shots)
        return [self.one(shot) for shot in shots]

    def one(self, shot: Shot) -> RenderedImage | FailedImage:
        if shot.seed in self.errors:
            return FailedImage(shot=shot, error=self.errors[shot.seed])  # type: ignore[arg-type]
        pixels = np.full((shot.height, shot.width, 3), shot.seed, np.uint8)
        return RenderedImage(
            shot=shot, pixels=pixels, seconds=Timing(text=0, denoise=0, decode=0), unknown_words=()
        )


def render(model: Model, *tasks: ImageTask) -> list[object]:
    renderer = ModelRenderer([model], WITH)  # type: ignore[list-item]
    never: Callable[[], bool] = lambda: False  # noqa: E731
    return list(
        renderer.render(
            [Work(task=task) for task in tasks], on_step=lambda index, step: None, cancelled=never
        )
    )


def test_spec_decides_the_shot() -> None:
    """Every field of the spec that decides pixels reaches the model."""
    model, task = Model(), a_task(5)
    (pixels,) = render(model, task)
    assert isinstance(pixels, np.ndarray) and pixels.shape == (64, 64, 3) and (pixels == 5).all()
    (shot,) = model.shots
    wanted = {
        name: getattr(task.spec, name) for name in ("prompt", "negative_prompt", "seed", "steps", "guidance")
    }
    assert {name: getattr(shot, name) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (NonFiniteImage("NaN came out"), "non_finite_image", False),
        (RenderFailed("the runtime raised"), "render_failed", True),
        (UnsupportedSize("size", "128x128", (1, 1)), "unsupported_size", False),
    ],
)
def test_failures_keep_their_names(error: Exception, code: str, retryable: bool) -> None:
    """A typed error of the model becomes a failure at the generate stage; its neighbour is drawn."""
    failure, neighbour = render(Model({1: error}), a_task(1), a_task(2))
    assert isinstance(failure, Failure) and isinstance(neighbour, np.ndarray)
    assert (failure.stage, failure.code, failure.retryable) == (Stage.GENERATE, code, retryable)


def test_cancelled_image_is_not_a_failure() -> None:
    """An image that was left because the worker stops may be planned again."""
    assert render(Model({1: RenderCancelled("asked to")}), a_task(1)) == [NotRendered(reason="shutdown")]


def test_other_version_of_the_model_is_refused() -> None:
    """A worker never draws with another model, or another version, than the digest says."""
    other = a_task(1)
    spec = other.spec.model_copy(update={"model_digest": "f" * 64})
    model = Model()
    assert render(model, other.model_copy(update={"spec": spec})) == [NotRendered(reason="worker_fault")]
    assert model.shots == []
