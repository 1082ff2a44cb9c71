"""The worker with the model that comes with Aquatint."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from microbatches import Reports, a_microbatch, a_task, allow
from PIL import Image

from models.pipeline import TextToImage
from schemas.microbatch import ImageTask
from schemas.outcome import ImageFailed, ImageRendered
from schemas.receipt import RenderedWith
from schemas.render_spec import RenderSpec
from storage.objects.memory import MemoryStore
from workers.model_renderer import ModelRenderer
from workers.worker import Worker, WorkerSettings

STARTER = Path(__file__).parents[2] / "models" / "starter"


@pytest.fixture(scope="module")
def model() -> TextToImage:
    return TextToImage.open(STARTER)


def a_shot(model: TextToImage, seed: int, steps: int) -> ImageTask:
    width, height = model.card.sizes[0]
    changes = {"model": model.card.name, "model_digest": model.card.digest, "width": width, "height": height}
    changes |= {
        "steps": steps,
        "guidance": model.card.guidance.default,
        "prompt": "a red mug on a white background",
    }
    spec = RenderSpec.model_validate(a_task(seed).spec.model_dump() | changes)
    return a_task(seed).model_copy(update={"spec": spec, "digest": spec.digest})


def a_worker(model: TextToImage, store: MemoryStore, reports: Reports) -> Worker:
    made_by = RenderedWith(aquatint="0", runtime="onnx", precision="int8", device="cpu")
    return Worker(
        WorkerSettings(worker_id="wrk_1", heartbeat_seconds=None),
        renderer=ModelRenderer([model], made_by),
        screen=allow,
        stores=lambda tenant: store,
        reporter=reports,
    )


def test_real_pictures_reach_the_store(model: TextToImage) -> None:
    """The starter model's pictures are stored, the same for the same spec whatever they are rendered with."""
    steps = int(model.card.steps.minimum)
    together, alone, reports = MemoryStore(bucket="together"), MemoryStore(bucket="alone"), Reports()
    with a_worker(model, together, reports) as worker:
        worker.handle(a_microbatch(a_shot(model, 1, steps), a_shot(model, 2, steps)))
    with a_worker(model, alone, reports) as worker:
        worker.handle(a_microbatch(a_shot(model, 2, steps)))
    first, second = reports.finished[0].outcomes
    assert isinstance(first, ImageRendered) and isinstance(second, ImageRendered)
    assert together.get(second.stored.key) == alone.get(second.stored.key)
    assert together.get(second.stored.receipt_key) == alone.get(second.stored.receipt_key)
    pixels = np.asarray(Image.open(io.BytesIO(together.get(first.stored.key))))
    assert pixels.shape[:2] == model.card.sizes[0][::-1] and pixels.std() > 1


def test_impossible_shot_fails_alone(model: TextToImage) -> None:
    """What the model cannot draw fails with a typed reason; its neighbour is drawn."""
    reports, steps = Reports(), int(model.card.steps.minimum)
    bad = a_shot(model, 1, steps)
    bad = bad.model_copy(update={"spec": bad.spec.model_copy(update={"width": 72})})
    with a_worker(model, MemoryStore(bucket="results"), reports) as worker:
        worker.handle(a_microbatch(bad, a_shot(model, 2, steps)))
    failed, drawn = reports.finished[0].outcomes
    assert isinstance(failed, ImageFailed) and failed.failure.code == "unsupported_size"
    assert isinstance(drawn, ImageRendered)
