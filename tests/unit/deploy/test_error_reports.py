"""Error reports reach Sentry, without what must stay here."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

PROGRAM = """
import sys, structlog, sentry_sdk
from deploy.observability import configure_logging, start_error_reports
from schemas.settings import Settings
settings = Settings.model_validate({"sentry_dsn": sys.argv[1], "environment": "proving"})
configure_logging(settings, "worker")
start_error_reports(settings, "worker")
prompt = "canary-7f3a prompt"
try:
    raise RuntimeError("GET https://bucket/x?X-Amz-Signature=canary-7f3a failed")
except RuntimeError:
    structlog.get_logger("aquatint").exception("render_failed", prompt=prompt, image="img_1")
    sentry_sdk.capture_exception()
sentry_sdk.flush(20)
"""


def test_a_process_reports_its_errors_and_nothing_else(tmp_path: Path) -> None:
    """With a DSN set an exception is reported with process and environment; prompts and links are not in it."""
    bodies: list[bytes] = []

    class Sink(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            bodies.append(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Sink) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        dsn = f"http://key@127.0.0.1:{server.server_port}/1"
        done = subprocess.run([sys.executable, "-c", PROGRAM, dsn], cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=120, check=False)
        server.shutdown()
    told = b"".join(bodies).decode()

    assert 0 == done.returncode, done.stderr
    assert "RuntimeError" in told
    assert '"environment":"proving"' in told.replace(": ", ":")
    assert "worker" in told
    assert "canary-7f3a" not in told
    assert "canary-7f3a" not in done.stderr
