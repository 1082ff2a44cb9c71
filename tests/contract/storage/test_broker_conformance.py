"""What every broker promises, over the transports we support."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Queue

from schemas.errors import QueueMissing, QueueUnavailable
from storage.broker import topology
from storage.broker.connection import Backoff, BrokerSettings
from storage.broker.consumer import Consumer, Delivery
from storage.broker.publisher import Outgoing, Publisher
from storage.broker.sqlite_transport import url_of

PATIENCE = 120.0


@pytest.fixture(params=["sqlite", "rabbitmq", "redis", "memory"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> BrokerSettings:
    """Settings of a broker with queue names of this test alone."""
    urls = {"sqlite": lambda: url_of(tmp_path / "a b+c#d.db"), "memory": lambda: "memory://"}
    urls |= {
        "rabbitmq": lambda: request.getfixturevalue("rabbitmq"),
        "redis": lambda: request.getfixturevalue("redis_url"),
    }
    return BrokerSettings(
        url=urls[request.param](),
        queue_prefix=f"{uuid.uuid4().hex}.",
        lease_seconds=1.0,
        work_queue_expires_seconds=2.0,
    )


@pytest.fixture
def queue(broker: BrokerSettings) -> Queue:
    return topology.outcomes(broker)


@pytest.fixture
def publisher(broker: BrokerSettings, queue: Queue) -> Iterator[Publisher]:
    publisher = Publisher(broker, queue, backoff=Backoff(give_up_seconds=PATIENCE))
    yield publisher
    publisher.close()


@pytest.fixture
def consumer(broker: BrokerSettings, queue: Queue) -> Iterator[Consumer]:
    consumer = Consumer(broker, queue, backoff=Backoff(give_up_seconds=PATIENCE))
    consumer.declare()
    yield consumer
    consumer.close()


def numbered(queue: Queue, *numbers: int) -> list[Outgoing]:
    return [
        Outgoing(queue=queue.name, body=json.dumps({"number": number, "text": "größe ✓"}))
        for number in numbers
    ]


def take(consumer: Consumer, count: int) -> list[Delivery]:
    taken: list[Delivery] = []
    deadline = time.monotonic() + PATIENCE
    while len(taken) < count:
        assert time.monotonic() < deadline, f"{len(taken)} of {count} messages came"
        taken += consumer.drain(count - len(taken), timeout=1)
    return taken


def numbers(deliveries: list[Delivery]) -> list[int]:
    return [json.loads(delivery.body)["number"] for delivery in deliveries]


def is_memory(broker: BrokerSettings) -> bool:
    return broker.scheme == "memory"


def test_order_is_kept(publisher: Publisher, consumer: Consumer, queue: Queue) -> None:
    """One publisher's messages arrive whole and in the order they were published, singly or in bulk."""
    for number in range(5):
        publisher.publish(*numbered(queue, number))
    publisher.publish(*numbered(queue, *range(5, 60)))
    deliveries = take(consumer, 60)
    assert numbers(deliveries) == list(range(60))
    assert json.loads(deliveries[0].body)["text"] == "größe ✓"
    consumer.ack(deliveries)


def test_acknowledged_messages_are_gone(
    broker: BrokerSettings, publisher: Publisher, consumer: Consumer, queue: Queue
) -> None:
    """What was acknowledged in bulk, in parts or out of order never comes again; the rest comes when its consumer ends."""
    publisher.publish(*numbered(queue, *range(10)))
    deliveries = take(consumer, 10)
    consumer.ack(deliveries[:4])
    consumer.ack([deliveries[8], deliveries[6]])
    consumer.ack([])
    consumer.close()
    if is_memory(broker):
        return  # kombu's memory transport drops what a closed channel held: it is for tests of one consumer
    rest = take(consumer, 4)
    assert sorted(numbers(rest)) == [4, 5, 7, 9] and all(delivery.redelivered for delivery in rest)
    consumer.ack(rest)
    consumer.close()
    assert consumer.drain(1, timeout=0.5) == []


def test_first_delivery_is_not_marked(publisher: Publisher, consumer: Consumer, queue: Queue) -> None:
    """Only a message that was delivered before carries the redelivered flag."""
    publisher.publish(*numbered(queue, 1))
    assert [delivery.redelivered for delivery in take(consumer, 1)] == [False]


