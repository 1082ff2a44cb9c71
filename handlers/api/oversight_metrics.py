"""How reviews and tenants stand, read from the ledger when metrics are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from handlers.api.ports import Transactions
from schemas.errors import AquatintError
from storage.ledger import reviews, standing


class OversightGauges(Collector):
    """Open reviews, the age of the oldest, pictures kept until somebody says otherwise, and tenants in trouble."""

    def __init__(self, ledger: Transactions, clock: Callable[[], float]) -> None:
        self._ledger, self._clock = ledger, clock

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield from self._families()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            with self._ledger.read() as conn:
                counts, oldest = reviews.counts(conn), reviews.oldest(conn)
                troubled = standing.states(conn)
        except AquatintError:
            return  # a gap in the graph, and not a wrong value, while the ledger is away
        waiting, age, restricted, tenants = self._families()
        for state in ("open", "claimed"):
            waiting.add_metric([state], counts[state])
        age.add_metric([], 0.0 if oldest is None else max(0.0, self._clock() - oldest))
        restricted.add_metric([], counts["restricted"])
        for state in ("throttled", "suspended"):
            tenants.add_metric([state], troubled.get(state, 0))
        yield from (waiting, age, restricted, tenants)

    def _families(self) -> tuple[GaugeMetricFamily, ...]:
        return (
            GaugeMetricFamily("reviews", "Reviews that wait for a decision.", labels=["state"]),
            GaugeMetricFamily("review_oldest_seconds", "How long the oldest undecided review has waited."),
            GaugeMetricFamily(
                "quarantine_restricted", "Held pictures on the hard floor that nobody has discarded."
            ),
            GaugeMetricFamily("tenants_in_trouble", "Tenants throttled or suspended.", labels=["state"]),
        )
