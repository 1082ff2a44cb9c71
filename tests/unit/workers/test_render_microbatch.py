"""The one function that accounts for every image of a microbatch."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pytest
from microbatches import (
    MODEL,
    MODEL_DIGEST,
    Reports,
    a_microbatch,
    a_task,
    a_verdict,
    a_way_out,
    allow,
    eventually,
    keys,
)
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from schemas.errors import QueueUnavailable, StoreFull, StoreUnavailable
from schemas.microbatch import ImageTask
from schemas.outcome import Failure, ImageBlocked, ImageFailed, ImageRendered, ImageReturned, Outcome, Report
from schemas.receipt import Receipt
from schemas.render_spec import RenderSpec
from schemas.states import Stage
from schemas.verdict import CategoryScore, Check, Decision, Verdict
from storage.objects.memory import MemoryStore
from storage.objects.store import ObjectStore, PutResult
from workers import shelf
from workers.fetch import Fetcher
from workers.finishing import Finishing
from workers.gpu import Gpu
from workers.null_renderer import NullRenderer, pattern
from workers.ports import NotRendered, OnStep, OutputScreen, Pixels, Renderer, Reporter, Work
from workers.render import Ports, render_microbatch
from workers.stop import Stop
from workers.watchdog import Watchdog


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(bucket="results")


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def io() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "RETRY_DELAYS", (0.0, 0.0))


class Spy(NullRenderer):
    """Counts what it draws, and does `instead` for seeds that are in it."""

    def __init__(
        self, instead: dict[int, Callable[[], Pixels | Failure | NotRendered]] | None = None
    ) -> None:
        super().__init__({MODEL: MODEL_DIGEST})
        self.instead, self.calls = instead or {}, []

    def render(
        self, works: Sequence[Work], *, on_step: OnStep, cancelled: Callable[[], bool]
    ) -> list[Pixels | Failure | NotRendered]:  # type: ignore[override]
        tasks = [work.task for work in works]
        self.calls.append([task.spec.seed for task in tasks])
        return [self.instead.get(task.spec.seed, lambda task=task: pattern(task))() for task in tasks]


@pytest.fixture
def make_ports(store: MemoryStore, reports: Reports, io: ThreadPoolExecutor) -> Callable[..., Ports]:
    def make(
        renderer: Renderer | None = None,
        screen: OutputScreen = allow,
        store: ObjectStore = store,
        reporter: Reporter = reports,
    ) -> Ports:
        chosen = renderer or Spy()
        return Ports(
            renderer=chosen,
            fetch=Fetcher(lambda tenant: store, chosen).fetch,
            screen=screen,
            finishing=Finishing(way_out=a_way_out(lambda tenant: store), stores=lambda tenant: store),
            stores=lambda tenant: store,
            reporter=reporter,
            gpu=Gpu(Watchdog()),
            stop=Stop(),
            io=io,
        )

    return make


def run(ports: Ports, *tasks: ImageTask, redelivered: bool = False, good_for: float = 3600) -> list[Outcome]:
    microbatch = a_microbatch(*tasks, good_for_seconds=good_for)
    return list(render_microbatch(microbatch, ports, redelivered=redelivered, now=time.time).outcomes)


def test_every_image_is_stored_with_its_receipt(
    make_ports: Callable[..., Ports], store: MemoryStore, reports: Reports
) -> None:
    """A rendered image lies under its digest beside a receipt that describes its bytes, and Started precedes Finished."""
    outcomes = run(make_ports(), a_task(1), a_task(2, format="jpeg"), a_task(3, format="webp"))
    for outcome in outcomes:
        assert isinstance(outcome, ImageRendered) and not outcome.stored.reused
        receipt = Receipt.model_validate_json(store.get(outcome.stored.receipt_key))
        data = store.get(outcome.stored.key)
        assert receipt.image_sha256 == outcome.stored.sha256 == hashlib.sha256(data).hexdigest()
        assert (receipt.image_bytes, receipt.spec.digest) == (len(data), outcome.digest)
    assert [report.kind for report in reports.all] == ["started", "finished"]
    assert [outcome.stored.media_type for outcome in outcomes] == ["image/png", "image/jpeg", "image/webp"]  # type: ignore[union-attr]


def test_receipt_depends_on_the_image_alone(make_ports: Callable[..., Ports]) -> None:
    """Two workers that render the same digest for two jobs, with checks of other durations, write the same receipt."""

    def timed(milliseconds: float) -> OutputScreen:
        check = Check(name="sanity", version="1", milliseconds=milliseconds, status="ok")
        return lambda pixels, specs: [a_verdict().model_copy(update={"checks": (check,)}) for _ in specs]

    stores = MemoryStore(bucket="one"), MemoryStore(bucket="two")
    for milliseconds, store in zip((1.5, 99.0), stores, strict=True):
        run(make_ports(screen=timed(milliseconds), store=store), a_task(1))
    assert keys(stores[0]) == keys(stores[1]) != []
    assert all(stores[0].get(key) == stores[1].get(key) for key in keys(stores[0]))


def test_tenants_do_not_share_pictures(io: ThreadPoolExecutor, reports: Reports) -> None:
    """A digest that one tenant has is rendered again for another, into the other's store."""
    stores = {"default": MemoryStore(bucket="a"), "other": MemoryStore(bucket="b")}
    renderer = Spy()
    ports = Ports(
        renderer=renderer,
        fetch=Fetcher(stores.__getitem__, renderer).fetch,
        screen=allow,
        finishing=Finishing(way_out=a_way_out(stores.__getitem__), stores=stores.__getitem__),
        stores=stores.__getitem__,
        reporter=reports,
        gpu=Gpu(Watchdog()),
        stop=Stop(),
        io=io,
    )
    run(ports, a_task(1))
    (outcome,) = run(ports, a_task(1).model_copy(update={"tenant": "other"}))
    assert isinstance(outcome, ImageRendered) and not outcome.stored.reused
    assert keys(stores["default"]) == keys(stores["other"]) != []


