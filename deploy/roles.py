"""What each process of the stack runs."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import structlog

from deploy.compose import Parts
from deploy.crew import JOIN_SECONDS, Crew
from deploy.erasing import privacy_sweeps
from deploy.observability import configure_logging, redactor_of, start_error_reports
from deploy.oversight import note_policies, oversight_sweeps
from deploy.supervisor import GRACE_SECONDS, end_with_parent
from schemas.errors import AquatintError, BadInput, NotFound, OperatorError, Temporary
from schemas.ids import new_id
from schemas.object_event import ObjectCreated
from schemas.settings import Settings

if TYPE_CHECKING:
    from handlers.sweeps import Sweep
    from storage.dispatch import Dispatcher
    from storage.upload_source import UploadMessage, UploadSource

log = structlog.get_logger(__name__)

#: Longest wait for an upload before the loop looks whether it should end.
RECEIVE_SECONDS = 0.5
#: Pause before an upload that could not be recorded comes again.
RETRY_SECONDS = 2.0


def run_role(role: str, settings: Settings) -> None:
    """Run one process until SIGTERM; exits the interpreter with its code."""
    if role not in ROLES:
        raise BadInput(f"there is no role {role!r}; choose one of {', '.join(ROLES)}", field="role", limit=list(ROLES))
    parts = Parts(settings=settings)
    redactor = redactor_of(settings, _log_key(parts))
    configure_logging(settings, role, redactor=redactor)
    start_error_reports(settings, role, redactor=redactor)
    end_with_parent()
    try:
        code = ROLES[role](parts)
    except AquatintError as error:
        log.error("cannot_start", code=error.code, detail=str(error), actor=error.actor)
        code = 1
    except Exception:
        log.exception("process_failed")
        code = 1
    sys.exit(code)


def _log_key(parts: Parts) -> bytes | None:
    """None where there is no secret yet; what is wrong with it is told when the process starts its work."""
    try:
        return parts.secret
    except AquatintError:
        return None


def serve_embedded(parts: Parts) -> int:
    """API, intake and recorder as threads of one process: what a single machine needs."""
    crew = Crew()
    _add_intake(crew, parts)
    crew.add("recorder", _recorder_loop(parts))
    return _serve_api(crew, parts)


def serve_api(parts: Parts) -> int:
    return _serve_api(Crew(), parts)


def serve_intake(parts: Parts) -> int:
    crew = Crew()
    crew.handle_signals()
    _add_intake(crew, parts)
    return crew.wait()


def serve_recorder(parts: Parts) -> int:
    return _serve_loop("recorder", _recorder_loop(parts))


def serve_releaser(parts: Parts) -> int:
    from handlers.estimates import model_of
    from handlers.release_params import ReleaserParams
    from handlers.releaser import Releaser, run_releaser
    from storage.broker.publisher import Publisher
    from storage.dispatch import CeleryDispatcher
    from storage.ledger.costs import Cost

    beat, offer = parts.settings.heartbeat_seconds, parts.offer
    params = ReleaserParams(images_most=parts.settings.microbatch, lease_seconds=3 * beat, unlisted_seconds=6 * beat)
    prior = Cost(offer.fixed_seconds, offer.seconds_per_image)
    crew = Crew()
    crew.handle_signals()
    dispatcher = _modal_dispatcher(crew, parts) if parts.settings.dispatch == "modal" else CeleryDispatcher(Publisher(parts.broker))
    priors = {model_of(f"{offer.name}@{offer.digest[:12]}/"): prior}
    releaser = Releaser(parts.ledger, dispatcher, params=params, priors=priors)
    crew.add("releaser", partial(run_releaser, releaser, parts.ledger))
    return crew.wait()


def _modal_dispatcher(crew: Crew, parts: Parts) -> Dispatcher:
    """Modal's containers, with a loop that speaks for those that do not exist yet."""
    from deploy.modal_dispatch import ModalDispatcher, ModalPresence, deployed
    from deploy.modal_settings import ModalSettings
    from storage.broker.publisher import Publisher
    from storage.broker.topology import outcomes
    from workers.ports import BrokerReporter

    modal, offer, reports = ModalSettings(), parts.offer, outcomes(parts.broker)
    dispatcher = ModalDispatcher(deployed(modal))
    presence = ModalPresence(
        dispatcher,
        BrokerReporter(Publisher(parts.broker, reports), reports.name),
        models={offer.name: offer.digest},
        containers=modal.max_containers,
        seconds=parts.settings.heartbeat_seconds,
    )

    def speak(stop: threading.Event) -> None:
        presence.start()
        stop.wait()
        presence.close()

    crew.add("modal-presence", speak)
    return dispatcher


