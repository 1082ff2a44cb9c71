"""How the workers on Modal are built."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ModalSettings:
    """Options of the app, its image and its GPU class; nothing here is secret."""

    app_name: str = "aquatint"
    class_name: str = "ModalWorker"
    #: In the order of preference.
    gpu: tuple[str, ...] = ("A100-80GB", "A100-40GB")
    #: Modal volume with the model folders, mounted read-only at `models_path`.
    volume: str = "aquatint-models"
    models_path: str = "/models"
    model: str = "starter"
    #: Modal secret with the container's variables: AQUATINT_PUBLIC_URL, AQUATINT_OUTCOMES_SECRET,
    #: AQUATINT_RESULTS_STORE (an s3:// one), AQUATINT_RUNTIME, AQUATINT_PRECISION, and the bucket's credentials.
    secret: str = "aquatint-worker"  # noqa: S105  # its name
    python_version: str = "3.11"
    #: A render that takes longer is ended by Modal.
    timeout_seconds: int = 600
    startup_timeout_seconds: int = 900
    max_containers: int = 8
    #: Idle containers kept ready beyond those in use.
    buffer_containers: int = 0
    #: Seconds an idle container lives on.
    scaledown_window_seconds: int = 120
