"""The embedded stack: which processes run on one machine, and how to know that they are ready."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console

from deploy.compose import Parts
from deploy.environment import as_environment
from deploy.home import Home, prepare_home, sole_stack
from deploy.observability import configure_logging
from deploy.supervisor import Supervisor, role_argv
from schemas.errors import BadSettings, OperatorError
from schemas.settings import Settings

READY_WITHIN_SECONDS = 120.0
#: A process that has died so often while starting will not start.
HOPELESS_RESTARTS = 4


class NotReady(OperatorError):
    """The stack did not become ready."""

    code = "not_ready"


def free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def require_port(settings: Settings) -> None:
    """BadSettings when the API's port is taken: whoever holds it would answer in our place."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.api_host, settings.api_port))
        except OSError as error:
            where = f"{settings.api_host}:{settings.api_port}"
            raise BadSettings(f"the API cannot listen on {where}: {error.strerror}", field="AQUATINT_API_PORT") from None


def with_port(settings: Settings) -> Settings:
    """Settings whose API port is a definite one."""
    return settings if settings.api_port else settings.model_copy(update={"api_port": free_port(settings.api_host)})


@contextmanager
def log_beside(home: Home, settings: Settings) -> Iterator[None]:
    """The supervisor's own log goes beside those of its processes: the terminal belongs to the person."""
    with (home.logs / "supervisor.log").open("a", encoding="utf-8") as stream:
        configure_logging(settings, "supervisor", stream)
        yield


def start_stack(settings: Settings, home: Home, *, trainers: int = 0) -> Supervisor:
    """Start every process of the embedded stack; the caller watches and stops it."""
    if not trainers and settings.finetuning == "auto" and Parts(settings=settings).trains_here:
        # Nobody would take up what was accepted.
        settings = settings.model_copy(update={"finetuning": "off"})
    environ = {**os.environ, **as_environment(settings), "OMP_WAIT_POLICY": "PASSIVE"}
    supervisor = Supervisor(environ, home.logs)
    supervisor.add("intake", role_argv("embedded"))
    supervisor.add("releaser", role_argv("releaser"))
    supervisor.add("webhooks", role_argv("webhooks"))
    for number in range(settings.workers):
        supervisor.add(f"worker-{number + 1}", role_argv("worker"))
    for number in range(trainers):
        supervisor.add(f"trainer-{number + 1}", role_argv("trainer"))
    return supervisor


def wait_until_ready(settings: Settings, supervisor: Supervisor, home: Home, alive: Callable[[], bool] = lambda: True) -> None:
    """Return when /readyz says so; NotReady with what is missing after `READY_WITHIN_SECONDS`."""
    deadline, missing = time.monotonic() + READY_WITHIN_SECONDS, "the API does not answer"

    def look() -> bool:
        nonlocal missing
        missing = _not_ready(settings)
        hopeless = any(count >= HOPELESS_RESTARTS for count in supervisor.restarts().values())
        return bool(missing) and not hopeless and time.monotonic() < deadline and alive()

    supervisor.watch(look)
    if missing and alive():
        raise NotReady(f"the stack did not become ready: {last_fault(home) or missing}; logs are in {home.logs}")


def last_fault(home: Home) -> str:
    """What the newest log line of a process that could not start says, in a sentence; empty when there is none."""
    faults = []
    for path in home.logs.glob("*.log"):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()[-50:]:
            if '"cannot_start"' in line or '"process_failed"' in line:
                faults.append((_parsed(line), path.stem))
    if not faults:
        return ""
    told, name = max(faults, key=lambda fault: str(fault[0].get("timestamp", "")))
    reason = told.get("detail") or str(told.get("exception", "")).strip().rsplit("\n", 1)[-1]
    return f"{name}: {reason}"


def _parsed(line: str) -> dict[str, object]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _not_ready(settings: Settings) -> str:
    url = f"http://{settings.api_host}:{settings.api_port}/readyz"
    try:
        with urllib.request.urlopen(url, timeout=2):
            return ""
    except urllib.error.HTTPError as refused:
        return _reasons(refused.read())
    except (OSError, ValueError):
        return "the API does not answer"


def _reasons(body: bytes) -> str:
    try:
        return "; ".join(f"{part['name']}: {part['detail']}" for part in json.loads(body)["not_ready"]) or "not ready"
    except (ValueError, LookupError, TypeError):
        return "not ready"


class Interruption:
    """Turns the first Ctrl-C or SIGTERM into a flag, so that processes end in order."""

    def __init__(self) -> None:
        self.event = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._set)

    def _set(self, _: int, __: FrameType | None) -> None:
        self.event.set()

    @property
    def happened(self) -> bool:
        return self.event.is_set()


def run_until_interrupted(settings: Settings, out: Console) -> int:
    """`aquatint up`."""
    settings, home = with_port(settings), prepare_home(settings)
    with sole_stack(home), log_beside(home, settings):
        require_port(settings)
        return _run_until_interrupted(settings, home, Interruption(), out)


def _run_until_interrupted(settings: Settings, home: Home, interruption: Interruption, out: Console) -> int:
    trainers = settings.trainers if Parts(settings=settings).trains_here else 0
    supervisor = start_stack(settings, home, trainers=trainers)
    try:
        out.print("starting ...")
        wait_until_ready(settings, supervisor, home, lambda: not interruption.happened)
        out.print(f"API      http://{settings.api_host}:{settings.api_port}  (POST /v1/jobs, POST /v1/events, GET /openapi.json)")
        out.print(f"uploads  {settings.resolved_uploads_store}")
        out.print(f"results  {settings.resolved_results_store}")
        out.print(f"logs     {home.logs}")
        out.print("Ctrl-C ends it.")
        supervisor.watch(lambda: not interruption.happened)
    finally:
        supervisor.stop()
    out.print("stopped; what was accepted continues at the next start")
    return 0