def test_stored_image_is_not_rendered_again(make_ports: Callable[..., Ports], store: MemoryStore) -> None:
    """What is stored is reported as reused, its copy made, and only the rest goes to the GPU."""
    run(make_ports(), a_task(1))
    renderer = Spy()
    first, second = run(make_ports(renderer), a_task(1, copy_key="shop/1.png"), a_task(2))
    assert isinstance(first, ImageRendered) and first.stored.reused
    assert isinstance(second, ImageRendered) and not second.stored.reused
    assert renderer.calls == [[2]] and store.get("shop/1.png") == store.get(first.stored.key)


def test_nothing_is_started_when_all_is_stored(make_ports: Callable[..., Ports], reports: Reports) -> None:
    """A microbatch whose images are all stored never touches the GPU."""
    run(make_ports(), a_task(1))
    run(make_ports(), a_task(1))
    assert [report.kind for report in reports.all] == ["started", "finished", "finished"]


def test_lost_picture_is_rendered_again(make_ports: Callable[..., Ports], store: MemoryStore) -> None:
    """A receipt whose picture was deleted does not count as stored."""
    (first,) = run(make_ports(), a_task(1))
    assert isinstance(first, ImageRendered)
    store.delete(first.stored.key)
    (again,) = run(make_ports(), a_task(1))
    assert isinstance(again, ImageRendered) and not again.stored.reused and store.head(again.stored.key)


def written_again(png: bytes) -> bytes:
    """The same picture and XMP in other bytes, as another worker's signature would make them."""
    file, info, picture = BytesIO(), PngInfo(), Image.open(BytesIO(png))
    info.add_itxt("XML:com.adobe.xmp", picture.text["XML:com.adobe.xmp"])  # type: ignore[attr-defined]
    picture.save(file, "PNG", pnginfo=info, compress_level=1)
    assert file.getvalue() != png
    return file.getvalue()


