"""A real trainer process for tests: the broker given, folders as stores, and a tuner that can stand still."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from microbatches import open_folder

from schemas.finetune import FinetuneSpec, FinetuneStage, Progress
from storage.broker.connection import BrokerSettings
from storage.objects.directory import DirectoryStore
from workers.brand_pictures import Stores
from workers.null_tuner import NullTuner
from workers.trainer import TrainerSettings
from workers.trainer_main import TrainerConfig, run_trainer
from workers.tuning import Called, Cancelled, OnProgress, Tuned

ROOT = Path(__file__).parents[1]
BASE = "5" * 64


class StandingTuner(NullTuner):
    """Says that it is in the middle of its work, and never gets further unless it is called off."""

    def learn(
        self,
        spec: FinetuneSpec,
        images: Sequence[tuple[Path, str]],
        out: Path,
        *,
        on_progress: OnProgress,
        cancelled: Cancelled,
    ) -> Tuned:
        on_progress(Progress(stage=FinetuneStage.TRAIN, step=5, steps=10, loss=0.5))
        while not cancelled():
            time.sleep(0.02)
        raise Called


def start_trainer(broker: BrokerSettings, folder: Path, **options: Any) -> subprocess.Popen[bytes]:
    """Options: trainer_id, stands, heartbeat_seconds. Stores lie in `folder`, and the scratch folder beside them."""
    chosen = {
        "url": broker.url,
        "prefix": broker.queue_prefix,
        "lease_seconds": broker.lease_seconds,
        "folder": str(folder),
        "trainer_id": "trn_1",
        "stands": False,
        "heartbeat_seconds": 0.3,
        **options,
    }
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    return subprocess.Popen([sys.executable, __file__, json.dumps(chosen)], env=env, start_new_session=True)


def main(options: dict[str, Any]) -> None:
    folder, stop = Path(options["folder"]), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    uploads = DirectoryStore.open_drop_folder(folder / "uploads", bucket="uploads")
    results = open_folder(folder / "results")
    tuner = (StandingTuner if options["stands"] else NullTuner)({"starter": BASE})
    run_trainer(
        TrainerConfig(
            broker=BrokerSettings(
                url=options["url"], queue_prefix=options["prefix"], lease_seconds=options["lease_seconds"]
            ),
            trainer=TrainerSettings(
                trainer_id=options["trainer_id"],
                scratch=folder / "scratch",
                heartbeat_seconds=options["heartbeat_seconds"],
            ),
            stores=lambda tenant: Stores(uploads=uploads, results=results),
            tuner=tuner,
        ),
        stop,
    )


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
