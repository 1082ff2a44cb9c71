"""The embedded stack under test: real processes, a receiver that verifies, and what must be true at the end."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from sqlalchemy import text

from deploy.compose import Parts
from deploy.environment import load_settings
from deploy.home import prepare_home
from deploy.stack import free_port, start_stack, wait_until_ready
from deploy.supervisor import Supervisor
from handlers.webhooks.receiver import receiver
from schemas.outcome import ImageRendered
from schemas.receipt import Receipt
from schemas.settings import Settings
from schemas.states import TERMINAL, ImageState

#: Only against hanging; a slow machine takes its time.
PATIENCE_SECONDS = 280.0


class Stack:
    """A running stack with its receiver."""

    def __init__(self, settings: Settings, supervisor: Supervisor, url: str, inbox: Path) -> None:
        self.settings, self.supervisor, self.url, self.inbox = settings, supervisor, url, inbox
        self.api = f"http://{settings.api_host}:{settings.api_port}"
        self.parts = Parts(settings=settings)
        self.kills: Counter[str] = Counter()

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        """POST until somebody answers: the API may just have been killed."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                answer = httpx.post(self.api + path, content=json.dumps(body), headers={"content-type": "application/cloudevents+json", **headers}, timeout=30)
                if answer.status_code < 500:
                    return answer
            except httpx.HTTPError:
                pass
            assert time.monotonic() < deadline, "the API did not come back"
            time.sleep(0.1)

    def event(self, number: int, prompt: str, **more: Any) -> dict[str, Any]:
        data = {"prompt": prompt, "webhook": {"url": self.url, "events": ["job.completed", "image.rendered"]}, **more}
        return {
            "specversion": "1.0",
            "id": f"event-{number}",
            "source": "/tests/shop",
            "type": "io.aquatint.generation.requested",
            "data": data,
        }

    def drop(self, name: str, content: str) -> None:
        """Put a manifest into the watched folder, whole."""
        uploads = Path(self.settings.resolved_uploads_store)
        uploads.mkdir(parents=True, exist_ok=True)
        draft = uploads / f".{name}.part"
        draft.write_text(content, encoding="utf-8")
        draft.rename(uploads / name)

    def kill_one(self, chooser: random.Random) -> None:
        """SIGKILL a process of the stack, chosen at random."""
        running = sorted(self.supervisor.pids().items())
        if running:
            name, pid = chooser.choice(running)
            try:
                os.kill(pid, signal.SIGKILL)
                self.kills[name.split("-")[0]] += 1
            except ProcessLookupError:
                pass

    def rows(self, sql: str) -> list[Any]:
        with self.parts.ledger.read() as conn:
            return list(conn.execute(text(sql)))

    def settled(self, images: int) -> bool:
        """All images ended, no batch open, no webhook owed."""
        ended = ", ".join(f"'{state}'" for state in TERMINAL)
        (found,) = self.rows(
            f"""SELECT (SELECT count(*) FROM image WHERE state IN ({ended})) AS ended,
                       (SELECT count(*) FROM batch WHERE phase <> 'ended') AS open,
                       (SELECT count(*) FROM delivery WHERE state = 'pending') AS owed"""
        )
        return bool(found.ended == images and not found.open and not found.owed)

    def wait_until_settled(self, images: int) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.settled(images):
            assert time.monotonic() < deadline, self.describe()
            time.sleep(0.2)

    def describe(self) -> str:
        states = self.rows("SELECT state, count(*) FROM image GROUP BY state")
        deliveries = self.rows("SELECT state, count(*) FROM delivery GROUP BY state")
        return f"images {states}, deliveries {deliveries}, kills {dict(self.kills)}, restarts {self.supervisor.restarts()}"


