"""`aquatint run MANIFEST`: the whole way of one product list, on this machine, with everything real."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from rich.console import Console

from deploy.batch_view import BatchView
from deploy.compose import Parts
from deploy.contact_entry import Entry
from deploy.contact_sheet import write_sheet
from deploy.home import Home, prepare_home, sole_stack
from deploy.progress import Progress, Standing
from deploy.stack import Interruption, free_port, log_beside, start_stack, wait_until_ready, with_port
from deploy.supervisor import Supervisor
from handlers.webhooks.receiver import Received, receiver
from schemas.errors import BadInput, NotFound
from schemas.request import WebhookEvent
from schemas.settings import Settings

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
#: The demo's own receiver listens here; the allow-list names exactly this address and port.
LOOPBACK = "127.0.0.1"
LOOK_SECONDS = 0.15


@dataclass
class Heard:
    """What the receiver has verified."""

    verified: int = 0
    repeats: int = 0

    def __call__(self, received: Received) -> None:
        self.repeats += received.repeat
        self.verified += not received.repeat


def run_manifest(settings: Settings, manifest: Path, out: Console, *, keep: bool) -> int:
    """0 when every image was rendered and every webhook verified, else 1; typed errors for a bad argument."""
    _check(manifest)
    home, started = prepare_home(settings), time.monotonic()
    run = home.runs / datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    with ExitStack() as ending:
        ending.enter_context(sole_stack(home))
        ending.enter_context(log_beside(home, settings))
        run.mkdir(parents=True)
        heard, interruption = Heard(), Interruption()
        settings, url = _listen(settings, run, heard, ending)
        supervisor = start_stack(settings, home)
        ending.callback(supervisor.stop)
        out.print("starting the stack: intake, releaser, worker, webhooks ...")
        wait_until_ready(settings, supervisor, home, lambda: not interruption.happened)
        parts = Parts(settings=settings)
        key = _drop(Path(settings.resolved_uploads_store), manifest, run.name)
        out.print(f"dropped {manifest.name} into {settings.resolved_uploads_store}")
        view = BatchView(parts.ledger, tenant=settings.upload_tenant, bucket=parts.uploads.bucket, key=key, webhook_url=url)
        ending.callback(parts.ledger.close)
        standing = _watch(view, supervisor, interruption, out)
        if interruption.happened:
            out.print("interrupted; what was accepted continues at the next start")
            return 130
        code = _summarise(view, standing, heard, parts, run, time.monotonic() - started, out)
        _keep_running(settings, home, supervisor, interruption, out) if keep else None
    return code


def _check(manifest: Path) -> None:
    if not manifest.is_file():
        raise NotFound(f"there is no file {manifest}")
    if manifest.suffix.lower() not in SUFFIXES:
        raise BadInput(f"{manifest.name} is not a manifest: use one of {', '.join(SUFFIXES)}")


def _listen(settings: Settings, run: Path, heard: Heard, ending: ExitStack) -> tuple[Settings, str]:
    """Start the receiver; settings that report to it, and let webhooks reach exactly this address."""
    if settings.uploads_store or settings.uploads_queue_url:
        raise BadInput("`aquatint run` drops the list into a watched folder: leave AQUATINT_UPLOADS_STORE empty")
    settings = with_port(settings.model_copy(update={"api_port": free_port(LOOPBACK)}))
    secret = Parts(settings=settings).secrets_of(settings.upload_tenant)
    url = ending.enter_context(receiver(secret, LOOPBACK, 0, run / "webhooks.jsonl", heard))
    port = int(url.rsplit(":", 1)[1].strip("/"))
    events: tuple[WebhookEvent, ...] = ("image.rendered", "image.blocked", "image.failed", "batch.completed")
    assert set(events) <= set(get_args(WebhookEvent))
    changes = {
        "upload_webhook_url": url,
        "upload_webhook_events": events,
        "webhook_allow": (*settings.webhook_allow, f"{LOOPBACK}/32:{port}"),
    }
    return settings.model_copy(update=changes), url


def _drop(uploads: Path, manifest: Path, run: str) -> str:
    """Copy the list into the watched folder as a whole: readers see it complete or not at all. Its key."""
    folder = uploads / run
    folder.mkdir(parents=True, exist_ok=True)
    draft, final = folder / f".{manifest.name}.part", folder / manifest.name
    shutil.copyfile(manifest, draft)
    draft.replace(final)
    return f"{run}/{manifest.name}"


def _watch(view: BatchView, supervisor: Supervisor, interruption: Interruption, out: Console) -> Standing:
    """Show progress until the batch has ended and its webhooks have arrived, or somebody interrupts."""
    standing, done = view.look()
    with Progress(console=out) as progress:

        def look() -> bool:
            nonlocal standing, done
            standing, done = view.look()
            progress.show(standing)
            return not (done or interruption.happened)

        supervisor.watch(look, tick_seconds=LOOK_SECONDS)
    return standing


def _summarise(
    view: BatchView, standing: Standing, heard: Heard, parts: Parts, run: Path, seconds: float, out: Console
) -> int:
    entries = list(view.entries(parts.results_of(parts.settings.upload_tenant)))
    facts = [*_facts(standing, view.reused(), heard, seconds), *_credentials(entries)]
    page, picture = write_sheet(run, "Aquatint contact sheet", facts, entries)
    for problem in view.problems():
        out.print(f"not accepted: {problem}")
    out.print()
    for fact in facts:
        out.print(f"  {fact}")
    out.print(f"  contact sheet  {page}")
    out.print(f"                 {picture}")
    return 0 if _all_well(standing, entries, heard, view) else 1


def _facts(standing: Standing, reused: int, heard: Heard, seconds: float) -> list[str]:
    fresh = standing.stored - reused
    made = f"{standing.stored} of {standing.total} images stored"
    if reused:
        made += f" ({reused} had been rendered before, under the same digest)"
    facts = [made]
    facts += [f"{standing.blocked} blocked"] if standing.blocked else []
    facts += [f"{standing.held} held for a reviewer: `aquatint review list`"] if standing.held else []
    facts += [f"{standing.failed} failed"] if standing.failed else []
    facts.append(f"{seconds:.1f} s from start to end, {fresh / seconds:.1f} images/s with the start of every process")
    facts.append(f"{heard.verified} of {standing.owed} webhooks verified" + (f", {heard.repeats} repeats" if heard.repeats else ""))
    return facts


def _credentials(entries: Sequence[Entry]) -> list[str]:
    """Counted from the stored files, not from what was meant to be written into them."""
    shown = [entry for entry in entries if entry.picture is not None]
    intact = sum(entry.intact for entry in shown)
    return [f"{intact} of {len(shown)} pictures marked as made by AI, signed and intact"] if shown else []


def _all_well(standing: Standing, entries: Sequence[Entry], heard: Heard, view: BatchView) -> bool:
    shown = all(entry.picture is not None for entry in entries)
    return bool(entries) and shown and standing.stored == standing.total and heard.verified == standing.owed and not view.problems()


def _keep_running(settings: Settings, home: Home, supervisor: Supervisor, interruption: Interruption, out: Console) -> None:
    out.print(f"still running: http://{settings.api_host}:{settings.api_port}, logs in {home.logs}; Ctrl-C ends it")
    supervisor.watch(lambda: not interruption.happened)
