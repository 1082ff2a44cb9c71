"""A trainer and its one run at a time, with a tuner that learns nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from microbatches import eventually

from models.adapters import ADAPTER_FILE, WEIGHTS_FILE, adapter_digest
from models.errors import FinetuneDiverged, FinetuneRefused, RuntimeMissing
from schemas.errors import QueueUnavailable, StoreUnavailable
from schemas.finetune import (
    FinetuneSpec,
    FinetuneStage,
    FinetuneStop,
    FinetuneTask,
    ImageCounts,
    Trained,
    TrainerBeat,
    TrainingEnded,
    TrainingFailed,
    TrainingOutcome,
    TrainingReturned,
    TrainingStarted,
)
from schemas.object_keys import adapter_key
from schemas.outcome import Report
from storage.broker.consumer import Delivery
from storage.objects.memory import MemoryStore
from storage.objects.prefixed import PrefixedStore
from workers.brand_pictures import Stores
from workers.null_tuner import NullTuner
from workers.trainer import Trainer, TrainerSettings
from workers.tuning import Cancelled, Curated, OnProgress, Tuned
from workers.watchdog import Watchdog

BASE = "5" * 64
PNG = b"\x89PNG\r\n\x1a\n"


class Tuner(NullTuner):
    """Waits at the gate before it learns, and breaks when told to."""

    def __init__(self) -> None:
        super().__init__({"starter": BASE}, steps=3)
        self.gate, self.fault = threading.Event(), None
        self.gate.set()
        self.fault: Exception | None
        self.keep = 99
        self.folders: list[Path] = []

    def curate(self, source: Path, scratch: Path, *, cancelled: Cancelled) -> Curated:
        found = super().curate(source, scratch, cancelled=cancelled)
        self.folders.append(scratch)
        kept = found.images[: self.keep]
        dropped = {"duplicate": len(found.images) - len(kept)}
        counts = ImageCounts(seen=len(found.images), kept=len(kept), dropped=dropped)
        return Curated(images=kept, counts=counts)

    def learn(
        self,
        spec: FinetuneSpec,
        images: Sequence[tuple[Path, str]],
        out: Path,
        *,
        on_progress: OnProgress,
        cancelled: Cancelled,
    ) -> Tuned:
        while not self.gate.wait(0.01) and not cancelled():
            pass
        if self.fault is not None:
            raise self.fault
        return super().learn(spec, images, out, on_progress=on_progress, cancelled=cancelled)


class Ear:
    """A reporter that remembers, and loses what it is told to."""

    def __init__(self) -> None:
        self.all: list[Report] = []
        self.deaf_to: type | None = None

    def report(self, report: Report) -> None:
        if self.deaf_to is not None and isinstance(report, self.deaf_to):
            raise QueueUnavailable
        self.all.append(report)

    @property
    def outcomes(self) -> list[TrainingOutcome]:
        return [one.outcome for one in self.all if isinstance(one, TrainingEnded)]

    @property
    def beats(self) -> list[TrainerBeat]:
        return [one for one in self.all if isinstance(one, TrainerBeat)]


class Stand:
    """A trainer over stores in memory, and the messages that a test hands to it."""

    def __init__(self, folder: Path, *, tuner: Tuner | None = None, watchdog: Watchdog | None = None) -> None:
        self.tuner, self.ear, self.folder = tuner or Tuner(), Ear(), folder
        self.uploads, self.results = MemoryStore(bucket="uploads"), MemoryStore(bucket="results")
        for tenant in ("default", "other"):
            for number in range(5):
                self.uploads.put(f"{tenant}/brand/{number}.png", PNG + tenant.encode() + bytes([number]))
        self.trainer = Trainer(
            TrainerSettings(trainer_id="trn_1", scratch=folder, heartbeat_seconds=3600, retry_seconds=0.01),
            tuner=self.tuner,
            stores=self.stores,
            reporter=self.ear,
            watchdog=watchdog or Watchdog(bite=lambda: None),
        )
        self.trainer.start()

    def stores(self, tenant: str) -> Stores:
        return Stores(
            uploads=PrefixedStore(self.uploads, tenant), results=PrefixedStore(self.results, tenant)
        )

    def take(self, message: FinetuneTask | FinetuneStop | bytes) -> bool:
        """True when the message may be acknowledged at once."""
        body = message if isinstance(message, bytes) else message.model_dump_json().encode()
        return bool(
            self.trainer.take(Delivery(body=body, redelivered=False, message=None, connection_number=1))
        )

    def finish(self) -> list[Delivery]:
        found: list[Delivery] = []
        eventually(lambda: found.extend(self.trainer.settled()) or found)
        return found


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    made = Stand(tmp_path / "scratch")
    yield made
    made.trainer.stop()


def a_task(run: str = "run_1", tenant: str = "default", **fields: Any) -> FinetuneTask:
    spec = FinetuneSpec(
        name="acme",
        images=("uploads/brand/",),
        caption="a mug",
        trigger="acme style",
        model="starter",
        base_digest=BASE,
        rank=4,
        steps=3,
        minutes=None,
        seed=1,
    )
    values = {"finetune": "fin_1", "run": run, "trainer": "trn_1", "good_until": time.time() + 600}
    return FinetuneTask.model_validate({**values, "tenant": tenant, "spec": spec, **fields})


def test_a_run_from_message_to_stored_adapter(stand: Stand) -> None:
    """Started is reported first; then both files lie in its tenant's store under the digest that the end names."""
    assert not stand.take(a_task())
    (delivery,) = stand.finish()
    assert delivery.body
    assert [type(one) for one in stand.ear.all if not isinstance(one, TrainerBeat)] == [
        TrainingStarted,
        TrainingEnded,
    ]
    (outcome,) = stand.ear.outcomes
    assert isinstance(outcome, Trained)
    files = {
        name: stand.results.get(f"default/{adapter_key(outcome.adapter, name)}")
        for name in (ADAPTER_FILE, WEIGHTS_FILE)
    }
    assert adapter_digest(files[ADAPTER_FILE]) == outcome.adapter
    assert (outcome.images.seen, outcome.images.kept, outcome.steps) == (5, 5, 3)
    assert outcome.scores_before == {"brand": 0.0} and outcome.scores_after == {"brand": 1.0}
    assert {entry.key.split("/")[0] for entry in stand.results.list()} == {"default"}