def serve_worker(parts: Parts) -> int:
    from workers.main import WorkerConfig, run_worker
    from workers.worker import WorkerSettings

    settings = parts.settings
    worker = WorkerSettings(
        worker_id=new_id("wrk"),
        heartbeat_seconds=settings.heartbeat_seconds,
        threads=settings.worker_threads,
        grace_seconds=GRACE_SECONDS / 2,  # it must be done before its supervisor loses patience
    )
    config = WorkerConfig(
        broker=parts.broker,
        worker=worker,
        stores=parts.results_of,
        screen=parts.output_screen,
        way_out=parts.way_out,
        inputs=parts.input_reader,
        renderer=parts.renderer,
    )
    return run_worker(config)


def serve_trainer(parts: Parts) -> int:
    from workers.trainer import TrainerSettings
    from workers.trainer_main import TrainerConfig, run_trainer

    tuner = parts.tuner()
    # The libraries of the [train] extra would draw progress bars between the JSON lines of the log.
    os.environ.setdefault("TQDM_DISABLE", "1")
    trainer = TrainerSettings(
        trainer_id=new_id("trn"),
        scratch=parts.home.path / "scratch",
        heartbeat_seconds=parts.settings.heartbeat_seconds,
        grace_seconds=JOIN_SECONDS - 3,  # it must have left before its crew loses patience
    )
    config = TrainerConfig(
        broker=parts.broker, trainer=trainer, stores=parts.brand_stores, tuner=tuner
    )
    return _serve_loop("trainer", partial(run_trainer, config))


def serve_webhooks(parts: Parts) -> int:
    from handlers.webhooks.dispatcher import Dispatcher
    from handlers.webhooks.sender import Sender

    dispatcher = Dispatcher(ledger=parts.ledger, send=Sender(guard=parts.guard).send, secrets=parts.secrets_of)
    return _serve_loop("webhooks", dispatcher.run)


def _serve_loop(name: str, loop: Callable[[threading.Event], None]) -> int:
    crew = Crew()
    crew.handle_signals()
    crew.add(name, loop)
    return crew.wait()


def _add_intake(crew: Crew, parts: Parts) -> None:
    from handlers.finisher import Finisher, run_finisher
    from handlers.manifest_planner import ManifestPlanner, run_manifest_planner
    from storage.objects.location import refuse_loop

    refuse_loop(uploads=parts.settings.resolved_uploads_store, results=parts.settings.resolved_results_store)
    parts.results.probe()  # a store without permission is found out now, not with the first picture
    parts.restricted.probe()
    note_policies(parts)
    planner = ManifestPlanner(
        ledger=parts.ledger,
        planner=parts.planner,
        recipes=parts.recipes,
        stores={parts.uploads.bucket: parts.uploads},
    )
    finisher = Finisher(parts.ledger, parts.results_of)
    source = _upload_source(parts)
    if source is not None:
        crew.add("uploads", partial(_accept_uploads, parts, source))
    crew.add("planner", partial(run_manifest_planner, planner, parts.ledger))
    crew.add("finisher", partial(run_finisher, finisher, parts.ledger))
    crew.add("finetune-releaser", _finetune_releaser_loop(parts))
    crew.add("sweeps", _sweeps_loop(parts))


def _finetune_releaser_loop(parts: Parts) -> Callable[[threading.Event], None]:
    from handlers.finetune_releaser import FinetuneReleaser, FinetuneReleaserParams, run_finetune_releaser
    from storage.broker.publisher import Publisher
    from storage.finetune_dispatch import QueueFinetuneDispatcher

    beat = parts.settings.heartbeat_seconds
    params = FinetuneReleaserParams(lease_seconds=3 * beat, unlisted_seconds=6 * beat)
    dispatcher = QueueFinetuneDispatcher(Publisher(parts.broker))
    return partial(run_finetune_releaser, FinetuneReleaser(parts.ledger, dispatcher, params=params), parts.ledger)


