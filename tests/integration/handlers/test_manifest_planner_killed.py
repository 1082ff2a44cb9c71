"""A planner that is killed in the middle of a manifest loses no row and plans none twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from control_plane import a_planner
from sqlalchemy import text

from handlers.intake import Intake
from handlers.manifest_planner import ManifestParams, ManifestPlanner
from handlers.triggers import Trigger
from schemas.object_event import ObjectCreated
from storage.ledger.engine import Ledger
from storage.objects.memory import MemoryStore

ROWS = 600


class _NoRecipes:
    def get(self, reference: str) -> object:
        raise AssertionError(reference)


def _store() -> MemoryStore:
    store = MemoryStore(bucket="uploads")
    store.put("rows.csv", ("prompt,seed\n" + "".join(f"mug,{row}\n" for row in range(ROWS))).encode())
    return store


def plan_all(ledger_url: str) -> None:
    """What the killed process runs."""
    with Ledger.open(ledger_url) as ledger:
        planner = ManifestPlanner(
            ledger=ledger,
            planner=a_planner(),
            recipes=_NoRecipes(),  # type: ignore[arg-type]
            stores={"uploads": _store()},
            params=ManifestParams(chunk_rows=10),
        )
        while planner.step():
            pass


def _planned(ledger: Ledger) -> int:
    with ledger.read() as conn:
        return int(conn.execute(text("SELECT count(*) FROM job")).scalar_one())


def test_sigkill_in_the_middle_of_a_manifest(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    """Killed twice while planning; the third process finishes: every row once, counters exact."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    intake = Intake(
        ledger=sqlite_ledger, planner=a_planner(), recipes=_NoRecipes(), triggers=(Trigger(bucket="uploads"),)
    )  # type: ignore[arg-type]
    intake.object_created(ObjectCreated(bucket="uploads", key="rows.csv", version="1"), "default")
    code = f"import test_manifest_planner_killed as t; t.plan_all({url!r})"
    paths = os.pathsep.join(
        [str(Path(__file__).parent), str(Path(__file__).parents[2]), str(Path(__file__).parents[3])]
    )
    environment = {**os.environ, "PYTHONPATH": paths}
    interrupted = 0
    for enough in (20, 200):
        process = subprocess.Popen([sys.executable, "-c", code], env=environment)
        while _planned(sqlite_ledger) < enough and process.poll() is None:
            time.sleep(0.002)
        interrupted += process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)

    assert interrupted >= 1
    with sqlite_ledger.read() as conn:
        rows = [row[0] for row in conn.execute(text("SELECT row FROM job ORDER BY row"))]
        batch = conn.execute(text("SELECT * FROM batch")).one()
        images = conn.execute(text("SELECT count(*), count(DISTINCT digest) FROM image")).one()
    assert rows == list(range(1, ROWS + 1))
    assert (batch.phase, batch.cursor, batch.jobs, batch.total) == ("planned", ROWS, ROWS, ROWS)
    assert tuple(images) == (ROWS, ROWS)
