"""What a worker reads besides its microbatch: verified, fitted, remembered, and a fault of one image alone."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from microbatches import Reports, a_microbatch, a_task, a_way_out, allow
from pictures import a_mask, a_picture, as_file
from PIL import Image, ImageDraw
from toy_model import CARD, adapter_files, put_adapter, toy_model

from models.adapters import WEIGHTS_FILE
from models.edges import sketch_map
from schemas.errors import BadImage, InputMissing, StoreDenied, StoreUnavailable
from schemas.microbatch import ImageTask
from schemas.object_keys import adapter_key, input_key
from schemas.outcome import ImageFailed, ImageRendered, ImageReturned, Outcome
from schemas.receipt import Receipt, RenderedWith
from schemas.render_spec import RenderSpec
from schemas.states import Stage
from storage.objects.memory import MemoryStore
from workers import fetch, shelf
from workers.fetch import Fetcher
from workers.input_reading import InputReader
from workers.model_renderer import ModelRenderer
from workers.worker import Worker, WorkerSettings

PNG, MASK = as_file(a_picture(200, 100)), as_file(a_mask(200, 100))
WITH = RenderedWith(aquatint="0", runtime="toy", precision="none", device="none")


class Counting(MemoryStore):
    """Counts reads, and fails with `faults` by key."""

    def __init__(self) -> None:
        super().__init__(bucket="results")
        self.reads: list[str] = []
        self.faults: dict[str, Exception] = {}

    def get_range(self, key: str, start: int, length: int, *, etag: str | None = None) -> bytes:
        self.reads.append(key)
        if key in self.faults:
            raise self.faults[key]
        return super().get_range(key, start, length, etag=etag)

    def keep(self, data: bytes) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        self.put(input_key(sha256), data)
        return sha256


@pytest.fixture
def store() -> Counting:
    return Counting()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "RETRY_DELAYS", ())


@pytest.fixture
def renderer() -> ModelRenderer:
    return ModelRenderer([toy_model()], WITH)


@pytest.fixture
def fetcher(store: Counting, renderer: ModelRenderer) -> Fetcher:
    return Fetcher(lambda tenant: store, renderer)


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def worker(store: Counting, renderer: ModelRenderer, reports: Reports) -> Iterator[Worker]:
    settings = WorkerSettings(worker_id="wrk_1", heartbeat_seconds=None)
    with Worker(
        settings,
        renderer=renderer,
        screen=allow,
        stores=lambda tenant: store,
        reporter=reports,
        way_out=a_way_out(lambda tenant: store),
    ) as one:
        yield one


def brought(seed: int = 1, **fields: Any) -> ImageTask:
    """A task for the toy model."""
    base = {
        **a_task(seed).spec.model_dump(),
        "model": CARD.name,
        "model_digest": CARD.digest,
        "prompt": "red mug",
        "guidance": 1.0,
    }
    spec = RenderSpec.model_validate({**base, **fields})
    return a_task(seed).model_copy(update={"spec": spec, "digest": spec.digest})


def outcomes(worker: Worker, *tasks: ImageTask) -> list[Outcome]:
    finished = worker.handle(a_microbatch(*tasks))
    assert finished is not None
    return list(finished.outcomes)


def test_pictures_arrive_at_the_size_of_the_image(store: Counting, fetcher: Fetcher) -> None:
    """Image and control in colour, the mask in grey, all of the shot's size and cut alike."""
    sha, mask = store.keep(PNG), store.keep(MASK)
    task = brought(image=sha, mask=mask, strength=1.0, control=[{"kind": "edges", "image": sha, "weight": 1}])
    got = fetcher.fetch(task)
    assert got.image is not None and got.mask is not None
    assert (got.image.shape, got.mask.shape, [one.shape for one in got.control]) == (
        (64, 64, 3),
        (64, 64),
        [(64, 64, 3)],
    )
    assert (got.mask[:, :31] == 0).all() and (got.mask[:, 33:] == 255).all()


def test_thin_strokes_of_a_large_drawing_stay(store: Counting, fetcher: Fetcher) -> None:
    """A drawing of hairlines, far larger than the image, still has its lines when it is small."""
    drawing = Image.new("L", (2000, 2000), 255)
    ImageDraw.Draw(drawing).ellipse((400, 400, 1600, 1600), outline=0, width=2)
    sha = store.keep(as_file(drawing))
    (lines,) = fetcher.fetch(brought(control=[{"kind": "sketch", "image": sha, "weight": 1.0}])).control
    assert sketch_map(lines).sum() > 60


