"""Screening costs the GPU nothing: while one microbatch is looked at, the next is rendered."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from microbatches import MODEL, MODEL_DIGEST, Reports, a_microbatch, a_task, a_way_out, allow

from schemas.render_spec import RenderSpec
from schemas.verdict import Verdict
from storage.objects.memory import MemoryStore
from workers.null_renderer import NullRenderer
from workers.ports import Pixels, Work
from workers.worker import Worker, WorkerSettings

#: Long enough for a busy machine; a test that waits for it has failed.
PATIENCE = 60


class Watched(NullRenderer):
    """Says when the second picture is being drawn."""

    def __init__(self) -> None:
        super().__init__({MODEL: MODEL_DIGEST})
        self.second = threading.Event()

    def render(self, works: Sequence[Work], **how):  # type: ignore[no-untyped-def]
        if any(work.task.spec.seed == 2 for work in works):
            self.second.set()
        return super().render(works, **how)


class SlowScreen:
    """Answers about the first microbatch only once the second one is on the GPU."""

    def __init__(self, renderer: Watched) -> None:
        self.renderer, self.looking, self.overlapped = renderer, threading.Event(), False
        self.calls: list[int] = []

    def __call__(self, pixels: Sequence[Pixels], specs: Sequence[RenderSpec]) -> list[Verdict]:
        self.calls.append(len(specs))
        if any(spec.seed == 1 for spec in specs):
            self.looking.set()
            self.overlapped = self.renderer.second.wait(PATIENCE)
        return allow(pixels, specs)


def test_the_gpu_is_free_while_a_microbatch_is_screened() -> None:
    """A screen that waits for the next render is not waited for by it, and each microbatch is one call of the screen."""
    store, renderer = MemoryStore(bucket="results"), Watched()
    screen = SlowScreen(renderer)
    worker = Worker(
        WorkerSettings(worker_id="wrk_test", heartbeat_seconds=None),
        renderer=renderer,
        screen=screen,
        stores=lambda _: store,
        way_out=a_way_out(lambda _: store),
        reporter=Reports(),
    )
    with worker, ThreadPoolExecutor(2) as threads:
        first = threads.submit(worker.handle, a_microbatch(a_task(1), a_task(11), a_task(12)))
        assert screen.looking.wait(PATIENCE)
        second = threads.submit(worker.handle, a_microbatch(a_task(2)))
        ends = [outcome.type for future in (first, second) for outcome in future.result(PATIENCE).outcomes]  # type: ignore[union-attr]

    assert screen.overlapped
    assert sorted(screen.calls) == [1, 3]
    assert ends == ["io.aquatint.image.rendered"] * 4
