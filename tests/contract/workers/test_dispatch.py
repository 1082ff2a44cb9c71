"""What every dispatcher promises: each submitted microbatch is accounted for, image by image, and stored once."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from microbatches import (
    MODEL,
    MODEL_DIGEST,
    Reports,
    a_microbatch,
    a_task,
    a_way_out,
    allow,
    eventually,
    keys,
    open_folder,
)
from outcome_reader import OutcomeReader
from worker_process import start_worker

from schemas.outcome import Finished, ImageRendered, Started
from storage.broker.connection import BrokerSettings
from storage.broker.publisher import Publisher
from storage.broker.sqlite_transport import url_of
from storage.dispatch import CeleryDispatcher, Dispatcher, InProcessDispatcher
from storage.objects.store import ObjectStore
from workers.null_renderer import NullRenderer
from workers.worker import Worker, WorkerSettings

pytestmark = pytest.mark.timeout(600)


@dataclass(kw_only=True)
class Fleet:
    """A dispatcher, the store its workers write, and what they reported so far."""

    dispatcher: Dispatcher
    store: ObjectStore
    started: Callable[[], list[Started]]
    finished: Callable[[], list[Finished]]
    wait: Callable[[Callable[[], object]], None]


def a_worker(store: ObjectStore, reports: Reports) -> Worker:
    settings = WorkerSettings(worker_id="wrk_1", heartbeat_seconds=None)
    renderer = NullRenderer({MODEL: MODEL_DIGEST})
    return Worker(
        settings,
        renderer=renderer,
        screen=allow,
        stores=lambda tenant: store,
        reporter=reports,
        way_out=a_way_out(lambda tenant: store),
    )


def in_process(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    store, reports = open_folder(tmp_path / "objects"), Reports()
    with a_worker(store, reports) as worker:
        dispatcher = InProcessDispatcher(worker.handle)
        yield of_reports(dispatcher, store, reports)
        dispatcher.close()


def on_modal(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    pytest.importorskip("modal")
    from deploy import modal_app
    from deploy.modal_dispatch import ModalDispatcher

    store, reports = open_folder(tmp_path / "objects"), Reports()
    request.getfixturevalue("monkeypatch").setattr(
        modal_app, "make_worker", lambda settings: a_worker(store, reports)
    )
    container = modal_app.ModalWorker()

    class Local:
        """Runs a spawned call where it is spawned."""

        object_id = "fc-local"

        def spawn(self, payload: dict[str, Any]) -> Local:
            container.render.local(payload)
            return self

        def get(self, timeout: float | None = None) -> None: ...

        def cancel(self) -> None: ...

    yield of_reports(ModalDispatcher(Local(), lambda _: Local()), store, reports)


def of_reports(dispatcher: Dispatcher, store: ObjectStore, reports: Reports) -> Fleet:
    return Fleet(
        dispatcher=dispatcher,
        store=store,
        started=lambda: reports.started,
        finished=lambda: reports.finished,
        wait=eventually,
    )


def on_celery(url: str, tmp_path: Path) -> Iterator[Fleet]:
    broker = BrokerSettings(url=url, queue_prefix=f"{uuid.uuid4().hex}.")
    reader, dispatcher = OutcomeReader(broker), CeleryDispatcher(Publisher(broker))
    process = start_worker(broker, tmp_path / "objects", worker_id="wrk_1")
    try:
        reader.wait_for_worker("wrk_1")
        yield Fleet(
            dispatcher=dispatcher,
            store=open_folder(tmp_path / "objects"),
            started=lambda: reader.started,
            finished=lambda: reader.finished,
            wait=reader.read_until,
        )
    finally:
        process.kill()
        process.wait()
        reader.close()
        dispatcher.close()


def on_sqlite(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    yield from on_celery(url_of(tmp_path / "queue.db"), tmp_path)


def on_rabbitmq(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    yield from on_celery(request.getfixturevalue("rabbitmq"), tmp_path)


def on_redis(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    yield from on_celery(request.getfixturevalue("redis_url"), tmp_path)


@pytest.fixture(params=[in_process, on_sqlite, on_rabbitmq, on_redis, on_modal])
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    yield from request.param(tmp_path, request)


def test_every_image_is_accounted_for_and_stored_once(fleet: Fleet) -> None:
    """Each microbatch yields Started and then Finished for all of its images; pictures and receipts are stored once."""
    microbatches = [a_microbatch(*(a_task(10 * m + n) for n in range(3)), worker="wrk_1") for m in range(4)]
    fleet.dispatcher.submit(*microbatches)
    fleet.wait(lambda: len(fleet.finished()) >= len(microbatches))
    assert sorted(report.microbatch for report in fleet.started()) == sorted(each.id for each in microbatches)
    by_id = {report.microbatch: report for report in fleet.finished()}
    for microbatch in microbatches:
        outcomes = by_id[microbatch.id].outcomes
        assert [outcome.image for outcome in outcomes] == [task.image for task in microbatch.images]
        assert all(isinstance(outcome, ImageRendered) for outcome in outcomes)
    digests = {task.digest for microbatch in microbatches for task in microbatch.images}
    assert len(keys(fleet.store, "images/")) == len(keys(fleet.store, "receipts/")) == len(digests)


def test_submitting_twice_stores_once(fleet: Fleet) -> None:
    """A microbatch that is delivered twice is accounted for twice, and its pictures are those of the first time."""
    microbatch = a_microbatch(a_task(1), worker="wrk_1")
    fleet.dispatcher.submit(microbatch)
    fleet.wait(lambda: len(fleet.finished()) >= 1)
    fleet.dispatcher.submit(microbatch)
    fleet.wait(lambda: len(fleet.finished()) >= 2)
    again = fleet.finished()[1].outcomes[0]
    assert isinstance(again, ImageRendered) and again.stored.reused
    assert len(fleet.started()) == 1 and len(keys(fleet.store, "images/")) == 1