def test_picture_without_receipt_is_completed(make_ports: Callable[..., Ports], store: MemoryStore) -> None:
    """A worker that died between picture and receipt leaves a picture that is kept, and that the receipt describes."""
    task = a_task(1)
    (first,) = run(make_ports(), task)
    assert isinstance(first, ImageRendered)
    store.delete(first.stored.receipt_key)
    left = written_again(store.get(first.stored.key))
    store.put(first.stored.key, left, if_absent=False)
    (again,) = run(make_ports(), task)
    assert isinstance(again, ImageRendered) and again.stored.sha256 == hashlib.sha256(left).hexdigest()
    receipt = Receipt.model_validate_json(store.get(again.stored.receipt_key))
    assert (receipt.image_sha256, receipt.image_bytes) == (again.stored.sha256, len(left))


@pytest.mark.parametrize("seed", [None, 2])
def test_what_was_not_checked_is_not_adopted(
    make_ports: Callable[..., Ports], store: MemoryStore, seed: int | None
) -> None:
    """What lies under the digest without a receipt and shows another picture, or none, is replaced by the checked one."""
    task = a_task(1)
    (first,) = run(make_ports(), task)
    assert isinstance(first, ImageRendered)
    checked = store.get(first.stored.key)
    other = b"other bytes"
    if seed is not None:
        (another,) = run(make_ports(), a_task(seed))
        assert isinstance(another, ImageRendered)
        other = store.get(another.stored.key)
    store.delete(first.stored.receipt_key)
    store.put(first.stored.key, other, if_absent=False)
    (again,) = run(make_ports(), task)
    assert isinstance(again, ImageRendered) and again.stored.sha256 == first.stored.sha256
    assert store.get(first.stored.key) == checked


def test_a_copy_is_made_of_what_the_receipt_describes_alone(
    make_ports: Callable[..., Ports], store: MemoryStore
) -> None:
    """A stored picture that was exchanged since is not copied to a customer's key; the image fails and says so."""
    (first,) = run(make_ports(), a_task(1))
    assert isinstance(first, ImageRendered)
    store.put(first.stored.key, b"exchanged", if_absent=False)
    (copied,) = run(make_ports(), a_task(1, copy_key="shop/1.png"))
    assert isinstance(copied, ImageFailed) and copied.failure.code == "not_allowed"
    assert store.head("shop/1.png") is None


@pytest.mark.parametrize(
    ("redelivered", "good_for", "reason"), [(False, -1, "stale"), (True, 3600, "redelivered")]
)
def test_refused_microbatch_reports_what_is_stored(
    make_ports: Callable[..., Ports], reports: Reports, redelivered: bool, good_for: float, reason: str
) -> None:
    """A stale or redelivered microbatch is not rendered: stored images are rendered, the others returned."""
    run(make_ports(), a_task(1))
    renderer = Spy()
    stored, other = run(
        make_ports(renderer), a_task(1), a_task(2), redelivered=redelivered, good_for=good_for
    )
    assert isinstance(stored, ImageRendered) and stored.stored.reused
    assert isinstance(other, ImageReturned) and other.reason == reason
    assert renderer.calls == [] and len(reports.started) == 1


def test_stopping_worker_returns_what_it_has_not_started(
    make_ports: Callable[..., Ports], reports: Reports
) -> None:
    """After the stop signal nothing is started."""
    ports = make_ports()
    ports.stop.stopping.set()
    (outcome,) = run(ports, a_task(1))
    assert isinstance(outcome, ImageReturned) and outcome.reason == "shutdown" and not reports.started


def test_hurried_worker_leaves_the_render(make_ports: Callable[..., Ports]) -> None:
    """When the grace period is over the render on the GPU ends at its next step and its images are returned."""
    ports = make_ports(NullRenderer({MODEL: MODEL_DIGEST}, seconds=3600))
    threading.Timer(0.1, ports.stop.hurry.set).start()
    (outcome,) = run(ports, a_task(1))
    assert isinstance(outcome, ImageReturned) and outcome.reason == "shutdown"


def broken() -> Pixels:
    raise RuntimeError("secret prompt text")


