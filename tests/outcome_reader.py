"""Reads what workers report."""

from __future__ import annotations

import time
from collections.abc import Callable

from pydantic import TypeAdapter

from schemas.outcome import Finished, Heartbeat, Outcome, Report, Started
from storage.broker import topology
from storage.broker.connection import BrokerSettings
from storage.broker.consumer import Consumer

REPORT: TypeAdapter[Report] = TypeAdapter(Report)
PATIENCE = 180.0


class OutcomeReader:
    """Collects every report from the outcomes queue of a broker."""

    def __init__(self, broker: BrokerSettings) -> None:
        self._consumer = Consumer(broker, topology.outcomes(broker))
        self.reports: list[Report] = []

    def read_until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, [
                report for report in self.reports if report.kind != "heartbeat"
            ]
            deliveries = self._consumer.drain(200, timeout=0.5)
            self.reports += [REPORT.validate_json(delivery.body) for delivery in deliveries]
            self._consumer.ack(deliveries)

    def wait_for_worker(self, worker_id: str) -> None:
        known = len(self.heartbeats)
        self.read_until(lambda: any(beat.worker == worker_id for beat in self.heartbeats[known:]))

    @property
    def started(self) -> list[Started]:
        return [report for report in self.reports if isinstance(report, Started)]

    @property
    def finished(self) -> list[Finished]:
        return [report for report in self.reports if isinstance(report, Finished)]

    @property
    def heartbeats(self) -> list[Heartbeat]:
        return [report for report in self.reports if isinstance(report, Heartbeat)]

    def outcomes_of(self, microbatch_id: str) -> list[Outcome]:
        return [
            each for report in self.finished if report.microbatch == microbatch_id for each in report.outcomes
        ]

    def close(self) -> None:
        self._consumer.close()
