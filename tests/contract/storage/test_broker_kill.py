"""Nothing is lost when a process is killed while it holds messages."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from kombu import Queue

from storage.broker import topology
from storage.broker.connection import BrokerSettings
from storage.broker.consumer import Consumer
from storage.broker.publisher import Outgoing, Publisher
from storage.broker.sqlite_transport import url_of

ROOT = Path(__file__).parents[3]
VICTIM = ROOT / "tests" / "broker_victim.py"
PATIENCE = 180.0


@pytest.fixture(params=["sqlite", "rabbitmq"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> BrokerSettings:
    url = url_of(tmp_path / "queue.db") if request.param == "sqlite" else request.getfixturevalue("rabbitmq")
    return BrokerSettings(url=url, queue_prefix=f"{uuid.uuid4().hex}.", lease_seconds=2.0)


def start_victim(broker: BrokerSettings, settled: int, held: int) -> subprocess.Popen[str]:
    arguments = [broker.url, broker.queue_prefix, str(broker.lease_seconds), str(settled), str(held)]
    victim = subprocess.Popen(
        [sys.executable, str(VICTIM), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert victim.stdout is not None and victim.stdout.readline() == "holding\n"
    return victim


def drain_everything(broker: BrokerSettings, queue: Queue, count: int) -> list[tuple[int, bool]]:
    consumer = Consumer(broker, queue)
    taken: list[tuple[int, bool]] = []
    deadline = time.monotonic() + PATIENCE
    while len(taken) < count:
        assert time.monotonic() < deadline, f"only {sorted(taken)} came back"
        deliveries = consumer.drain(100, timeout=1)
        taken += [(json.loads(delivery.body)["number"], delivery.redelivered) for delivery in deliveries]
        consumer.ack(deliveries)
    consumer.close()
    return sorted(taken)


def test_killed_consumers_lose_nothing(broker: BrokerSettings) -> None:
    """What a consumer killed with SIGKILL had acknowledged stays away, what it held comes back marked, the rest as it was."""
    queue = topology.outcomes(broker)
    publisher = Publisher(broker, queue)
    publisher.publish(
        *(Outgoing(queue=queue.name, body=json.dumps({"number": number})) for number in range(30))
    )
    # Each takes the oldest there are; with nothing else prefetched by the first, the second starts where it stopped.
    victim = start_victim(broker, settled=5, held=7)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    taken = drain_everything(broker, queue, 25)
    assert [number for number, _ in taken] == list(range(5, 30))
    assert all(redelivered for number, redelivered in taken if number < 12)
    publisher.close()


def test_paused_consumer_loses_its_messages_but_not_ours(broker: BrokerSettings, tmp_path: Path) -> None:
    """A process stopped for longer than its lease finds its messages gone when it wakes; it does not take them back."""
    if broker.is_rabbitmq:
        pytest.skip("RabbitMQ waits for the connection to close, not for a lease")
    queue = topology.outcomes(broker)
    publisher = Publisher(broker, queue)
    publisher.publish(Outgoing(queue=queue.name, body='{"number": 1}'))
    zombie = start_victim(broker, settled=0, held=1)
    zombie.send_signal(signal.SIGSTOP)
    consumer = Consumer(broker, queue)
    deadline = time.monotonic() + PATIENCE
    while not (deliveries := consumer.drain(1, timeout=1)):
        assert time.monotonic() < deadline
    zombie.send_signal(signal.SIGCONT)
    time.sleep(broker.lease_seconds)  # the zombie has renewed once: in vain
    consumer.ack(deliveries)
    zombie.kill()
    zombie.wait()
    consumer.close()
    assert Consumer(broker, queue).drain(1, timeout=0.5) == []
    publisher.close()


def test_publisher_outlives_a_killed_broker(request: pytest.FixtureRequest) -> None:
    """A message published while the broker is down arrives once it is back; one that was confirmed survives its SIGKILL."""
    server = request.getfixturevalue("rabbitmq_broker")
    broker = BrokerSettings(url=server.url)
    queue = topology.outcomes(broker)
    publisher, consumer = Publisher(broker, queue), Consumer(broker, queue)
    publisher.publish(Outgoing(queue=queue.name, body='{"number": 0}'))
    # RabbitMQ 3.10 never finds a leader again for a quorum queue that is younger than about three seconds.
    time.sleep(5)
    server.kill()
    server.restart()
    publisher.publish(Outgoing(queue=queue.name, body='{"number": 1}'))
    taken: list[int] = []
    deadline = time.monotonic() + PATIENCE
    while len(set(taken)) < 2:
        assert time.monotonic() < deadline
        deliveries = consumer.drain(10, timeout=1)
        taken += [json.loads(delivery.body)["number"] for delivery in deliveries]
        consumer.ack(deliveries)
    assert set(taken) == {0, 1}
    consumer.close()
    publisher.close()


def test_storm_of_kills_loses_nothing(tmp_path: Path) -> None:
    """Publishers and consumers of one SQLite file, killed at random moments: what was confirmed is consumed."""
    broker = BrokerSettings(url=url_of(tmp_path / "queue.db"), lease_seconds=1.0)
    sent, got = tmp_path / "sent", tmp_path / "got"
    sent.touch()

    def start(role: str, number: int) -> subprocess.Popen[bytes]:
        path = str(sent if role == "publish" else got)
        arguments = [role, broker.url, str(broker.lease_seconds), path, str(number * 10**6)]
        storm = ROOT / "tests" / "broker_storm.py"
        return subprocess.Popen(
            [sys.executable, str(storm), *arguments], env={**os.environ, "PYTHONPATH": str(ROOT)}
        )

    processes = [start(role, number) for number, role in enumerate(("publish", "consume", "consume"))]
    lines = 0
    for number in range(3, 11):
        deadline = time.monotonic() + PATIENCE
        while len(sent.read_bytes().splitlines()) < lines + 50:  # each round some work is under way
            assert time.monotonic() < deadline
            time.sleep(0.01)
        lines = len(sent.read_bytes().splitlines())
        victim = processes.pop(0)
        victim.kill()
        victim.wait()
        processes.append(start(("publish", "consume", "consume")[number % 3], number))
    for process in processes:
        process.kill()
        process.wait()
    rest = Consumer(broker, topology.outcomes(broker))
    confirmed = set(map(int, sent.read_text().split()))
    taken = set(map(int, got.read_text().split())) if got.exists() else set()
    deadline = time.monotonic() + PATIENCE
    while not confirmed <= taken:
        assert time.monotonic() < deadline, f"{len(confirmed - taken)} of {len(confirmed)} are lost"
        deliveries = rest.drain(500, timeout=1)
        taken |= {json.loads(delivery.body)["number"] for delivery in deliveries}
        rest.ack(deliveries)
    rest.close()