@contextmanager
def running_stack(home: Path, **settings: str) -> Iterator[Stack]:
    """A stack in `home` with short leases; everything ends with the block."""
    with ExitStack() as ending:
        base = load_settings({"AQUATINT_HOME": str(home), **settings}, None)
        secret = Parts(settings=base).secrets_of("default")
        inbox = home / "inbox.jsonl"
        url = ending.enter_context(receiver(secret, "127.0.0.1", 0, inbox))
        port = url.rsplit(":", 1)[1].strip("/")
        variables = {
            "AQUATINT_HOME": str(home),
            "AQUATINT_API_PORT": str(free_port("127.0.0.1")),
            "AQUATINT_WEBHOOK_ALLOW": f"127.0.0.1/32:{port}",
            "AQUATINT_UPLOAD_WEBHOOK_URL": url,
            "AQUATINT_UPLOAD_WEBHOOK_EVENTS": "batch.completed,image.rendered",
            "AQUATINT_HEARTBEAT_SECONDS": "1",
            **settings,
        }
        final = load_settings(variables, None)
        supervisor = start_stack(final, prepare_home(final))
        ending.callback(supervisor.stop)
        wait_until_ready(final, supervisor, prepare_home(final))
        watcher = threading.Thread(target=supervisor.watch, daemon=True)
        watcher.start()
        stack = Stack(final, supervisor, url, inbox)
        ending.callback(stack.parts.ledger.close)
        yield stack


def check_everything(stack: Stack, images: int) -> None:
    """Each promise, looked up in the ledger, the bucket and the receiver's file."""
    check_pictures(stack, images)
    check_counters(stack)
    check_webhooks(stack)


def check_pictures(stack: Stack, images: int) -> None:
    """Every image ended; each digest is stored once, whole, as its receipt says, and nothing else lies there."""
    rows = stack.rows("SELECT id, digest, state, result FROM image")
    assert images == len(rows)
    assert {row.state for row in rows} <= {ImageState.RENDERED, ImageState.FAILED}, stack.describe()
    rendered = {row.digest: ImageRendered.model_validate_json(row.result).stored for row in rows if row.state == ImageState.RENDERED}
    store = stack.parts.results
    for digest, stored in rendered.items():
        data = store.get(stored.key)
        receipt = Receipt.model_validate_json(store.get(stored.receipt_key))
        assert hashlib.sha256(data).hexdigest() == stored.sha256 == receipt.image_sha256
        assert digest == receipt.digest == receipt.spec.digest
        Image.open(io.BytesIO(data)).load()
    keys = [entry.key for entry in store.list("images/")]
    assert len(keys) == len({key.split("/")[-1].split(".")[0] for key in keys}), "a digest was stored twice"
    assert {stored.key for stored in rendered.values()} <= set(keys)
    # A picture whose worker died before its receipt may stand alone; a receipt never does.
    receipts = {entry.key.split("/")[-1].removesuffix(".json") for entry in store.list("receipts/")}
    assert receipts <= {key.split("/")[-1].split(".")[0] for key in keys}


def check_counters(stack: Stack) -> None:
    """Counters of jobs and batches equal a recount of their images."""
    for table in ("job", "batch"):
        wrong = stack.rows(
            f"""SELECT t.id FROM {table} AS t WHERE
                  t.total <> (SELECT count(*) FROM image WHERE image.{table} = t.id)
                  OR t.rendered <> (SELECT count(*) FROM image WHERE image.{table} = t.id AND state = 'rendered')
                  OR t.failed <> (SELECT count(*) FROM image WHERE image.{table} = t.id AND state = 'failed')"""
        )
        assert [] == wrong


def check_webhooks(stack: Stack) -> None:
    """Every webhook owed has arrived, verified, under its one id; each job and batch told once that it ended."""
    owed = {row.id: row for row in stack.rows("SELECT id, type, about, state FROM delivery")}
    heard = [json.loads(line) for line in stack.inbox.read_text().splitlines()]

    assert {row.state for row in owed.values()} == {"delivered"}
    assert set(owed) == {line["id"] for line in heard}
    assert len(heard) == len({line["id"] for line in heard})  # the receiver keeps repeats of an id apart
    summaries = Counter((row.type, row.about) for row in owed.values() if row.type.endswith(".completed"))
    told = {about for (_, about) in summaries}
    assert set(summaries.values()) == {1}
    assert {row.id for row in stack.rows("SELECT id FROM batch")} <= told
    assert {row.id for row in stack.rows("SELECT id FROM job WHERE batch IS NULL")} <= told