def test_nothing_of_a_run_stays_behind(stand: Stand) -> None:
    """Its folders are gone after success and after a failure, and the process's own after the end."""
    stand.take(a_task("run_1"))
    stand.finish()
    stand.tuner.fault = ValueError("broken")
    stand.take(a_task("run_2"))
    stand.finish()
    assert len(stand.tuner.folders) == 2
    assert not any(folder.exists() for folder in stand.tuner.folders)
    stand.trainer.stop()
    assert list(stand.folder.iterdir()) == []


def test_what_dead_trainers_left_is_removed(stand: Stand, tmp_path: Path) -> None:
    """A folder whose owner died goes with the next start; one whose owner lives stays."""
    (tmp_path / "scratch" / "dead").mkdir()
    (tmp_path / "scratch" / "dead" / "lock").touch()
    (tmp_path / "scratch" / "dead" / "big.bin").write_bytes(b"x")
    living = {path.name for path in stand.folder.iterdir()} - {"dead"}
    other = Stand(tmp_path / "scratch")
    assert living < {path.name for path in stand.folder.iterdir()}
    assert not (tmp_path / "scratch" / "dead").exists()
    other.trainer.stop()


def test_the_same_adapter_is_stored_once(stand: Stand) -> None:
    """The same pictures and seed give the same digest; each tenant has its own files."""
    for run, tenant in (("run_1", "default"), ("run_2", "default"), ("run_3", "other")):
        stand.take(a_task(run, tenant))
        stand.finish()
    digests = [outcome.adapter for outcome in stand.ear.outcomes if isinstance(outcome, Trained)]
    assert len(digests) == 3 and digests[0] == digests[1] != digests[2]
    assert len(list(stand.results.list())) == 4


def test_repeated_stale_foreign_and_crowding_messages(stand: Stand) -> None:
    """A repeat is dropped in silence; what cannot be begun is given back; nonsense is dropped."""
    stand.tuner.gate.clear()
    assert not stand.take(a_task("run_1"))
    assert stand.take(a_task("run_1"))
    assert stand.take(a_task("run_2"))
    assert stand.take(b'{"kind": "train"}') and stand.take(b"nonsense")
    stand.tuner.gate.set()
    stand.finish()
    assert stand.take(a_task("run_1"))
    assert stand.take(a_task("run_3", good_until=1.0))
    reasons = [one.reason for one in stand.ear.outcomes if isinstance(one, TrainingReturned)]
    assert reasons == ["busy", "stale"]
    assert sum(isinstance(one, Trained) for one in stand.ear.outcomes) == 1


def test_a_run_that_is_called_off_leaves(stand: Stand) -> None:
    """Word about its own run stops it; word about another does not."""
    stand.tuner.gate.clear()
    stand.take(a_task("run_1"))
    assert stand.take(FinetuneStop(run="run_0", trainer="trn_1"))
    assert not stand.trainer.settled()
    assert stand.take(FinetuneStop(run="run_1", trainer="trn_1"))
    stand.finish()
    assert stand.ear.outcomes == [TrainingReturned(reason="stopped")]
    assert list(stand.results.list()) == []


