"""Reports over HTTPS, for workers that can reach our API but not our broker."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx

from schemas.errors import BadSettings, QueueUnavailable
from schemas.outcome import Report
from storage.broker.connection import Backoff
from storage.report_signature import SIGNATURE_HEADER, TIMESTAMP_HEADER, sign


class HttpReporter:
    """Posts each report, signed, and returns when the API has answered that it is kept. Thread-safe."""

    def __init__(
        self,
        url: str,
        secret: bytes,
        *,
        client: httpx.Client | None = None,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not secret:
            raise BadSettings("reports over HTTPS need a secret to sign them with")
        self._url, self._secret, self._clock = url, secret, clock
        self._client = client or httpx.Client(timeout=30.0, follow_redirects=False)
        self._backoff = backoff or Backoff(first_seconds=0.5, most_seconds=10.0, give_up_seconds=120.0)

    def report(self, report: Report) -> None:
        """Raises `QueueUnavailable` when the API stays away, `BadSettings` when it refuses our signature."""
        body, since, attempt = report.model_dump_json().encode(), time.monotonic(), 0
        while True:
            try:
                return self._post(body)
            except (httpx.TransportError, QueueUnavailable) as error:
                self._backoff.wait(attempt, since, error)
                attempt += 1

    def _post(self, body: bytes) -> None:
        now = int(self._clock())
        headers = {
            "content-type": "application/json",
            TIMESTAMP_HEADER: str(now),
            SIGNATURE_HEADER: sign(self._secret, now, body),
        }
        status = self._client.post(self._url, content=body, headers=headers).status_code
        if status in (401, 403):
            raise BadSettings(f"the API refuses this worker's signature (HTTP {status})")
        if not 200 <= status < 300:
            raise QueueUnavailable(f"the API answered HTTP {status}")
