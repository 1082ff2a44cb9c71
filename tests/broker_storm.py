"""A process that publishes, or consumes, numbered messages until it is killed, writing down what it is sure of."""

from __future__ import annotations

import json
import os
import sys

from storage.broker import topology
from storage.broker.connection import BrokerSettings
from storage.broker.consumer import Consumer
from storage.broker.publisher import Outgoing, Publisher


def publish(broker: BrokerSettings, log: int, first: int) -> None:
    queue = topology.outcomes(broker)
    publisher = Publisher(broker, queue)
    for number in range(first, first + 10**6):
        publisher.publish(Outgoing(queue=queue.name, body=json.dumps({"number": number})))
        os.write(log, f"{number}\n".encode())


def consume(broker: BrokerSettings, log: int) -> None:
    consumer = Consumer(broker, topology.outcomes(broker), prefetch=20)
    while True:
        deliveries = consumer.drain(20, timeout=1)
        os.write(log, "".join(f"{json.loads(delivery.body)['number']}\n" for delivery in deliveries).encode())
        consumer.ack(deliveries)  # written down above


def main(role: str, url: str, lease_seconds: str, path: str, first: str) -> None:
    broker = BrokerSettings(url=url, lease_seconds=float(lease_seconds))
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    if role == "publish":
        publish(broker, log, int(first))
    consume(broker, log)


if __name__ == "__main__":
    main(*sys.argv[1:])