def test_a_shared_picture_is_read_once(store: Counting, fetcher: Fetcher) -> None:
    """The images of a microbatch that share a picture, side by side, wait for the first to read it."""
    task = brought(image=store.keep(PNG), strength=0.5)
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(fetcher.fetch, [task] * 40))
    assert len(store.reads) == 1 and all(one.image is got[0].image for one in got)


def test_a_tenants_cache_is_its_own(store: Counting, renderer: ModelRenderer) -> None:
    """A picture that one tenant has is not taken from memory for another, who has none."""
    empty = MemoryStore(bucket="other")
    fetcher = Fetcher(lambda tenant: store if tenant == "default" else empty, renderer)
    task = brought(image=store.keep(PNG), strength=0.5)
    fetcher.fetch(task)
    with pytest.raises(InputMissing):
        fetcher.fetch(task.model_copy(update={"tenant": "bolt"}))


def test_memory_is_bounded(store: Counting, renderer: ModelRenderer, monkeypatch: pytest.MonkeyPatch) -> None:
    """More pictures than fit push out the oldest, by their bytes."""
    monkeypatch.setattr(fetch, "PICTURE_CACHE_BYTES", 2 * 64 * 64 * 3)
    fetcher = Fetcher(lambda tenant: store, renderer)
    tasks = [brought(image=store.keep(as_file(a_picture(seed=seed))), strength=0.5) for seed in range(3)]
    for task in (*tasks, tasks[2], tasks[0]):
        fetcher.fetch(task)
    assert len(store.reads) == 4


@pytest.mark.parametrize("trouble", ["missing", "changed", "undecodable"])
def test_one_bad_input_fails_alone(trouble: str, store: Counting, worker: Worker) -> None:
    """The image whose picture is gone, altered or unreadable fails at the stage fetch, by field; its neighbours are drawn."""
    good, bad = store.keep(PNG), store.keep(as_file(a_picture(seed=9)))
    if trouble == "missing":
        store.delete(input_key(bad))
    elif trouble == "changed":
        store.put(input_key(bad), PNG, if_absent=False)
    else:
        bad = store.keep(b"\x89PNG\r\n\x1a\n" + bytes(100))
    first, failed, last = outcomes(
        worker, brought(1, image=good, strength=0.5), brought(2, image=bad, strength=0.5), brought(3)
    )
    assert isinstance(first, ImageRendered) and isinstance(last, ImageRendered)
    assert isinstance(failed, ImageFailed)
    assert (failed.failure.stage, failed.failure.retryable) == (Stage.FETCH, False)
    codes = {"missing": "input_missing", "changed": "bad_image", "undecodable": "image_damaged"}
    assert failed.failure.code == codes[trouble]
    assert failed.failure.detail.startswith("image: ")


@pytest.mark.parametrize(
    ("trouble", "code"),
    [("missing", "input_missing"), ("other model", "adapter_mismatch"), ("truncated", "adapter_corrupt"), ("changed", "bad_image")],
)  # fmt: skip
def test_one_bad_adapter_fails_alone(trouble: str, code: str, store: Counting, worker: Worker) -> None:
    """An adapter that is gone, broken or made for other weights fails the images that name it, and no others."""
    files = adapter_files("acme", base_digest="9" * 64 if trouble == "other model" else CARD.base_digest)
    digest = put_adapter(store, files)
    if trouble == "missing":
        store.delete(adapter_key(digest, WEIGHTS_FILE))
    elif trouble == "truncated":
        store.put(adapter_key(digest, WEIGHTS_FILE), files[WEIGHTS_FILE][:-9], if_absent=False)
    elif trouble == "changed":
        store.put(adapter_key(digest, "adapter.json"), b"{}", if_absent=False)
    named = [{"name": "acme", "weight": 1.0, "digest": digest}]
    failed, drawn = outcomes(worker, brought(1, adapters=named), brought(2))
    assert isinstance(failed, ImageFailed) and isinstance(drawn, ImageRendered)
    assert (failed.failure.stage, failed.failure.code) == (Stage.FETCH, code)


def test_a_store_in_trouble_gives_the_image_back(store: Counting, worker: Worker) -> None:
    """A store that does not answer is nobody's fault: the image is planned again, without an attempt."""
    sha = store.keep(PNG)
    store.faults[input_key(sha)] = StoreUnavailable()
    returned, drawn = outcomes(worker, brought(1, image=sha, strength=0.5), brought(2))
    assert isinstance(returned, ImageReturned) and returned.reason == "worker_fault"
    assert isinstance(drawn, ImageRendered)


