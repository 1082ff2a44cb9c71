"""The worker with the model that comes with Aquatint."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from microbatches import Reports, a_microbatch, a_task, a_way_out, allow
from pictures import a_mask, as_file
from PIL import Image

from models.pipeline import TextToImage
from schemas.ids import new_id
from schemas.microbatch import ImageTask
from schemas.object_keys import input_key
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


def with_inputs(task: ImageTask, **fields: object) -> ImageTask:
    spec = RenderSpec.model_validate({**task.spec.model_dump(), **fields})
    return task.model_copy(update={"image": new_id("img"), "spec": spec, "digest": spec.digest})


def keep(store: MemoryStore, picture: Image.Image) -> str:
    """As planning leaves it: the bytes under their digest."""
    data = as_file(picture)
    sha256 = hashlib.sha256(data).hexdigest()
    store.put(input_key(sha256), data)
    return sha256


def drawn(store: MemoryStore, outcome: object) -> np.ndarray:
    assert isinstance(outcome, ImageRendered), outcome
    return np.asarray(Image.open(io.BytesIO(store.get(outcome.stored.key))).convert("RGB")).astype(int)


def a_worker(model: TextToImage, store: MemoryStore, reports: Reports) -> Worker:
    made_by = RenderedWith(aquatint="0", runtime="onnx", precision="int8", device="cpu")
    return Worker(
        WorkerSettings(worker_id="wrk_1", heartbeat_seconds=None),
        renderer=ModelRenderer([model], made_by),
        screen=allow,
        stores=lambda tenant: store,
        reporter=reports,
        way_out=a_way_out(lambda tenant: store),
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


def test_pictures_reach_the_model_that_ships(model: TextToImage) -> None:
    """A weak change stays closer to its picture than none of it, what a mask keeps is kept to the pixel, lines count."""
    missing = {"image_to_image", "inpainting", "control:edges"} - set(model.card.features)
    if missing:
        pytest.skip(f"the model that ships does not do {', '.join(sorted(missing))}")
    width, height = model.card.sizes[0]
    photo = Image.new("RGB", (width, height), (235, 235, 235))
    photo.paste((190, 30, 30), (width // 3, height // 3, 2 * width // 3, 2 * height // 3))
    store, reports = MemoryStore(bucket="results"), Reports()
    sha, mask = keep(store, photo), keep(store, a_mask(width, height))
    plain = a_shot(model, 1, max(2, int(model.card.steps.minimum)))
    tasks = [
        plain,
        with_inputs(plain, image=sha, strength=0.3),
        with_inputs(plain, image=sha, mask=mask, strength=1.0),
        with_inputs(plain, control=[{"kind": "edges", "image": sha, "weight": 1.0}]),
    ]
    with a_worker(model, store, reports) as worker:
        worker.handle(a_microbatch(*tasks))
    free, close, painted, lines = (drawn(store, outcome) for outcome in reports.finished[0].outcomes)
    wanted = np.asarray(photo).astype(int)
    assert np.abs(close - wanted).mean() < np.abs(free - wanted).mean()
    kept = width // 2 - 4
    assert np.array_equal(painted[:, :kept], wanted[:, :kept]) and not np.array_equal(painted, wanted)
    assert not np.array_equal(lines, free)


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
