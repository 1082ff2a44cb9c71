"""The command line's side of the HTTP API."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from schemas.errors import AquatintError, BadInput, MalformedJson, NotFound, QueueUnavailable
from schemas.ids import is_id
from schemas.settings import Settings

ENDED = frozenset({"completed", "partial", "failed", "blocked", "canceled"})
_COLLECTIONS = {"job": "jobs", "bat": "batches", "img": "images", "fin": "finetunes"}


def submit_event(settings: Settings, path: Path, out: Console, *, wait: bool) -> int:
    """POST a CloudEvent; prints what it became. Returns 1 when a waited-for job did not complete."""
    body = sys.stdin.buffer.read() if str(path) == "-" else _read(path)
    try:
        json.loads(body)
    except ValueError as error:
        raise MalformedJson(f"{path} is not JSON: {error}") from None
    accepted = call(settings, "POST", "/v1/events", content=body, headers={"content-type": "application/cloudevents+json"})
    out.print_json(json.dumps(accepted))
    if not wait:
        return 0
    ended = _wait(settings, str(accepted["id"]))
    out.print_json(json.dumps(ended))
    return 0 if ended["state"] == "completed" else 1


def show_status(settings: Settings, identity: str, out: Console) -> None:
    """GET a job, batch, image or fine-tune by its id."""
    out.print_json(json.dumps(call(settings, "GET", _path(identity))))


def _path(identity: str) -> str:
    kind = identity.partition("_")[0]
    if not is_id(identity) or kind not in _COLLECTIONS:
        raise BadInput(f"{identity!r} is not the id of a job (job_...), batch (bat_...), image (img_...) or fine-tune (fin_...)")
    return f"/v1/{_COLLECTIONS[kind]}/{identity}"


def _wait(settings: Settings, identity: str) -> dict[str, Any]:
    while True:
        found = call(settings, "GET", _path(identity))
        if found.get("state") in ENDED or _waits_for_reviewers(found):
            return found
        time.sleep(0.3)


def _waits_for_reviewers(job: dict[str, Any]) -> bool:
    """Whether all that is left of a job is held, which may take days."""
    counts = dict(job.get("counts", {}))
    ended = sum(counts.get(name, 0) for name in ("rendered", "blocked", "failed", "canceled", "expired"))
    held = int(counts.get("held", 0))
    return held > 0 and ended + held == counts.get("total")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFound(f"{path}: {error.strerror}") from None


def call(settings: Settings, method: str, path: str, *, token: str | None = None, **options: Any) -> dict[str, Any]:
    """The JSON answer of the API; by default called with a tenant's token. An answer that is a problem is raised as one."""
    base = f"http://{settings.api_host}:{settings.api_port}"
    headers = dict(options.pop("headers", {}))
    if token is None:
        token = next(iter(settings.api_tokens), "")
    if token:
        headers["authorization"] = f"Bearer {token}"
    try:
        answer = httpx.request(method, base + path, headers=headers, timeout=30, **options)
    except httpx.HTTPError:
        raise QueueUnavailable(f"no Aquatint answers at {base}: start it with `aquatint up`") from None
    found: dict[str, Any] = answer.json()
    if answer.is_error:
        raise _told(found)
    return found


def _told(body: dict[str, Any]) -> AquatintError:
    return AquatintError(str(body.get("detail", "refused")), field=body.get("field"), limit=body.get("limit"), row=body.get("row"))
