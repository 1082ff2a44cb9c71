"""Trainer processes that are killed, stopped and called off, with the real queues and loops around them."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
from control_plane import a_planner
from finetune_lane import HOOK, PNG, TUNABLE, NoRecipes
from microbatches import eventually, keys, open_folder
from sqlalchemy import text
from trainer_process import start_trainer

from handlers.cancel import cancel_finetune
from handlers.finetune_releaser import FinetuneReleaser, FinetuneReleaserParams, run_finetune_releaser
from handlers.finetunes import FinetunePlanner
from handlers.intake import Intake
from handlers.recorder import Recorder, RecorderParams, run_recorder
from schemas.cloudevent import FINETUNE_REQUESTED, CloudEvent
from storage.broker.connection import BrokerSettings
from storage.broker.consumer import Consumer
from storage.broker.publisher import Publisher
from storage.broker.sqlite_transport import url_of
from storage.broker.topology import outcomes
from storage.finetune_dispatch import QueueFinetuneDispatcher
from storage.ledger import adapters
from storage.ledger.engine import Ledger
from storage.objects.directory import DirectoryStore

pytestmark = pytest.mark.timeout(600)

#: So high that no slow machine's late heartbeats can end what a test expects to complete.
ATTEMPTS = 1000


@pytest.fixture(params=["sqlite", "rabbitmq"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> BrokerSettings:
    url = url_of(tmp_path / "queue.db") if request.param == "sqlite" else request.getfixturevalue("rabbitmq")
    return BrokerSettings(url=url, queue_prefix=f"{uuid.uuid4().hex}.", lease_seconds=3.0)


class House:
    """Intake, recorder and releaser, the loops as threads of this process."""

    def __init__(self, ledger: Ledger, broker: BrokerSettings, folder: Path) -> None:
        self.ledger, self.broker, self.folder = ledger, broker, folder
        (folder / "uploads").mkdir(parents=True)
        self.uploads = DirectoryStore.open_drop_folder(folder / "uploads", bucket="uploads")
        self.results = open_folder(folder / "results")
        planner = FinetunePlanner(
            offers={"starter": TUNABLE}, default_model="starter", uploads=lambda _: self.uploads
        )
        self.intake = Intake(ledger=ledger, planner=a_planner(), recipes=NoRecipes(), finetunes=planner)
        self.stop = threading.Event()
        self.publisher = Publisher(broker)
        recorder = Recorder(ledger, params=RecorderParams(lease_seconds=1.5, attempts_most=ATTEMPTS))
        params = FinetuneReleaserParams(
            lease_seconds=1.5, unlisted_seconds=5, grace_seconds=0.3, attempts_most=ATTEMPTS
        )
        releaser = FinetuneReleaser(ledger, QueueFinetuneDispatcher(self.publisher), params=params)
        loops: list[Callable[[threading.Event], None]] = [
            partial(run_recorder, recorder, Consumer(broker, outcomes(broker))),
            partial(run_finetune_releaser, releaser, ledger),
        ]
        self.threads = [threading.Thread(target=loop, args=(self.stop,), daemon=True) for loop in loops]
        for thread in self.threads:
            thread.start()

    def ask(self) -> str:
        for number in range(4):
            self.uploads.put(f"brand/{number}.png", PNG + bytes([number]))
        data = {"name": "acme", "images": "uploads/brand/", "webhook": HOOK}
        event = CloudEvent(specversion="1.0", id="1", source="shop", type=FINETUNE_REQUESTED, data=data)
        id = self.intake.accept(event, "default").id
        assert id is not None
        return id

    def row(self) -> Any:
        with self.ledger.read() as conn:
            return conn.execute(text("SELECT * FROM finetune")).one()

    def wait_for(self, state: str) -> None:
        eventually(lambda: self.row().state == state, patience=300)

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(60)
        self.publisher.close()


@pytest.fixture
def house(sqlite_ledger: Ledger, broker: BrokerSettings, tmp_path: Path) -> Iterator[House]:
    made = House(sqlite_ledger, broker, tmp_path / "house")
    yield made
    made.end()


Start = Callable[..., "Popen[bytes]"]


@pytest.fixture
def start(house: House) -> Iterator[Start]:
    """Starts trainers; those still alive at the end are killed."""
    started: list[Popen[bytes]] = []

    def start(**options: Any) -> Popen[bytes]:
        started.append(start_trainer(house.broker, house.folder, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_killed_trainer_s_finetune_is_done_once_and_told_once(house: House, start: Start) -> None:
    """After a SIGKILL in the middle of a training the next trainer does it; one adapter, one webhook, nothing left behind."""
    id = house.ask()
    victim = start(stands=True)
    eventually(lambda: house.row().progress and '"step":5' in house.row().progress, patience=300)
    first = house.row().run
    victim.kill()
    victim.wait()
    assert any((house.folder / "scratch").iterdir())
    start(trainer_id="trn_2")
    house.wait_for("completed")

    row = house.row()
    assert row.attempts >= 1 and "trn_1" in row.deaths and row.run != first
    with house.ledger.read() as conn:
        adapter = adapters.find(conn, "default", "acme")
        owed = conn.execute(text("SELECT about, type FROM delivery")).all()
    assert adapter is not None and adapter.finetune == id
    assert keys(house.results) == [
        f"adapters/{adapter.digest}/adapter.json",
        f"adapters/{adapter.digest}/pytorch_lora_weights.safetensors",
    ]
    assert [tuple(one) for one in owed] == [(id, "finetune.completed")]
    # Only the living trainer's own folder, with nothing but its lock in it.
    eventually(lambda: [p.name for p in (house.folder / "scratch").rglob("*") if p.is_file()] == ["lock"])


def test_a_canceled_run_stops_and_its_trainer_goes_on(house: House, start: Start) -> None:
    """The word reaches the trainer through its queue; it lets go and is idle again."""
    id = house.ask()
    start(stands=True)
    house.wait_for("running")
    with house.ledger.begin() as conn:
        cancel_finetune(conn, tenant="default", id=id, now=house.row().created_at + 1)

    def idle() -> bool:
        with house.ledger.read() as conn:
            return conn.execute(text("SELECT run FROM trainer")).scalar_one() is None

    eventually(idle, patience=300)
    assert house.row().state == "canceled"


def test_a_stopped_trainer_gives_its_run_back(house: House, start: Start) -> None:
    """SIGTERM ends with exit code 0, and the next trainer does the work."""
    house.ask()
    trainer = start(stands=True)
    house.wait_for("running")
    trainer.terminate()
    assert trainer.wait(300) == 0
    house.wait_for("queued")
    start(trainer_id="trn_2")
    house.wait_for("completed")