def test_an_orderly_end_gives_the_run_back(stand: Stand) -> None:
    """Stopping leaves the run at its next step, says why, and says goodbye."""
    stand.tuner.gate.clear()
    stand.take(a_task())
    stand.trainer.stop()
    assert stand.ear.outcomes == [TrainingReturned(reason="shutdown")]
    assert len(stand.trainer.settled()) == 1
    assert not stand.ear.beats[-1].accepting


def test_heartbeats_tell_the_run_and_its_stage(stand: Stand) -> None:
    """What it can fine-tune, what is in its hands, and how far that is."""
    stand.tuner.gate.clear()
    stand.take(a_task())
    eventually(
        lambda: any(
            beat.run == "run_1" and beat.progress and beat.progress.stage is FinetuneStage.TRAIN
            for beat in stand.ear.beats
        )
    )
    stand.tuner.gate.set()
    stand.finish()
    eventually(lambda: stand.ear.beats[-1].run is None)
    assert stand.ear.beats[-1].models == {"starter": BASE}


def test_an_end_that_cannot_be_told_is_told_later(stand: Stand) -> None:
    """The adapter is stored; its message waits until the broker has taken the report."""
    stand.ear.deaf_to = TrainingEnded
    stand.take(a_task())
    eventually(lambda: len(list(stand.results.list())) == 2)
    assert not stand.trainer.settled()
    stand.ear.deaf_to = None
    assert len(stand.finish()) == 1
    assert isinstance(stand.ear.outcomes[0], Trained)


def test_nothing_begins_before_its_start_is_told(stand: Stand) -> None:
    """Without it, a death would count as no attempt: the message is left for later, and is then new."""
    stand.ear.deaf_to = TrainingStarted
    with pytest.raises(QueueUnavailable):
        stand.take(a_task())
    stand.ear.deaf_to = None
    assert not stand.take(a_task())
    stand.finish()
    assert isinstance(stand.ear.outcomes[0], Trained)


@pytest.mark.parametrize(
    ("fault", "code", "field", "retryable"),
    [
        (
            FinetuneRefused("caption of 00002.png", "a description", ""),
            "finetune_refused",
            "brand/1.png",
            False,
        ),
        (FinetuneDiverged("the loss is no longer a number"), "finetune_diverged", None, False),
        (RuntimeMissing("no module named /srv/secret"), "runtime_missing", None, False),
        (StoreUnavailable("no answer"), "store_unavailable", None, True),
        (ZeroDivisionError("a foreign text"), "train_error", None, True),
    ],
)
def test_a_fault_is_told_in_the_customer_s_words(
    stand: Stand, fault: Exception, code: str, field: str | None, retryable: bool
) -> None:
    """Typed, with its stage; local file names become references, and the text of a foreign error stays here."""
    stand.tuner.fault = fault
    stand.take(a_task())
    stand.finish()
    (outcome,) = stand.ear.outcomes
    assert isinstance(outcome, TrainingFailed)
    problem = outcome.problem
    assert (problem.stage, problem.code, problem.retryable) == (FinetuneStage.TRAIN, code, retryable)
    assert field is None or (problem.field is not None and field in problem.field)
    assert not any(word in problem.detail for word in ("00002", "foreign", "secret"))
    assert outcome.images.kept == 5


def test_too_few_pictures_after_curation_say_what_became_of_them(stand: Stand) -> None:
    """The reasons are counted in the failure, at the stage where it happened."""
    stand.tuner.keep = 3
    stand.take(a_task())
    stand.finish()
    (outcome,) = stand.ear.outcomes
    assert isinstance(outcome, TrainingFailed)
    assert (outcome.problem.stage, outcome.problem.field, outcome.problem.limit) == ("curate", "images", 4)
    assert "2 duplicate" in outcome.problem.detail
    assert outcome.images == ImageCounts(seen=5, kept=3, dropped={"duplicate": 2})


def test_a_run_that_shows_no_sign_of_life_ends_its_process(tmp_path: Path) -> None:
    """The watchdog bites when neither progress nor a question whether to stop is heard for the time allowed."""
    bitten, hang = threading.Event(), threading.Event()

    class Hangs(Tuner):
        def learn(self, *_: Any, **__: Any) -> Tuned:
            hang.wait(60)
            raise ValueError

    made = Stand(tmp_path / "scratch", tuner=Hangs(), watchdog=Watchdog(unknown_seconds=0.2, bite=bitten.set))
    made.take(a_task())
    assert bitten.wait(60)
    hang.set()
    made.finish()
    made.trainer.stop()