def test_bad_image_takes_nobody_with_it(make_ports: Callable[..., Ports]) -> None:
    """When a render raises, the images are tried one by one; the bad one fails and its text stays here."""
    renderer = Spy({2: broken})
    one, two, three = run(make_ports(renderer), a_task(1), a_task(2), a_task(3))
    assert isinstance(one, ImageRendered) and isinstance(three, ImageRendered)
    assert isinstance(two, ImageFailed) and two.failure.stage is Stage.GENERATE
    assert "secret" not in two.model_dump_json() and renderer.calls == [[1, 2, 3], [1], [2], [3]]


def test_renderers_failures_are_passed_on(make_ports: Callable[..., Ports]) -> None:
    """A typed failure of one image reaches the report as it is, a picture of the wrong size becomes one."""
    failure = Failure(stage=Stage.GENERATE, code="non_finite_image", detail="NaN")
    renderer = Spy(
        {
            1: lambda: failure,
            2: lambda: pattern(a_task(2))[:10],
            3: lambda: NotRendered(reason="worker_fault"),
        }
    )
    one, two, three = run(make_ports(renderer), a_task(1), a_task(2), a_task(3))
    assert isinstance(one, ImageFailed) and one.failure == failure
    assert isinstance(two, ImageFailed) and two.failure.code == "bad_picture"
    assert isinstance(three, ImageReturned) and three.reason == "worker_fault"


def refuse(decision: Decision) -> OutputScreen:
    return lambda pixels, specs: [a_verdict(decision) for _ in specs]


def test_blocked_image_is_not_stored(make_ports: Callable[..., Ports], store: MemoryStore) -> None:
    """What a screen does not allow lies under no key at all."""
    (outcome,) = run(make_ports(screen=refuse(Decision.BLOCK)), a_task(1, copy_key="shop/1.png"))
    assert isinstance(outcome, ImageBlocked) and keys(store) == []


def test_screen_without_an_answer_publishes_nothing(
    make_ports: Callable[..., Ports], store: MemoryStore
) -> None:
    """A screen that raises, or cannot decide, fails the image at the screen stage; its neighbour is not concerned."""

    def screen(pixels: Sequence[Pixels], specs: Sequence[RenderSpec]) -> list[Verdict]:
        if any(spec.seed == 1 for spec in specs):
            raise ZeroDivisionError
        return [a_verdict(Decision.ERROR if spec.seed == 2 else Decision.ALLOW) for spec in specs]

    one, two, three = run(make_ports(screen=screen), a_task(1), a_task(2), a_task(3))
    assert isinstance(one, ImageFailed) and isinstance(two, ImageFailed) and isinstance(three, ImageRendered)
    assert one.failure.stage is two.failure.stage is Stage.SCREEN
    assert keys(store) == sorted([three.stored.key, three.stored.receipt_key])


class Faulty(MemoryStore):
    """A store whose writes, or reads, fail with the errors given, one after the other."""

    def __init__(self, *, on_put: Sequence[Exception] = (), on_get: Sequence[Exception] = ()) -> None:
        super().__init__(bucket="faulty")
        self.on_put, self.on_get = list(on_put), list(on_get)

    def put(self, key: str, data: bytes, **options: Any) -> PutResult:
        if self.on_put:
            raise self.on_put.pop(0)
        return super().put(key, data, **options)

    def get(self, key: str) -> bytes:
        if self.on_get:
            raise self.on_get.pop(0)
        return super().get(key)


def test_passing_store_trouble_is_waited_out(make_ports: Callable[..., Ports]) -> None:
    """A store that fails for a moment costs a repetition, not a render."""
    renderer = Spy()
    (outcome,) = run(make_ports(renderer, store=Faulty(on_put=[StoreUnavailable()] * 2)), a_task(1))
    assert isinstance(outcome, ImageRendered) and renderer.calls == [[1]]


@pytest.mark.parametrize(("error", "retryable"), [(StoreFull(), False), (StoreUnavailable(), True)])
def test_store_that_fails_is_named(
    make_ports: Callable[..., Ports], error: Exception, retryable: bool
) -> None:
    """A picture that cannot be stored fails at the store stage, and says whether another try may help."""
    (outcome,) = run(make_ports(store=Faulty(on_put=[error] * 9)), a_task(1))
    assert isinstance(outcome, ImageFailed)
    assert (outcome.failure.stage, outcome.failure.retryable) == (Stage.STORE, retryable)


