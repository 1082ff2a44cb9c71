"""The worker inside a Modal container."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from deploy.compose import Parts
from deploy.environment import load_settings
from deploy.modal_settings import ModalSettings
from schemas.ids import new_id
from schemas.settings import Settings
from workers.http_reporter import HttpReporter
from workers.worker import Worker, WorkerSettings

#: It renders what it is called with, one call at a time, and Modal vouches for its life.
CONTAINER = WorkerSettings(worker_id="", pool="modal", heartbeat_seconds=None, threads=1)


def make_worker(modal_settings: ModalSettings) -> Worker:
    """From the container's AQUATINT_* variables, which come from the Modal secret, and the volume with the models."""
    settings = container_settings(modal_settings, load_settings(env_file=None))
    parts = Parts(settings=settings)
    reporter = HttpReporter(
        f"{settings.resolved_public_url}/v1/outcomes", settings.outcomes_secret.get_secret_value().encode()
    )
    return Worker(
        replace(CONTAINER, worker_id=new_id("wrk")),
        renderer=parts.renderer(),
        screen=parts.output_screen,
        way_out=parts.way_out,
        inputs=parts.input_reader,
        stores=parts.results_of,
        reporter=reporter,
    )


def container_settings(modal_settings: ModalSettings, settings: Settings) -> Settings:
    """The settings with the model on the volume."""
    model = str(Path(modal_settings.models_path) / modal_settings.model)
    return settings.model_copy(update={"model": model})
