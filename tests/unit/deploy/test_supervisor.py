"""The supervisor keeps its processes alive and leaves none behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from deploy.supervisor import Supervisor

ROOT = Path(__file__).parents[3]
SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
#: Ignores SIGTERM, and says so once it does.
STUBBORN = [
    sys.executable,
    "-u",
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); time.sleep(600)",
]


def until(found: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def supervisor(tmp_path: Path):
    made = Supervisor(os.environ, tmp_path)
    yield made
    made.stop(grace_seconds=0)


def test_a_killed_process_comes_back(supervisor: Supervisor) -> None:
    """SIGKILL of a child is followed by a new one under the same name."""
    supervisor.add("sleeper", SLEEPER)
    first = supervisor.pids()["sleeper"]
    os.kill(first, signal.SIGKILL)

    def back() -> bool:
        return supervisor.pids().get("sleeper", first) == first

    supervisor.watch(back, tick_seconds=0.01)

    assert first != supervisor.pids()["sleeper"]
    assert {"sleeper": 1} == supervisor.restarts()


def test_stop_ends_even_the_stubborn(supervisor: Supervisor, tmp_path: Path) -> None:
    """What ignores SIGTERM gets SIGKILL after the grace; nothing is left."""
    supervisor.add("stubborn", STUBBORN)
    supervisor.add("sleeper", SLEEPER)
    until(lambda: "deaf" in (tmp_path / "stubborn.log").read_text())
    pids = list(supervisor.pids().values())

    supervisor.stop(grace_seconds=0.2)

    assert {} == supervisor.pids()
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_what_a_child_prints_is_in_its_log(supervisor: Supervisor, tmp_path: Path) -> None:
    """Output of both streams is kept under the child's name, over restarts."""
    supervisor.add(
        "talker", [sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr)"]
    )
    log = tmp_path / "talker.log"

    supervisor.watch(lambda: log.read_text().count("out") < 2, tick_seconds=0.01)

    assert "err" in log.read_text()


def test_processes_end_with_the_one_that_started_them() -> None:
    """A role whose supervisor was SIGKILLed ends by itself."""
    role = "import time\nfrom deploy.supervisor import end_with_parent\nend_with_parent(0.05)\nprint('up', flush=True)\ntime.sleep(600)"
    parent = f"import subprocess, sys\nc = subprocess.Popen([sys.executable, '-c', {role!r}], start_new_session=True)\nprint(c.pid, flush=True)\nc.wait()"
    process = subprocess.Popen([sys.executable, "-c", parent], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    assert "up" == process.stdout.readline().strip()

    process.kill()
    process.wait()

    until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)
