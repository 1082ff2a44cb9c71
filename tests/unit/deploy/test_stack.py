"""Why a stack did not come up is said in a sentence."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from deploy.home import Home
from deploy.stack import _reasons, last_fault, require_port
from handlers.api.views import NotReady, ReadinessView
from schemas.errors import BadSettings
from schemas.settings import Settings


def test_what_is_missing_is_named() -> None:
    """The body of /readyz becomes a sentence; a foreign body does not become a traceback."""
    view = ReadinessView(ready=False, not_ready=(NotReady(name="worker", code="queue_unavailable", detail="no worker yet"),))

    assert "worker: no worker yet" == _reasons(view.model_dump_json().encode())
    for foreign in (b"", b"<html>", b"[]", b'{"not_ready": [1]}'):
        assert "not ready" == _reasons(foreign)


def test_a_taken_port_is_told() -> None:
    """Another server on our port would answer in our place: it is noticed before anything starts."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = Settings(api_port=other.getsockname()[1])
        with pytest.raises(BadSettings, match="cannot listen"):
            require_port(settings)
    require_port(settings)


def test_the_newest_fault_of_a_process_is_told(tmp_path: Path) -> None:
    """The last reason why a process could not start is found in its log, among other lines."""
    home = Home(path=tmp_path)
    home.logs.mkdir()
    lines = [
        "plain text",
        json.dumps({"event": "cannot_start", "detail": "old", "timestamp": "2026-01-01"}),
        json.dumps({"event": "cannot_start", "detail": "AQUATINT_MODEL: no such folder", "timestamp": "2026-01-02"}),
        json.dumps({"event": "accepted", "timestamp": "2026-01-03"}),
    ]
    (home.logs / "worker-1.log").write_text("\n".join(lines))

    assert "worker-1: AQUATINT_MODEL: no such folder" == last_fault(home)
    (home.logs / "worker-1.log").write_text("")
    assert "" == last_fault(home)
