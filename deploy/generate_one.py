"""`aquatint generate`: one picture, here and now, by the same planner, worker and screens as the fleet."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from deploy.base_parts import DEFAULT_TENANT
from deploy.compose import Parts
from handlers.recipes import parse_adapters
from schemas.errors import (
    AquatintError,
    BadImage,
    BadInput,
    InputMissing,
    MissingField,
    PromptRefused,
    StoreDenied,
)
from schemas.ids import new_id
from schemas.microbatch import ImageTask, Microbatch
from schemas.outcome import Finished, ImageFailed, ImageRendered, Report
from schemas.problem import from_validation
from schemas.render_spec import RenderSpec
from schemas.request import GenerationRequest
from schemas.settings import Settings

FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".avif": "avif"}
GOOD_FOR_SECONDS = 600.0


@dataclass(frozen=True, kw_only=True)
class Brought:
    """Files and adapters on the command line."""

    image: Path | None = None
    mask: Path | None = None
    #: Kind of control to file.
    control: Mapping[str, Path] = field(default_factory=dict)
    control_weight: float | None = None
    #: "name" or "name:weight".
    adapters: Sequence[str] = ()


def generate_one(
    settings: Settings, prompt: str, output: Path, asked: dict[str, Any], brought: Brought, out: Console
) -> None:
    """Write the picture to `output` and say what it is; typed errors for everything a person can repair."""
    parts, started = Parts(settings=settings), time.monotonic()
    task = _task(parts, _request(prompt, output, {**asked, **_attachments(parts, brought)}))
    rendered = _render(parts, task)
    data = parts.results_of(DEFAULT_TENANT).get(rendered.stored.key)
    try:
        output.write_bytes(data)
    except OSError as error:
        raise StoreDenied(f"{output} cannot be written: {error.strerror}") from None
    spec = task.spec
    out.print(f"{output}  {spec.width}x{spec.height}, seed {spec.seed}, {time.monotonic() - started:.1f} s")
    out.print(f"alt text  {task.alt}")
    out.print(f"verdict   {rendered.verdict.decision} by policy {rendered.verdict.policy}")
    out.print(f"digest    {task.digest}" + ("  (rendered before)" if rendered.stored.reused else ""))
    _tell_limits(parts, prompt, out)


def _request(prompt: str, output: Path, asked: dict[str, Any]) -> GenerationRequest:
    format = FORMATS.get(output.suffix.lower())
    if format is None:
        raise BadInput(f"{output.name}: the file name must end in {', '.join(FORMATS)}", field="output")
    try:
        return GenerationRequest.model_validate({"prompt": prompt, "output": {"format": format}, **asked})
    except ValidationError as invalid:
        raise from_validation(invalid) from None


def _attachments(parts: Parts, brought: Brought) -> dict[str, Any]:
    """The request's fields for what was brought, after the same checks as over HTTP."""

    def taken(name: str, path: Path) -> str:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputMissing(f"{path}: {error.strerror}", field=name) from None
        try:
            return f"inputs/{parts.inputs.accept(DEFAULT_TENANT, data).sha256}"
        except BadImage as error:
            raise BadImage(f"{path}: {error.detail}", field=name, limit=error.limit) from None

    files = {"image": brought.image, "mask": brought.mask}
    fields: dict[str, Any] = {name: taken(name, path) for name, path in files.items() if path is not None}
    weight = {} if brought.control_weight is None else {"weight": brought.control_weight}
    lines = [{"kind": kind, "image": taken(f"control-{kind}", path), **weight} for kind, path in brought.control.items()]
    if weight and not lines:
        raise MissingField("control-weight needs control-edges or control-sketch", field="control-edges")
    adapters = [part for text in brought.adapters for part in parse_adapters(text)]
    return fields | ({"control": lines} if lines else {}) | ({"adapters": adapters} if adapters else {})


def _task(parts: Parts, request: GenerationRequest) -> ImageTask:
    from handlers.planner import Origin
    from handlers.wording import DESCRIPTIONS
    from schemas.fairness import Variation

    plan = parts.planner.shape(request, Origin(tenant=DEFAULT_TENANT), time.time())
    image = plan.images[0]
    return ImageTask(
        image=image.id,
        tenant=image.tenant,
        job=image.job,
        digest=image.digest,
        spec=RenderSpec.model_validate_json(image.spec),
        alt=image.alt,
        lang=image.lang,
        descriptions=DESCRIPTIONS.validate_json(image.descriptions),
        fairness=Variation.model_validate_json(image.fairness) if image.fairness else None,
    )


class _Ear:
    """Hears the reports of one microbatch, in place of the outcomes queue."""

    def __init__(self) -> None:
        self.finished: Future[Finished] = Future()

    def report(self, report: Report) -> None:
        if isinstance(report, Finished):
            self.finished.set_result(report)


def _render(parts: Parts, task: ImageTask) -> ImageRendered:
    """Through the in-process dispatcher: same worker core, no queue."""
    from storage.dispatch import InProcessDispatcher
    from workers.worker import Worker, WorkerSettings

    ear, name = _Ear(), new_id("wrk")
    microbatch = Microbatch(
        id=new_id("mb"), worker=name, batch_key=task.spec.batch_key, good_until=time.time() + GOOD_FOR_SECONDS, images=(task,)
    )
    settings = WorkerSettings(worker_id=name, heartbeat_seconds=None, threads=1, io_threads=1)
    worker = Worker(
        settings,
        renderer=parts.renderer(),
        screen=parts.output_screen,
        # Nobody would review it: a picture that needs a reviewer fails here and says so.
        way_out=replace(parts.way_out, quarantine=None),
        inputs=parts.input_reader,
        stores=parts.results_of,
        reporter=ear,
    )
    with worker:
        dispatcher = InProcessDispatcher(worker.handle, threads=1)
        dispatcher.submit(microbatch)
        dispatcher.close()
    return _made(ear.finished.result(timeout=0))


def _made(finished: Finished) -> ImageRendered:
    outcome = finished.outcomes[0]
    if isinstance(outcome, ImageRendered):
        return outcome
    if isinstance(outcome, ImageFailed):
        raise AquatintError(f"the picture failed at {outcome.failure.stage}: {outcome.failure.detail}")
    reasons = getattr(getattr(outcome, "verdict", None), "reasons", ())
    raise PromptRefused(f"the picture was not published: {', '.join(reasons) or 'no verdict'}")


def _tell_limits(parts: Parts, prompt: str, out: Console) -> None:
    """A model of a closed domain draws what its card lists; words beyond that have no effect, and a person should know."""
    unknown = parts.tokenizer.encode(prompt).unknown_words
    if unknown:
        out.print(f"note      the {parts.card.name} model does not know: {', '.join(unknown)}")


