"""Worker processes that are killed, stopped, poisoned or hung."""

from __future__ import annotations

import signal
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
from microbatches import a_microbatch, a_task, keys, open_folder
from outcome_reader import OutcomeReader
from worker_process import start_worker

from schemas.outcome import ImageRendered, ImageReturned
from storage.broker.connection import BrokerSettings
from storage.broker.publisher import Publisher
from storage.broker.sqlite_transport import url_of
from storage.dispatch import CeleryDispatcher

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(params=["sqlite", "rabbitmq"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> BrokerSettings:
    url = url_of(tmp_path / "queue.db") if request.param == "sqlite" else request.getfixturevalue("rabbitmq")
    return BrokerSettings(url=url, queue_prefix=f"{uuid.uuid4().hex}.", lease_seconds=3.0)


@pytest.fixture
def dispatcher(broker: BrokerSettings) -> Iterator[CeleryDispatcher]:
    dispatcher = CeleryDispatcher(Publisher(broker))
    yield dispatcher
    dispatcher.close()


@pytest.fixture
def reader(broker: BrokerSettings) -> Iterator[OutcomeReader]:
    reader = OutcomeReader(broker)
    yield reader
    reader.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "objects"


Start = Callable[..., "Popen[bytes]"]


@pytest.fixture
def start(broker: BrokerSettings, folder: Path) -> Iterator[Start]:
    """Starts workers; those still alive at the end are killed."""
    started: list[Popen[bytes]] = []

    def start(**options: Any) -> Popen[bytes]:
        started.append(start_worker(broker, folder, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_killed_workers_microbatch_is_returned_not_rendered_again(
    start: Start, dispatcher: CeleryDispatcher, reader: OutcomeReader, folder: Path
) -> None:
    """After a SIGKILL in the middle of a render the message comes back; stored images are reported, the rest returned."""
    victim = start(seconds=3600.0)
    reader.wait_for_worker("wrk_1")
    tasks = [a_task(number) for number in range(4)]
    microbatch = a_microbatch(*tasks, worker="wrk_1")
    dispatcher.submit(microbatch)
    reader.read_until(lambda: reader.started)
    victim.kill()
    victim.wait()
    # Another worker stored one of the images meanwhile.
    finished = len(reader.finished)
    other = start(worker_id="wrk_2")
    reader.wait_for_worker("wrk_2")
    dispatcher.submit(a_microbatch(tasks[0], worker="wrk_2"))
    reader.read_until(lambda: len(reader.finished) > finished)
    other.terminate()
    start()
    reader.read_until(lambda: reader.outcomes_of(microbatch.id))
    first, *rest = reader.outcomes_of(microbatch.id)
    assert isinstance(first, ImageRendered) and first.stored.reused
    assert all(isinstance(each, ImageReturned) and each.reason == "redelivered" for each in rest)
    assert [report.microbatch for report in reader.started].count(microbatch.id) == 1
    assert len(keys(open_folder(folder), "images/")) == 1


def test_poison_is_started_once(start: Start, dispatcher: CeleryDispatcher, reader: OutcomeReader) -> None:
    """An image that kills its worker kills it once: the next one returns the microbatch, so nothing crashes in a loop."""
    victim = start(deadly_seed=2)
    reader.wait_for_worker("wrk_1")
    microbatch = a_microbatch(a_task(1), a_task(2), worker="wrk_1")
    dispatcher.submit(microbatch)
    assert victim.wait(300) == -signal.SIGKILL
    successor = start(deadly_seed=2)
    reader.read_until(lambda: reader.outcomes_of(microbatch.id))
    assert {each.type.rpartition(".")[2] for each in reader.outcomes_of(microbatch.id)} == {"returned"}
    assert successor.poll() is None
    assert [report.microbatch for report in reader.started] == [microbatch.id]


def test_hung_render_ends_its_worker(
    start: Start, dispatcher: CeleryDispatcher, reader: OutcomeReader
) -> None:
    """A render without progress is ended by the watchdog, and its microbatch comes back as after any death."""
    victim = start(hanging_seed=1, hang_seconds=1.0)
    reader.wait_for_worker("wrk_1")
    microbatch = a_microbatch(a_task(1), worker="wrk_1")
    dispatcher.submit(microbatch)
    assert victim.wait(300) == -signal.SIGKILL
    start()
    reader.read_until(lambda: reader.outcomes_of(microbatch.id))
    assert isinstance(reader.outcomes_of(microbatch.id)[0], ImageReturned)


def test_sigterm_finishes_the_render_and_returns_the_rest(
    start: Start, dispatcher: CeleryDispatcher, reader: OutcomeReader
) -> None:
    """SIGTERM lets the microbatch on the GPU finish, returns every other one at once, and ends with exit code 0."""
    worker = start(seconds=4.0)
    reader.wait_for_worker("wrk_1")
    microbatches = [
        a_microbatch(a_task(2 * number), a_task(2 * number + 1), worker="wrk_1") for number in range(6)
    ]
    dispatcher.submit(*microbatches)
    reader.read_until(lambda: reader.started)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(300) == 0
    reader.read_until(lambda: len(reader.finished) == len(microbatches))
    rendered = {report.microbatch for report in reader.started}
    for microbatch in microbatches:
        kind = ImageRendered if microbatch.id in rendered else ImageReturned
        assert all(isinstance(outcome, kind) for outcome in reader.outcomes_of(microbatch.id)), microbatch.id
    reader.read_until(lambda: not reader.heartbeats[-1].accepting)
    # At most the one on the GPU, and one that got its turn before the signal was handled.
    assert 1 <= len(rendered) < len(microbatches) and reader.heartbeats[0].accepting


def test_grace_period_is_kept(start: Start, dispatcher: CeleryDispatcher, reader: OutcomeReader) -> None:
    """A render that outlasts the grace period is left at its next step and returned, and the exit code is still 0."""
    worker = start(seconds=3600.0, grace_seconds=0.2)
    reader.wait_for_worker("wrk_1")
    microbatch = a_microbatch(a_task(1), worker="wrk_1")
    dispatcher.submit(microbatch)
    reader.read_until(lambda: reader.started)
    worker.terminate()
    assert worker.wait(300) == 0
    reader.read_until(lambda: reader.outcomes_of(microbatch.id))
    (outcome,) = reader.outcomes_of(microbatch.id)
    assert isinstance(outcome, ImageReturned) and outcome.reason == "shutdown"


def test_worker_outlives_its_broker(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """A worker whose broker is killed reconnects, reports what it had rendered meanwhile, and takes new work."""
    server = request.getfixturevalue("rabbitmq_broker")
    broker = BrokerSettings(url=server.url)
    reader, dispatcher = OutcomeReader(broker), CeleryDispatcher(Publisher(broker))
    worker = start_worker(broker, tmp_path / "objects", seconds=3.0)
    try:
        reader.wait_for_worker("wrk_1")
        # RabbitMQ 3.10 never finds a leader again for a quorum queue that is younger than about three seconds.
        time.sleep(5)
        before = a_microbatch(a_task(1), worker="wrk_1")
        dispatcher.submit(before)
        reader.read_until(lambda: reader.started)
        server.kill()
        server.restart()
        reader.read_until(lambda: reader.outcomes_of(before.id))
        after = a_microbatch(a_task(2), worker="wrk_1")
        dispatcher.submit(after)
        reader.read_until(lambda: reader.outcomes_of(after.id))
        assert any(isinstance(each, ImageRendered) for each in reader.outcomes_of(before.id))
        assert isinstance(reader.outcomes_of(after.id)[0], ImageRendered)
    finally:
        worker.kill()
        worker.wait()
        reader.close()
        dispatcher.close()
