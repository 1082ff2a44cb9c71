"""The Modal app: `modal deploy -m deploy.modal_app`.

One `spawn` is one microbatch. Modal holds no truth of ours: outcomes go to our API by signed HTTPS POST (a container
reaches the API from anywhere; the broker would have to stand open to the internet), and a call that dies is put back by
the ledger's lease. Modal's own retries are off: a microbatch that killed its container is a suspect, not a candidate.

The one module that does something at import: Modal's command finds an app only as a global. It contacts nobody.
"""

from __future__ import annotations

from typing import Any

import modal

from deploy.modal_settings import ModalSettings
from deploy.modal_worker import make_worker
from schemas.microbatch import Microbatch
from workers.worker import Worker

SETTINGS = ModalSettings()
ROOMS = ("schemas", "storage", "models", "safety", "workers", "deploy")


def options(settings: ModalSettings) -> dict[str, Any]:
    """The arguments of the class decorator."""
    return {
        "image": image(settings),
        "gpu": list(settings.gpu),
        "volumes": {settings.models_path: modal.Volume.from_name(settings.volume).read_only()},
        "secrets": [modal.Secret.from_name(settings.secret)],
        "timeout": settings.timeout_seconds,
        "startup_timeout": settings.startup_timeout_seconds,
        "max_containers": settings.max_containers,
        "buffer_containers": settings.buffer_containers or None,
        "scaledown_window": settings.scaledown_window_seconds,
        "retries": 0,
    }


def image(settings: ModalSettings) -> modal.Image:
    """The project with its [gpu] extra."""
    base = modal.Image.debian_slim(python_version=settings.python_version)
    return base.pip_install_from_pyproject(
        "pyproject.toml", optional_dependencies=["gpu"]
    ).add_local_python_source(*ROOMS)


app = modal.App(SETTINGS.app_name)


@app.cls(**options(SETTINGS))
class ModalWorker:
    """The worker core in a container: opens the model once, renders one microbatch per call."""

    @modal.enter()  # type: ignore[untyped-decorator]
    def open(self) -> None:
        self._worker: Worker = make_worker(SETTINGS)
        self._worker.__enter__()

    @modal.method()  # type: ignore[untyped-decorator]
    def render(self, payload: dict[str, Any]) -> str:
        """Takes the JSON object of a `Microbatch`; returns its id once its outcomes are confirmed.

        A preempted container's call starts again elsewhere; what it stored is then reused, not rendered again.
        """
        microbatch = Microbatch.model_validate(payload)
        self._worker.handle(microbatch)
        return microbatch.id

    @modal.exit()  # type: ignore[untyped-decorator]
    def close(self) -> None:
        self._worker.__exit__(None, None, None)