def test_unreadable_store_costs_no_render(make_ports: Callable[..., Ports]) -> None:
    """While the store cannot be reached, images go back to be planned again instead of being rendered for nothing."""
    renderer = Spy()
    (outcome,) = run(make_ports(renderer, store=Faulty(on_get=[StoreUnavailable()] * 9)), a_task(1))
    assert isinstance(outcome, ImageReturned) and outcome.reason == "worker_fault" and renderer.calls == []


@pytest.mark.parametrize("key", ["images/aa/x.png", "receipts/aa/x.json", "batches/bat_1/results.jsonl"])
def test_copy_never_lands_among_the_images(
    make_ports: Callable[..., Ports], store: MemoryStore, key: str
) -> None:
    """A customer's own key cannot overwrite what is named by digest."""
    (outcome,) = run(make_ports(), a_task(1, copy_key=key))
    assert (
        isinstance(outcome, ImageFailed) and outcome.failure.stage is Stage.STORE and store.head(key) is None
    )


class Mute:
    """A reporter whose broker is gone."""

    def report(self, report: Report) -> None:
        raise QueueUnavailable


def test_unconfirmed_start_renders_nothing(make_ports: Callable[..., Ports]) -> None:
    """The GPU is not touched before the broker has confirmed that it will be."""
    renderer = Spy()
    with pytest.raises(QueueUnavailable):
        run(make_ports(renderer, reporter=Mute()), a_task(1))
    assert renderer.calls == []


def test_one_render_at_a_time_and_gpu_done_with_the_next(
    make_ports: Callable[..., Ports], reports: Reports
) -> None:
    """Microbatches take turns on the GPU, and each GPU-free notice travels with the report that comes next."""
    busy, most = 0, 0
    lock = threading.Lock()

    class Counting(Spy):
        def render(self, works, *, on_step, cancelled):  # type: ignore[no-untyped-def]
            nonlocal busy, most
            with lock:
                busy += 1
                most = max(most, busy)
            time.sleep(0.02)
            with lock:
                busy -= 1
            return super().render(works, on_step=on_step, cancelled=cancelled)

    ports = make_ports(Counting())
    threads = [threading.Thread(target=run, args=(ports, a_task(number))) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = [report.gpu_done.microbatch for report in reports.all if report.gpu_done]
    assert most == 1 and sorted(done) == sorted(report.microbatch for report in reports.started)
    eventually(lambda: len(reports.finished) == 4)


def test_the_receipt_tells_of_every_stage(make_ports: Callable[..., Ports], store: MemoryStore) -> None:
    """What prompt and uploads were found to be stands in the receipt before the output's verdict, without scores or times."""
    found = {
        "sexual": CategoryScore(score=0.12, threshold=0.6, source="scripted"),
        "ip_logo": CategoryScore(score=0.93, threshold=0.7, source="scripted"),
    }
    check = Check(name="scripted", version="1", milliseconds=12.5, status="ok")
    earlier = tuple(
        a_verdict().model_copy(update={"stage": stage, "checks": (check,)}) for stage in ("prompt", "upload")
    )
    judged = a_verdict().model_copy(update={"categories": found, "checks": (check,)})
    task = a_task(1).model_copy(update={"verdicts": earlier})

    (outcome,) = run(make_ports(screen=lambda _pixels, specs: [judged for _ in specs]), task)
    assert isinstance(outcome, ImageRendered) and outcome.verdict.categories == found
    receipt = Receipt.model_validate_json(store.get(outcome.stored.receipt_key))
    assert [one.stage for one in receipt.verdicts] == ["prompt", "upload", "output"]
    assert (
        receipt.verdicts[-1].found == ("ip_logo",) and receipt.verdicts[-1].categories["ip_logo"].score == 0.7
    )
    assert {one.milliseconds for verdict in receipt.verdicts for one in verdict.checks} == {0.0}
