"""The Modal app at its public surface, without the service."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from microbatches import MODEL, MODEL_DIGEST, Reports, a_microbatch, a_task, a_way_out, allow, keys

from schemas.errors import BadSettings, QueueUnavailable
from schemas.outcome import Heartbeat
from schemas.settings import Settings
from storage.objects.memory import MemoryStore
from workers.null_renderer import NullRenderer
from workers.worker import Worker

modal = pytest.importorskip("modal")

from deploy import modal_app, modal_worker  # noqa: E402  # modal may be absent
from deploy.modal_dispatch import ModalDispatcher, ModalPresence, deployed  # noqa: E402
from deploy.modal_settings import ModalSettings  # noqa: E402

ROOT = Path(__file__).parents[3]


def test_options_come_from_the_settings() -> None:
    """The decorator gets what the settings say, and Modal's own validation accepts it."""
    settings = ModalSettings(gpu=("A100-40GB",), max_containers=3, timeout_seconds=77, buffer_containers=1)
    options = modal_app.options(settings)
    assert (options["gpu"], options["max_containers"], options["timeout"]) == (["A100-40GB"], 3, 77)
    assert (options["buffer_containers"], options["retries"], list(options["volumes"])) == (1, 0, ["/models"])
    modal.App("another").cls(**options)
    assert ModalSettings().gpu[0].startswith("A100")


def test_import_needs_no_token_and_no_network() -> None:
    """Importing the app in a fresh process without a token, with sockets forbidden, works."""
    program = (
        "import socket\n"
        "def refuse(*a, **k): raise OSError('no network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "import deploy.modal_app"
    )
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_container_renders_and_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """`.local()` opens the worker, renders a microbatch, stores it and reports it, as a container does."""
    store, reports = MemoryStore(bucket="results"), Reports()

    def make_worker(settings: ModalSettings) -> Worker:
        return Worker(
            modal_worker.CONTAINER,
            renderer=NullRenderer({MODEL: MODEL_DIGEST}),
            screen=allow,
            stores=lambda tenant: store,
            reporter=reports,
            way_out=a_way_out(lambda tenant: store),
        )

    monkeypatch.setattr(modal_app, "make_worker", make_worker)
    microbatch = a_microbatch(a_task(1), a_task(2), worker="wrk_of_the_pool")
    assert modal_app.ModalWorker().render.local(microbatch.model_dump(mode="json")) == microbatch.id
    assert [report.kind for report in reports.all] == ["started", "finished"]
    assert reports.finished[0].worker == "wrk_of_the_pool" and reports.finished[0].gpu_done is not None
    assert len(keys(store, "images/")) == len(keys(store, "receipts/")) == 2


def test_container_takes_its_model_from_the_volume() -> None:
    """Whatever the environment says of a model, a container uses the one on its volume."""
    settings = modal_worker.container_settings(ModalSettings(model="big"), Settings(model="/elsewhere"))
    assert settings.model == "/models/big"


class Call:
    """A call whose `get` does what it is told."""

    def __init__(self, number: int) -> None:
        self.object_id, self.cancelled = f"fc-{number}", False
        self.result: Exception | None = TimeoutError()

    def get(self, timeout: float | None = None) -> Any:
        assert timeout == 0
        if self.result is not None:
            raise self.result

    def cancel(self) -> None:
        self.cancelled = True


class Cloud:
    """Stands where Modal does: `spawn` and `from_id`."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.refusal, self.payloads, self.calls = refusal, list[dict[str, Any]](), dict[str, Call]()

    def spawn(self, payload: dict[str, Any]) -> Call:
        if self.refusal is not None:
            raise self.refusal
        self.payloads.append(payload)
        call = Call(len(self.payloads))
        return self.calls.setdefault(call.object_id, call)

    def dispatcher(self) -> ModalDispatcher:
        return ModalDispatcher(self, self.calls.__getitem__)


def test_one_spawn_per_microbatch() -> None:
    """Each microbatch is one call with its JSON as the argument."""
    cloud = Cloud()
    microbatches = [a_microbatch(a_task(1)), a_microbatch(a_task(2))]
    cloud.dispatcher().submit(*microbatches)
    assert cloud.payloads == [each.model_dump(mode="json") for each in microbatches]


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (lambda: modal.exception.AuthError("no token"), BadSettings),
        (lambda: modal.exception.NotFoundError("no app"), BadSettings),
        (lambda: modal.exception.ResourceExhaustedError("too much"), QueueUnavailable),
        (lambda: modal.exception.ConnectionError("away"), QueueUnavailable),
        (lambda: OSError("away"), QueueUnavailable),
    ],
)
def test_refusals_are_typed(refusal: Callable[[], Exception], error: type[Exception]) -> None:
    """What Modal refuses is an operator's error or a passing one."""
    with pytest.raises(error):
        Cloud(refusal()).dispatcher().submit(a_microbatch(a_task(1)))


def test_without_a_token_the_operator_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The real client without a token ends in `BadSettings` at the first submit, not before."""
    program = (
        "from deploy.modal_dispatch import *\n"
        "import sys; sys.path.insert(0, 'tests')\n"
        "from microbatches import a_microbatch, a_task\n"
        "from schemas.errors import BadSettings\n"
        "dispatcher = ModalDispatcher(deployed(ModalSettings()))\n"
        "try: dispatcher.submit(a_microbatch(a_task(1)))\n"
        "except BadSettings: print('told')"
    )
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "told\n", done.stderr
    assert callable(deployed)


@pytest.mark.parametrize(
    ("ending", "runs"),
    [
        (None, False),
        (TimeoutError(), True),
        (modal.exception.ConnectionError("away"), True),
        (modal.exception.FunctionTimeoutError("too long"), False),
        (modal.exception.OutputExpiredError("gone"), False),
        (RuntimeError("it raised"), False),
    ],
)
def test_only_what_runs_is_held(ending: Exception | None, runs: bool) -> None:
    """A call counts as held until Modal says that it has ended, in whatever way; not knowing is not an end."""
    cloud = Cloud()
    dispatcher = cloud.dispatcher()
    microbatch = a_microbatch(a_task(1), worker="wrk_1")
    dispatcher.submit(microbatch)
    cloud.calls["fc-1"].result = ending
    assert dispatcher.running() == ({"wrk_1": [microbatch.id]} if runs else {})
    assert dispatcher.cancel(microbatch.id) is runs and cloud.calls["fc-1"].cancelled is runs


def test_presence_speaks_for_the_containers() -> None:
    """There is a live worker for each possible container, before any exists, and each lists what runs for it."""
    cloud, reports = Cloud(), Reports()
    dispatcher = cloud.dispatcher()
    presence = ModalPresence(dispatcher, reports, models={MODEL: MODEL_DIGEST}, containers=2)
    microbatch = a_microbatch(a_task(1), worker=presence.workers[1])
    dispatcher.submit(microbatch)
    presence.beat()
    presence.close()
    beats = [report for report in reports.all if isinstance(report, Heartbeat)]
    assert [beat.worker for beat in beats] == [*presence.workers, *presence.workers]
    assert [beat.held for beat in beats[:2]] == [(), (microbatch.id,)]
    assert [beat.accepting for beat in beats] == [True, True, False, False]