def test_requeued_message_comes_again(
    broker: BrokerSettings, publisher: Publisher, consumer: Consumer, queue: Queue
) -> None:
    """A message given back is delivered once more, and says so."""
    publisher.publish(*numbered(queue, 1))
    consumer.requeue(take(consumer, 1))
    (again,) = take(consumer, 1)
    assert numbers([again]) == [1] and (again.redelivered or is_memory(broker) or broker.scheme == "redis")
    consumer.ack([again])


def test_long_work_is_not_delivered_twice(
    broker: BrokerSettings, publisher: Publisher, consumer: Consumer, queue: Queue
) -> None:
    """A message held three times as long as the lease stays with its holder, which can still acknowledge it."""
    publisher.publish(*numbered(queue, 1))
    held = take(consumer, 1)
    rival = Consumer(broker, queue)
    until = time.monotonic() + 3 * broker.lease_seconds
    while time.monotonic() < until:
        assert rival.drain(1, timeout=0.2) == []
    consumer.ack(held)
    rival.close()
    consumer.close()
    assert consumer.drain(1, timeout=0.5) == []


def test_threads_publish_at_once(publisher: Publisher, consumer: Consumer, queue: Queue) -> None:
    """A publisher may be shared: every message of every thread arrives once."""

    def publish(first: int) -> None:
        for number in range(first, first + 20):
            publisher.publish(*numbered(queue, number))

    threads = [threading.Thread(target=publish, args=(first,)) for first in (0, 20, 40)]
    for thread in threads:
        thread.start()
    deliveries = take(consumer, 60)
    for thread in threads:
        thread.join()
    assert sorted(numbers(deliveries)) == list(range(60))
    consumer.ack(deliveries)


def test_message_for_no_queue_is_refused(broker: BrokerSettings, publisher: Publisher, queue: Queue) -> None:
    """Nothing is dropped in silence: a message to a queue that nobody declared raises, and the publisher goes on working."""
    if broker.scheme in ("memory", "redis"):
        pytest.skip("this broker makes a queue of any name: nothing is dropped")
    with pytest.raises(QueueMissing):
        publisher.publish(Outgoing(queue=broker.queue_prefix + "nowhere", body="{}"))
    publisher.publish(*numbered(queue, 1))


def test_workers_queue_expires_after_its_worker(broker: BrokerSettings, publisher: Publisher) -> None:
    """A worker's queue stays while it is consumed, however quiet, and goes some time after its worker."""
    if broker.scheme in ("memory", "redis"):
        pytest.skip("this broker keeps queues for ever")
    mine = topology.work(broker, "wrk_1")
    worker = Consumer(broker, mine)
    until = time.monotonic() + 2 * broker.work_queue_expires_seconds
    while time.monotonic() < until:
        worker.drain(1, timeout=0.2)
    publisher.publish(Outgoing(queue=mine.name, body="{}"))
    worker.close()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            publisher.publish(Outgoing(queue=mine.name, body="{}"))
        except QueueMissing:
            return
        time.sleep(2 * broker.work_queue_expires_seconds)
    pytest.fail("the queue of a dead worker is still there")


def test_acknowledging_over_a_lost_connection_fails(
    publisher: Publisher, consumer: Consumer, queue: Queue
) -> None:
    """A consumer that lost its connection learns that its acknowledgement counts for nothing."""
    publisher.publish(*numbered(queue, 1))
    deliveries = take(consumer, 1)
    consumer.close()
    with pytest.raises(QueueUnavailable):
        consumer.ack(deliveries)


def test_unreachable_broker_is_a_typed_error() -> None:
    """A broker that stays away ends in `QueueUnavailable` after the back-off, without its password."""
    settings = BrokerSettings(url="amqp://user:secret-word@127.0.0.1:1//")
    quick = Backoff(first_seconds=0.01, give_up_seconds=0.05)
    with pytest.raises(QueueUnavailable) as caught:
        Publisher(settings, topology.outcomes(settings), backoff=quick).publish(
            Outgoing(queue="outcomes", body="{}")
        )
    assert "secret-word" not in str(caught.value) + repr(settings)
    with pytest.raises(QueueUnavailable):
        Consumer(settings, topology.outcomes(settings), backoff=quick).drain(1, timeout=0)
