"""The work of a worker: one microbatch, from its arrival to the report that accounts for every image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Literal

import structlog

from schemas.errors import Temporary
from schemas.microbatch import ImageTask, Microbatch
from schemas.outcome import Failure, Finished, ImageFailed, ImageReturned, Outcome, Started
from schemas.states import Stage
from schemas.verdict import Decision, Verdict
from workers import shelf
from workers.failures import failure_of
from workers.finishing import Candidate, Finishing
from workers.gpu import Gpu
from workers.ports import Fetch, NotRendered, OutputScreen, Pixels, Renderer, Reporter, Stores, Work
from workers.stop import Stop

Reason = Literal["stale", "shutdown", "redelivered", "worker_fault"]
Result = Pixels | Failure | NotRendered

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Everything `render_microbatch` works with."""

    renderer: Renderer
    #: Reads what a spec names by digest; raises the errors of `workers.fetch`.
    fetch: Fetch
    screen: OutputScreen
    finishing: Finishing
    stores: Stores
    reporter: Reporter
    gpu: Gpu
    stop: Stop
    #: Looks up, marks, encodes and stores the images of a microbatch side by side.
    io: Executor


def render_microbatch(
    microbatch: Microbatch, ports: Ports, *, redelivered: bool, now: Callable[[], float]
) -> Finished:
    """Renders, screens and stores the images of a microbatch and reports each; returns the report it sent.

    A microbatch that is stale or was delivered before is not rendered: what is stored is reported, the rest returned, so
    that the releaser, which knows what started where, can send suspects out alone. `now` gives Unix seconds. Raises
    `QueueUnavailable` when a report could not be sent: the message must then not be acknowledged.
    """
    refusal = _refusal(microbatch, redelivered, now())
    found = list(ports.io.map(partial(_find, ports, refusal), microbatch.images))
    missing = [task for task, outcome in zip(microbatch.images, found, strict=True) if outcome is None]
    fetched = list(ports.io.map(partial(_fetch, ports), missing))
    drawn = _draw(microbatch, fetched, ports, now)
    # From here on beside the GPU, which the next microbatch may have by now.
    candidates = list(ports.io.map(partial(_prepare, ports), missing, drawn))
    verdicts = _screen(missing, candidates, ports.screen)
    fresh = list(ports.io.map(partial(_finish, ports), missing, candidates, verdicts))
    made = {outcome.image: outcome for outcome in [*(each for each in found if each is not None), *fresh]}
    finished = Finished(
        worker=microbatch.worker,
        microbatch=microbatch.id,
        at=now(),
        gpu_done=ports.gpu.take_done(),
        outcomes=tuple(made[task.image] for task in microbatch.images),
    )
    # Pictures and receipts are stored: only now may anybody be told of them.
    ports.reporter.report(finished)
    return finished


def _refusal(microbatch: Microbatch, redelivered: bool, now: float) -> Reason | None:
    if now > microbatch.good_until:
        return "stale"
    return "redelivered" if redelivered else None


def _find(ports: Ports, refusal: Reason | None, task: ImageTask) -> Outcome | None:
    """The outcome of an image that needs no render; None when it has to be rendered."""
    try:
        found = shelf.find(task, ports.stores(task.tenant))
    except Temporary:
        # A store that cannot be read cannot be written either: a render would be thrown away.
        return _returned(task, refusal or "worker_fault")
    except Exception as error:
        return _failed(task, failure_of(Stage.STORE, error))
    return found if found is not None or refusal is None else _returned(task, refusal)


def _fetch(ports: Ports, task: ImageTask) -> Work | Failure | NotRendered:
    """What the image takes beyond words, beside the GPU; one that cannot be had is this image's failure alone."""
    spec = task.spec
    if ports.renderer.models.get(spec.model) != spec.model_digest:
        # Another worker may have this version: the fault is in who it was sent to.
        return NotRendered(reason="worker_fault")
    try:
        return Work(task=task, fetched=ports.fetch(task))
    except Temporary:
        return NotRendered(reason="worker_fault")
    except Exception as error:
        log.warning("worker.input_not_fetched", image=task.image, job=task.job, error=type(error).__name__)
        return failure_of(Stage.FETCH, error)


def _draw(
    microbatch: Microbatch,
    fetched: Sequence[Work | Failure | NotRendered],
    ports: Ports,
    now: Callable[[], float],
) -> list[Result]:
    """A result for each, in their order; the GPU sees only what is complete."""
    works = [one for one in fetched if isinstance(one, Work)]
    drawn = iter(_on_gpu(microbatch, works, ports, now) if works else ())
    return [next(drawn) if isinstance(one, Work) else one for one in fetched]


