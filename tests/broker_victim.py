"""A consumer process to be killed: acknowledges some messages, holds some, and says so on its output."""

from __future__ import annotations

import sys
import time

from storage.broker import topology
from storage.broker.connection import BrokerSettings
from storage.broker.consumer import Consumer


def main(url: str, prefix: str, lease_seconds: str, settled: str, held: str) -> None:
    settings = BrokerSettings(url=url, queue_prefix=prefix, lease_seconds=float(lease_seconds))
    consumer = Consumer(settings, topology.outcomes(settings))
    deliveries = []
    while len(deliveries) < int(settled) + int(held):
        deliveries += consumer.drain(int(settled) + int(held) - len(deliveries), timeout=5)
    consumer.ack(deliveries[: int(settled)])
    print("holding", flush=True)
    time.sleep(3600)


if __name__ == "__main__":
    main(*sys.argv[1:])
