"""One question to a JSON service: a deadline, one retry, a bounded answer, no redirects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx

from safety.guards.port import GuardFault

ATTEMPTS = 2
_MAX_RESPONSE_BYTES = 1 << 20
_TRY_AGAIN = frozenset({408, 409, 425, 429})


class JsonService:
    """A service below one address. Errors name the service and a status, never what was sent or answered."""

    def __init__(
        self,
        name: str,
        url: str,
        *,
        key: str = "",
        timeout_seconds: float = 2.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._name, self._url = name, url.rstrip("/")
        # The environment's proxies and credentials are not this service's: only what was configured is used.
        self._client = httpx.Client(
            headers=headers,
            timeout=timeout_seconds,
            follow_redirects=False,
            transport=transport,
            trust_env=False,
        )

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON answer; GuardFault after the second failure, or at once for a refusal."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                status, data = self._posted(f"{self._url}/{path}", body)
            except httpx.HTTPError as error:
                if attempt == ATTEMPTS:
                    raise GuardFault(f"{self._name}: {type(error).__name__}") from None
                continue
            if status == 200:
                return self._parsed(data)
            if attempt == ATTEMPTS or not (status >= 500 or status in _TRY_AGAIN):
                raise GuardFault(f"{self._name}: status {status}")
        raise AssertionError("unreachable")

    def _posted(self, url: str, body: Mapping[str, Any]) -> tuple[int, bytes]:
        with self._client.stream("POST", url, json=body) as response:
            data = bytearray()
            for part in response.iter_bytes():
                data += part
                if len(data) > _MAX_RESPONSE_BYTES:
                    raise GuardFault(f"{self._name}: the answer is too long")
            return response.status_code, bytes(data)

    def _parsed(self, data: bytes) -> Any:
        try:
            return json.loads(data)
        except ValueError:
            raise GuardFault(f"{self._name}: the answer is not JSON") from None
