"""What must not be in a log is not in it."""

from __future__ import annotations

import json
import logging

import pytest
import structlog

from deploy.observability import configure_logging, scrub
from deploy.redaction import SECRET_FIELDS, Redactor
from schemas.settings import Settings


@pytest.fixture
def logs(capsys: pytest.CaptureFixture[str]):
    root = logging.getLogger()
    before = root.handlers[:], root.level

    def start():
        # Inside the test, since pytest puts handlers of its own in place after the fixtures ran.
        configure_logging(Settings(log_level="debug"), "test")
        return lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    yield start
    root.handlers[:], root.level = before
    structlog.reset_defaults()


def test_lines_are_json_with_ids(logs) -> None:
    """Each line is one JSON object with level, time, process and the bound ids."""
    read = logs()
    with structlog.contextvars.bound_contextvars(job="job_1", trace="abc"):
        structlog.get_logger("aquatint").info("planned", images=3)
    line = read()[-1]

    assert ("planned", 3, "job_1", "abc", "test", "info") == tuple(
        line[k] for k in ("event", "images", "job", "trace", "process", "level")
    )
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize("field", sorted(SECRET_FIELDS))
def test_a_canary_reaches_no_log(logs, field: str) -> None:
    """Whoever logs a prompt, secret or link by its field name logs a mask."""
    read = logs()
    structlog.get_logger("aquatint").error("oops", **{field: "canary-7f3a"})
    logging.getLogger("library").error(
        "link https://h/x?expires=1&signature=canary-7f3a and amqp://user:canary-7f3a@host//"
    )
    text = json.dumps(read())

    assert "canary-7f3a" not in text
    assert "[redacted]" in text
    assert "[signed link]" in text


def test_tracebacks_are_masked_as_well(logs) -> None:
    """A secret inside an exception's text is masked where it is a link or a URL's password."""
    read = logs()
    try:
        raise RuntimeError("amqp://user:canary-7f3a@host")
    except RuntimeError:
        structlog.get_logger("aquatint").exception("failed")

    assert "canary-7f3a" not in json.dumps(read())


def test_error_reports_carry_no_request() -> None:
    """Bodies, extras and breadcrumb data stay here; links in exception texts are masked."""
    event = {
        "request": {"data": "canary"},
        "extra": {"sys.argv": ["canary"]},
        "breadcrumbs": {"values": [{"message": "m", "data": {"x": "canary"}}]},
        "exception": {"values": [{"value": "GET https://h/x?signature=canary failed"}]},
    }

    assert "canary" not in json.dumps(scrub(Redactor(b"k" * 32), event, {}))


def test_redaction_leaves_ordinary_fields() -> None:
    """Only secrets are masked."""
    line = {"event": "x", "images": 3, "job": "job_1", "ids": ["img_1"], "share": 0.5, "ok": True, "none": None}

    assert line == Redactor(b"k" * 32).event(line)
