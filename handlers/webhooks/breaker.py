"""Per-endpoint circuit breakers: an endpoint that keeps failing gets one probe at a time, ever more seldom."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BreakerParams:
    #: Consecutive failures after which an endpoint is left alone for a while.
    open_after_failures: int = 5
    #: The first pause, and the longest; each failed probe doubles it.
    first_pause_seconds: float = 30.0
    longest_pause_seconds: float = 3600.0


class Breakers:
    """What one process knows of its endpoints. Not thread-safe: only the dispatcher's own thread asks.

    The counts of failures come from the ledger with each claim, so a restarted process starts with half-open breakers
    and not with closed ones.
    """

    def __init__(self, params: BreakerParams) -> None:
        self._params = params
        self._failures: dict[str, int] = {}
        self._openings: dict[str, int] = {}
        self._probe_at: dict[str, float] = {}

    def open_until(self, endpoint: str, now: float) -> float | None:
        """When the endpoint may be probed, while that lies ahead."""
        probe_at = self._probe_at.get(endpoint, 0.0)
        return probe_at if probe_at > now else None

    def limit(self, endpoint: str, failures_in_ledger: int, per_endpoint: int) -> int:
        """How many attempts may run at once: one while it is half open."""
        failures = max(self._failures.get(endpoint, 0), failures_in_ledger)
        return 1 if failures >= self._params.open_after_failures else per_endpoint

    def failed(self, endpoint: str, failures_in_ledger: int, now: float) -> float | None:
        """Count a failure; when the breaker is open after it, the time of the next probe."""
        failures = max(self._failures.get(endpoint, 0), failures_in_ledger) + 1
        self._failures[endpoint] = failures
        already_open = self.open_until(endpoint, now)
        if failures < self._params.open_after_failures or already_open:
            # Attempts that were under way when it opened are one outage, and do not lengthen the pause.
            return already_open
        openings = self._openings.get(endpoint, 0)
        pause = min(
            self._params.first_pause_seconds * (1 << min(openings, 30)), self._params.longest_pause_seconds
        )
        self._openings[endpoint], self._probe_at[endpoint] = openings + 1, now + pause
        return now + pause

    def succeeded(self, endpoint: str) -> None:
        """Close the breaker."""
        for known in (self._failures, self._openings, self._probe_at):
            known.pop(endpoint, None)
