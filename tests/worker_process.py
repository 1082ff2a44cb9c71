"""A real worker process for tests: Celery, the broker given, a folder as store, and a renderer that can be poisonous."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from microbatches import MODEL, MODEL_DIGEST, a_way_out, allow, open_folder

from storage.broker.connection import BrokerSettings
from workers.main import WorkerConfig, run_worker
from workers.null_renderer import NullRenderer
from workers.ports import NotRendered, OnStep, Pixels, Work
from workers.worker import WorkerSettings

ROOT = Path(__file__).parents[1]


class PoisonRenderer(NullRenderer):
    """Draws like its parent, but kills its process at one seed, or hangs there."""

    def __init__(self, *, seconds: float, deadly_seed: int | None, hanging_seed: int | None) -> None:
        super().__init__({MODEL: MODEL_DIGEST}, seconds=seconds)
        self.deadly_seed, self.hanging_seed = deadly_seed, hanging_seed

    def render(
        self, works: Sequence[Work], *, on_step: OnStep, cancelled: Callable[[], bool]
    ) -> list[Pixels | NotRendered]:
        seeds = [work.task.spec.seed for work in works]
        if self.deadly_seed in seeds:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.hanging_seed in seeds:
            time.sleep(3600)
        return super().render(works, on_step=on_step, cancelled=cancelled)


def start_worker(broker: BrokerSettings, folder: Path, **options: Any) -> subprocess.Popen[bytes]:
    """Options: worker_id, seconds, deadly_seed, hanging_seed, hang_seconds, grace_seconds."""
    chosen = {
        "url": broker.url,
        "prefix": broker.queue_prefix,
        "lease_seconds": broker.lease_seconds,
        "folder": str(folder),
        "worker_id": "wrk_1",
        "seconds": 0.0,
        "deadly_seed": None,
        "hanging_seed": None,
        "hang_seconds": 600.0,
        "grace_seconds": 600.0,
        **options,
    }
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    return subprocess.Popen([sys.executable, __file__, json.dumps(chosen)], env=env, start_new_session=True)


def main(options: dict[str, Any]) -> int:
    store = open_folder(Path(options["folder"]))
    poison = {name: options[name] for name in ("seconds", "deadly_seed", "hanging_seed")}
    return run_worker(
        WorkerConfig(
            broker=BrokerSettings(
                url=options["url"], queue_prefix=options["prefix"], lease_seconds=options["lease_seconds"]
            ),
            worker=WorkerSettings(
                worker_id=options["worker_id"],
                heartbeat_seconds=0.5,
                grace_seconds=options["grace_seconds"],
                hang_seconds=options["hang_seconds"],
                first_hang_seconds=options["hang_seconds"],
            ),
            stores=lambda tenant: store,
            screen=allow,
            way_out=a_way_out(lambda tenant: store),
            renderer=lambda: PoisonRenderer(**poison),
        )
    )


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
