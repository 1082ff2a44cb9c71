"""Microbatches and the small parts a worker test needs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from schemas.ids import new_id
from schemas.microbatch import ImageTask, Microbatch
from schemas.outcome import Finished, Report, Started
from schemas.render_spec import RenderSpec
from schemas.request import Format
from schemas.verdict import Decision, Verdict
from storage.objects.directory import DirectoryStore
from storage.objects.store import ObjectStore
from workers.encode import Encoder
from workers.finishing import Quarantine, WayOut
from workers.ports import Pixels, Stores

MODEL, MODEL_DIGEST = "starter", "a" * 64


def a_spec(seed: int, *, format: Format = "png", quality: int | None = None) -> RenderSpec:
    return RenderSpec(
        model=MODEL,
        model_digest=MODEL_DIGEST,
        prompt=f"mug number {seed}",
        seed=seed,
        width=64,
        height=64,
        steps=4,
        guidance=2.0,
        format=format,
        quality=quality,
        policy_digest="b" * 64,
    )


def a_task(seed: int, *, copy_key: str | None = None, format: Format = "png") -> ImageTask:
    spec = a_spec(seed, format=format)
    return ImageTask(
        image=new_id("img"),
        tenant="default",
        job=new_id("job"),
        digest=spec.digest,
        spec=spec,
        alt=f"Mug {seed}",
        copy_key=copy_key,
    )


def a_microbatch(*tasks: ImageTask, worker: str = "wrk_test", good_for_seconds: float = 3600) -> Microbatch:
    return Microbatch(
        id=new_id("mb"),
        worker=worker,
        batch_key=tasks[0].spec.batch_key,
        good_until=time.time() + good_for_seconds,
        images=tasks,
    )


def a_verdict(decision: Decision = Decision.ALLOW) -> Verdict:
    return Verdict(stage="output", decision=decision, policy="test", policy_digest="b" * 64)


def a_way_out(stores: Stores, quarantine: Quarantine | None = None) -> WayOut:
    """Encoding without signatures, so that equal pixels are equal files."""
    return WayOut(encode=Encoder(stores=stores, signer=None).encode, quarantine=quarantine)


def allow(pixels: Sequence[Pixels], specs: Sequence[RenderSpec]) -> list[Verdict]:
    return [a_verdict() for _ in specs]


def open_folder(folder: Path) -> DirectoryStore:
    folder.mkdir(parents=True, exist_ok=True)
    return DirectoryStore.open(folder, bucket="results")


def keys(store: ObjectStore, prefix: str = "") -> list[str]:
    return [entry.key for entry in store.list(prefix)]


class Reports:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.all: list[Report] = []
        self._changed = threading.Condition()

    def report(self, report: Report) -> None:
        with self._changed:
            self.all.append(report)
            self._changed.notify_all()

    @property
    def started(self) -> list[Started]:
        return [report for report in self.all if isinstance(report, Started)]

    @property
    def finished(self) -> list[Finished]:
        return [report for report in self.all if isinstance(report, Finished)]

    def wait_for_finished(self, count: int, patience: float = 120) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.finished) >= count, patience), self.all


def eventually(condition: Callable[[], object], patience: float = 120) -> None:
    """Waits until the condition holds."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)