def test_a_refusing_store_fails_the_image_at_fetch(store: Counting, worker: Worker) -> None:
    """A store that denies the read is for the operator; no repeat would change it."""
    sha = store.keep(PNG)
    store.faults[input_key(sha)] = StoreDenied()
    (failed,) = outcomes(worker, brought(1, image=sha, strength=0.5))
    assert isinstance(failed, ImageFailed)
    assert (failed.failure.stage, failed.failure.code) == (Stage.FETCH, "store_denied")


def test_nothing_starts_on_the_gpu_without_its_inputs(
    store: Counting, worker: Worker, reports: Reports
) -> None:
    """A microbatch of which nothing can be drawn is never reported as started: no suspect comes of it."""
    outcomes(worker, brought(1, image="e" * 64, strength=0.5))
    assert (reports.started, len(reports.finished)) == ([], 1)


def test_another_version_of_the_model_is_given_back_unread(store: Counting, worker: Worker) -> None:
    """A worker with another model reads no inputs and blames no adapter for it."""
    task = brought(1, model_digest="f" * 64, image="e" * 64, strength=0.5)
    (returned,) = outcomes(worker, task)
    assert isinstance(returned, ImageReturned) and returned.reason == "worker_fault" and store.reads == []


def test_what_was_brought_decides_the_pixels(store: Counting, worker: Worker) -> None:
    """Picture, mask, control and adapter each reach the model, and together they are one image."""
    photo, mask = (
        store.keep(as_file(Image.new("RGB", (80, 80), (200, 40, 40)))),
        store.keep(as_file(a_mask(80, 80))),
    )
    adapter = put_adapter(store, adapter_files("acme"))
    lines = Image.new("RGB", (64, 64), "white")
    lines.paste("black", (16, 16, 48, 48))
    drawing = store.keep(as_file(lines))
    tasks = [
        brought(1),
        brought(1, image=photo, strength=0.3),
        brought(1, image=photo, mask=mask, strength=1.0),
        brought(1, control=[{"kind": "edges", "image": drawing, "weight": 1.0}]),
        brought(1, control=[{"kind": "edges", "image": drawing, "weight": 0.5}]),
        brought(1, adapters=[{"name": "acme", "weight": 0.8, "digest": adapter}]),
        brought(1, adapters=[{"name": "acme", "weight": -0.8, "digest": adapter}]),
    ]
    pictures = []
    for outcome in outcomes(worker, *tasks):
        assert isinstance(outcome, ImageRendered)
        pictures.append(np.asarray(Image.open(io.BytesIO(store.get(outcome.stored.key))).convert("RGB")))
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)
    painted = pictures[2]
    assert (painted[:, :28] == (200, 40, 40)).all() and not (painted[:, 40:] == (200, 40, 40)).all()


def test_the_receipt_lists_what_was_used(store: Counting, worker: Worker) -> None:
    """Every input and adapter stands in the receipt with its digest and the key it can be fetched from."""
    sha, mask = store.keep(PNG), store.keep(MASK)
    adapter = put_adapter(store, adapter_files("acme"))
    task = brought(
        1,
        image=sha,
        mask=mask,
        strength=1.0,
        control=[{"kind": "sketch", "image": sha, "weight": 1.0}],
        adapters=[{"name": "acme", "weight": 0.8, "digest": adapter}],
    )
    (outcome,) = outcomes(worker, task)
    assert isinstance(outcome, ImageRendered)
    receipt = Receipt.model_validate_json(store.get(outcome.stored.receipt_key))
    assert [(one.field, one.sha256) for one in receipt.inputs] == [
        ("image", sha),
        ("mask", mask),
        ("control.0.image", sha),
    ]
    assert [(one.field, one.sha256) for one in receipt.adapters] == [("adapters.0", adapter)]
    for used in (*receipt.inputs, *receipt.adapters):
        assert hashlib.sha256(store.get(used.key)).hexdigest() == used.sha256
    assert b"compositeWithTrainedAlgorithmicMedia" in store.get(outcome.stored.key)


def test_too_large_an_object_is_not_read_whole(store: Counting, renderer: ModelRenderer) -> None:
    """Whatever lies at the key, no more than the limit is read into memory."""
    fetcher = Fetcher(lambda tenant: store, renderer, InputReader(stores=lambda tenant: store, most_bytes=50))
    with pytest.raises(BadImage) as caught:
        fetcher.fetch(brought(image=store.keep(PNG), strength=0.5))
    assert caught.value.limit == 50