def _sweeps_loop(parts: Parts) -> Callable[[threading.Event], None]:
    from handlers.sweeps import Sweeper, run_sweeps

    return partial(run_sweeps, Sweeper(list(_sweeps(parts))), parts.ledger)


def _sweeps(parts: Parts) -> Iterator[Sweep]:
    """Everything that happens now and then; each runs in one process of the installation."""
    from handlers.sweeps import Sweep
    from storage.ledger import idempotency

    def purge_answers(now: float) -> int:
        with parts.ledger.begin(wake=False) as conn:
            idempotency.purge(conn, now)
        return 0

    yield Sweep(name="idempotency", every_seconds=3600, run=purge_answers)
    yield from oversight_sweeps(parts)
    yield from privacy_sweeps(parts)
    yield Sweep(name="kept-inputs", every_seconds=3600, run=parts.input_cleaner.sweep)


def _recorder_loop(parts: Parts) -> Callable[[threading.Event], None]:
    from handlers.recorder import Recorder, RecorderParams, run_recorder
    from storage.broker.consumer import Consumer
    from storage.broker.topology import outcomes

    beat = parts.settings.heartbeat_seconds
    recorder = Recorder(parts.ledger, params=RecorderParams(lease_seconds=3 * beat, terms=parts.review_terms))
    return partial(run_recorder, recorder, Consumer(parts.broker, outcomes(parts.broker)))


def _accept_uploads(parts: Parts, source: UploadSource, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            messages = source.receive(RECEIVE_SECONDS)
        except AquatintError as error:
            log.error("uploads_wait", code=error.code, actor=error.actor)
            stop.wait(2.0)
            continue
        for message in messages:
            _accept_upload(parts, message)
    source.close()


def _upload_source(parts: Parts) -> UploadSource | None:
    """None when uploads are told of by pushes to our API alone."""
    settings = parts.settings
    if settings.uploads_queue_url:
        from storage.sqs_source import SqsSource, connect

        return SqsSource(settings.uploads_queue_url, connect(settings.uploads_queue_url, region=settings.s3_region or None))
    from storage.objects.directory import DirectoryStore
    from storage.upload_watch import DirectoryWatch

    return DirectoryWatch(parts.uploads) if isinstance(parts.uploads, DirectoryStore) else None


def _accept_upload(parts: Parts, message: UploadMessage) -> None:
    if message.ignored:
        log.info("upload_ignored", message=message.id, reasons=message.ignored)
    try:
        for event in message.events:
            _accept_object(parts, event)
    except (Temporary, OperatorError) as error:
        # Nothing is wrong with the upload: it comes again, and what was recorded is recognised.
        log.warning("upload_postponed", message=message.id, code=error.code)
        message.retry_later(RETRY_SECONDS)
        return
    message.ack()  # every batch is committed


def _accept_object(parts: Parts, event: ObjectCreated) -> None:
    from handlers.api.trace import new_traceparent

    try:
        # A store's notification carries no trace: it begins here.
        accepted = parts.intake.object_created(event, parts.settings.upload_tenant, traceparent=new_traceparent())
    except (BadInput, NotFound) as error:
        # No repeat would change it; a manifest that cannot be read is a committed batch that carries its own error.
        log.warning("upload_refused", code=error.code)
        return
    if accepted.kind == "ignored":
        log.info("upload_ignored", bucket=event.bucket)


def _serve_api(crew: Crew, parts: Parts) -> int:
    import uvicorn

    from deploy.api_deps import api_deps
    from handlers.api.app import make_api

    settings = parts.settings
    app = make_api(api_deps(parts, crew))
    config = uvicorn.Config(
        app, host=settings.api_host, port=settings.api_port, log_config=None, access_log=False, server_header=False
    )
    server = uvicorn.Server(config)

    def end() -> None:
        server.should_exit = True

    crew.on_stop = end
    if crew.stop.is_set():  # a loop failed before the server was there to be told
        return crew.join()
    server.run()  # handles SIGTERM and SIGINT itself
    code = crew.join()
    return code if server.started else 1


ROLES: dict[str, Callable[[Parts], int]] = {
    "embedded": serve_embedded,
    "api": serve_api,
    "intake": serve_intake,
    "recorder": serve_recorder,
    "releaser": serve_releaser,
    "worker": serve_worker,
    "trainer": serve_trainer,
    "webhooks": serve_webhooks,
}

