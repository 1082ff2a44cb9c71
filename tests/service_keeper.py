"""Runs the processes of one private server and ends them when whoever started this goes away, however it went.

Started by tests/services.py. Its standard input is a pipe from the test process: the operating system closes that pipe
even when the test process is killed, so nothing outlives a test session. The first line is the plan, as JSON; after it
commands, one a line: ``kill`` (SIGKILL of the main process), ``start`` (run it again), ``poll`` (its exit status).
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
from typing import Any

import psutil

STOP_PATIENCE_SECONDS = 20.0


class Keeper:
    """The last process of the plan is the main one; those before it (epmd) only serve it."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, entry: dict[str, Any]) -> subprocess.Popen[bytes]:
        identity = {name: entry[name] for name in ("user", "group", "extra_groups") if name in entry}
        with open(self.plan["log"], "ab") as log:
            return subprocess.Popen(
                entry["argv"],
                env=entry["env"],
                cwd=self.plan["directory"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **identity,
            )

    def start_all(self) -> None:
        self.processes = [self.start(entry) for entry in self.plan["processes"]]

    def obey(self, command: str) -> str:
        main = self.processes[-1]
        if command == "kill":
            end(main, signal.SIGKILL)
        elif command == "start" and main.poll() is not None:
            self.processes[-1] = self.start(self.plan["processes"][-1])
        status = self.processes[-1].poll()
        return f"{self.processes[-1].pid} {'-' if status is None else status}"

    def stop(self) -> None:
        for entry, process in reversed(list(zip(self.plan["processes"], self.processes, strict=False))):
            end(process, entry["stop_signal"])
        shutil.rmtree(self.plan["directory"], ignore_errors=True)


def end(process: subprocess.Popen[bytes], stop_signal: int) -> None:
    """Ends a process and all it started; what does not follow it of itself is killed."""
    tree = []
    with contextlib.suppress(psutil.NoSuchProcess):
        tree = psutil.Process(process.pid).children(recursive=True)
    if process.poll() is None:
        process.send_signal(stop_signal)
    try:
        process.wait(STOP_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    # Not by process group: the backends of PostgreSQL each make their own.
    for left in psutil.wait_procs(tree, STOP_PATIENCE_SECONDS)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            left.kill()


def reply(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    keeper = Keeper(json.loads(sys.stdin.readline()))
    try:
        keeper.start_all()
        reply(keeper.obey("poll"))
        for line in sys.stdin:
            reply(keeper.obey(line.strip()))
    except BrokenPipeError:
        pass
    finally:
        keeper.stop()


if __name__ == "__main__":
    main()