def _on_gpu(
    microbatch: Microbatch, works: list[Work], ports: Ports, now: Callable[[], float]
) -> Sequence[Result]:
    with ports.gpu.turn():
        if ports.stop.stopping.is_set():
            return [NotRendered(reason="shutdown")] * len(works)
        # Confirmed before the GPU is touched: whatever dies after this is a suspect, whatever dies before is not.
        ports.reporter.report(
            Started(
                worker=microbatch.worker, microbatch=microbatch.id, at=now(), gpu_done=ports.gpu.take_done()
            )
        )
        with ports.gpu.rendering(microbatch, len(works)):
            return _render(works, ports)


def _render(works: list[Work], ports: Ports) -> list[Result]:
    try:
        results = list(
            ports.renderer.render(
                works,
                on_step=lambda _index, _step: ports.gpu.watchdog.alive(),
                cancelled=ports.stop.hurry.is_set,
            )
        )
        if len(results) != len(works):
            raise RuntimeError("the renderer gave another number of results than it got tasks")
        return [_checked(work.task, result) for work, result in zip(works, results, strict=True)]
    except Exception as error:
        images = [work.task.image for work in works]
        log.warning("worker.render_failed", images=images, error=type(error).__name__)
        if len(works) == 1:
            return [failure_of(Stage.GENERATE, error)]
    # One bad image must not take its neighbours; a batch that was too large for the memory fits in parts.
    return [result for work in works for result in _render([work], ports)]


def _checked(task: ImageTask, result: Result) -> Result:
    """The result, unless it is a picture that is none."""
    if isinstance(result, Failure | NotRendered):
        return result
    if result.shape != (task.spec.height, task.spec.width, 3) or result.dtype != "uint8":
        detail = "the renderer gave no picture of this size"
        return Failure(stage=Stage.GENERATE, code="bad_picture", detail=detail)
    return result


def _prepare(ports: Ports, task: ImageTask, result: Result) -> Candidate | Failure | NotRendered:
    """The picture in the form in which it is checked and published."""
    if isinstance(result, Failure | NotRendered):
        return result
    return ports.finishing.prepare(task, result)


def _screen(
    tasks: list[ImageTask], candidates: Sequence[Candidate | Failure | NotRendered], screen: OutputScreen
) -> list[Verdict | Failure | None]:
    """A verdict or a failure of the screen for each picture, None where there is no picture."""
    shown = [
        (task, one.pixels) for task, one in zip(tasks, candidates, strict=True) if isinstance(one, Candidate)
    ]
    judged = dict(zip((task.image for task, _ in shown), _judge(shown, screen), strict=True))
    return [judged.get(task.image) for task in tasks]


def _judge(shown: list[tuple[ImageTask, Pixels]], screen: OutputScreen) -> list[Verdict | Failure]:
    if not shown:
        return []
    try:
        verdicts = list(screen([pixels for _, pixels in shown], [task.spec for task, _ in shown]))
        if len(verdicts) != len(shown):
            raise RuntimeError("the screen gave another number of verdicts than it got pictures")
        return [_answered(verdict) for verdict in verdicts]
    except Exception as error:
        log.warning(
            "worker.screen_failed", images=[task.image for task, _ in shown], error=type(error).__name__
        )
        if len(shown) == 1:
            return [failure_of(Stage.SCREEN, error)]
    return [judged for each in shown for judged in _judge([each], screen)]


def _answered(verdict: Verdict) -> Verdict | Failure:
    if verdict.decision is not Decision.ERROR:
        return verdict
    # A check that did not run may run next time; a picture that was found broken will be broken again.
    unanswered = any(check.status != "ok" for check in verdict.checks)
    code = "screen_incomplete" if unanswered else "picture_broken"
    return Failure(stage=Stage.SCREEN, code=code, detail=", ".join(verdict.reasons), retryable=unanswered)


def _finish(
    ports: Ports,
    task: ImageTask,
    candidate: Candidate | Failure | NotRendered,
    verdict: Verdict | Failure | None,
) -> Outcome:
    """Out, or kept in; but only what has a verdict goes anywhere."""
    if isinstance(candidate, NotRendered):
        return _returned(task, candidate.reason)
    if isinstance(candidate, Failure):
        return _failed(task, candidate)
    if not isinstance(verdict, Verdict):
        return _failed(
            task, verdict or Failure(stage=Stage.SCREEN, code="screen_incomplete", detail="no verdict")
        )
    return ports.finishing.finish(task, candidate, verdict, ports.renderer.rendered_with)


def _failed(task: ImageTask, failure: Failure) -> ImageFailed:
    return ImageFailed(image=task.image, digest=task.digest, failure=failure)


def _returned(task: ImageTask, reason: Reason) -> ImageReturned:
    return ImageReturned(image=task.image, digest=task.digest, reason=reason)
