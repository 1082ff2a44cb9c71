"""The dispatcher over a real ledger, with a clock of its own and receivers of the test's making."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from handlers.webhooks.address_guard import AddressGuard, AllowedNetwork
from handlers.webhooks.breaker import BreakerParams
from handlers.webhooks.dispatcher import Dispatcher, DispatcherParams
from handlers.webhooks.receiver import receiver
from handlers.webhooks.sender import Delivered, Failed, Gone, Message, Result, Sender
from handlers.webhooks.signature import tenant_secret
from storage.ledger import deliveries
from storage.ledger.deliveries import DeliveryRecord, EndpointRecord, NewDelivery
from storage.ledger.engine import Ledger

ROOT = Path(__file__).parents[3]
SECRET = tenant_secret(bytes(32), "acme")
DAY = 86400.0
PATIENCE_SECONDS = 120.0


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class World:
    """One ledger, one dispatcher, and a receiver that is a function of the message."""

    def __init__(self, ledger: Ledger, answer: Callable[[Message], Result], params: DispatcherParams) -> None:
        self.ledger, self.clock = ledger, Clock()
        self.sent: list[Message] = []

        def send(message: Message) -> Result:
            self.sent.append(message)
            return answer(message)

        self.dispatcher = Dispatcher(
            ledger=ledger,
            send=send,
            secrets=lambda tenant: (SECRET,),
            params=params,
            clock=self.clock,
            draw=lambda: 0.0,
        )

    def owe(self, url: str, count: int = 1, tenant: str = "acme") -> None:
        new = NewDelivery(tenant=tenant, url=url, type="job.completed", about="job_1", body="{}")
        with self.ledger.begin() as conn:
            deliveries.add_many(conn, [new] * count, self.clock())

    def work(self) -> int:
        """All that is due now, sent and settled; the number of attempts."""
        before = len(self.sent)
        while self.dispatcher.step():
            self.dispatcher.settle_all()
        return len(self.sent) - before

    def log(self) -> list[DeliveryRecord]:
        with self.ledger.read() as conn:
            return deliveries.log(conn, tenant="acme", limit=10_000)

    def endpoints(self) -> dict[str, EndpointRecord]:
        with self.ledger.read() as conn:
            return {place.url: place for place in deliveries.endpoints(conn, "acme")}


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres"))
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    with Ledger.open(ledger_url) as opened:
        opened.migrate()
        yield opened


Make = Callable[..., World]


@pytest.fixture
def make(ledger: Ledger) -> Iterator[Make]:
    worlds: list[World] = []

    def build(answer: Callable[[Message], Result], **params: object) -> World:
        worlds.append(World(ledger, answer, DispatcherParams(**params)))  # type: ignore[arg-type]
        return worlds[-1]

    yield build
    for world in worlds:
        world.dispatcher.close()


def test_what_is_owed_is_sent_once(make: Make) -> None:
    """Every delivery is sent with its own id and body, settled, and never sent again."""
    world = make(lambda message: Delivered(status=200))
    world.owe("https://a.example/", 150)
    attempts = 0
    for _ in range(10):
        attempts += world.work()
        world.clock.now += 1.0
    assert attempts == 150
    world.clock.now += 1e6
    assert world.work() == 0
    assert {record.state for record in world.log()} == {"delivered"}
    assert {message.id for message in world.sent} == {record.id for record in world.log()}


def test_the_whole_plan_of_a_failing_receiver(make: Make) -> None:
    """Ten attempts under one id over 76 hours of the injected clock, then abandoned."""
    world = make(
        lambda message: Failed(status=500, error="500"), breaker=BreakerParams(open_after_failures=1000)
    )
    world.owe("https://a.example/")
    start, times = world.clock.now, []
    while (now := world.clock.now) < start + 4 * DAY:
        if world.work():
            times.append(now - start)
        with world.ledger.read() as conn:
            due = deliveries.oldest_due(conn)
        if due is None:
            break
        world.clock.now = due
    assert times == [0, 5, 305, 2105, 9305, 27305, 63305, 113705, 185705, 272105]
    [record] = world.log()
    assert (record.state, record.attempts, record.last_status, record.last_error) == (
        "abandoned",
        10,
        500,
        "500",
    )
    assert len({message.id for message in world.sent}) == 1


def test_gone_disables_the_endpoint_and_tells_the_others(make: Make) -> None:
    """After 410 nothing more is sent there; the tenant's other endpoints hear of it, and no other tenant's do."""
    world = make(lambda message: Gone() if "gone" in message.url else Delivered(status=200), per_endpoint=1)
    world.owe("https://gone.example/hook?token=x", 5)
    world.owe("https://other.example/")
    world.owe("https://foreign.example/", tenant="foreign")
    world.work()
    assert [message.url for message in world.sent].count("https://gone.example/hook?token=x") == 1
    told = [
        (message.url, json.loads(message.body))
        for message in world.sent
        if b"endpoint.disabled" in message.body
    ]
    place = world.endpoints()["https://gone.example/hook?token=x"]
    assert place.disabled_reason == "gone"
    [(url, body)] = told
    assert url == "https://other.example/"
    assert body["data"] == {"endpoint": place.id, "url": "https://gone.example/hook", "reason": "gone"}


def test_five_days_of_failure_disable_the_endpoint(make: Make) -> None:
    """An endpoint to which something is sent every six hours, in vain, is disabled after five days."""
    world = make(lambda message: Failed(status=None, error="timed out"))
    began = world.clock.now
    while world.clock.now < began + 6 * DAY and not (
        world.sent and world.endpoints()["https://a.example/"].disabled_at
    ):
        world.owe("https://a.example/")
        world.work()
        world.clock.now += 6 * 3600
    disabled = world.endpoints()["https://a.example/"]
    assert disabled.disabled_reason == "failing" and disabled.disabled_at is not None
    assert disabled.disabled_at - began == 5 * DAY
    assert not [record for record in world.log() if record.state == "pending"]


def test_a_dead_host_cannot_eat_the_pool(make: Make) -> None:
    """With hundreds owed to endpoints that never answer, the others are served; the dead ones get single probes."""
    release, stuck = threading.Event(), Counter[str]()

    def answer(message: Message) -> Result:
        if "dead" in message.url:
            stuck[message.url] += 1
            release.wait(PATIENCE_SECONDS)
            return Failed(status=None, error="timed out")
        return Delivered(status=200)

    world = make(answer, threads=8, per_endpoint=2, waiting_per_endpoint=4)
    world.owe("https://dead.example/", 300)
    world.owe("https://live.example/", 20)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and sum(record.state == "delivered" for record in world.log()) < 20:
        world.dispatcher.step()
        time.sleep(0.01)
        world.clock.now += 0.05
    assert sum(record.state == "delivered" for record in world.log()) == 20
    assert stuck["https://dead.example/"] == 2
    release.set()
    world.dispatcher.settle_all()
    for _ in range(30):
        world.clock.now += 1.0
        world.work()
    # Five failures open it; in the next thirty seconds there is no further attempt.
    assert stuck["https://dead.example/"] <= 6
    world.clock.now += 31.0
    before = stuck["https://dead.example/"]
    world.work()
    assert stuck["https://dead.example/"] == before + 1


def test_an_endpoint_that_recovers_gets_all_that_waited(make: Make) -> None:
    """After a good probe the breaker closes and the backlog flows."""
    up = threading.Event()
    world = make(
        lambda message: Delivered(status=200) if up.is_set() else Failed(status=None, error="refused")
    )
    world.owe("https://a.example/", 200)
    world.work()
    up.set()
    for _ in range(400):
        world.clock.now += 1.0
        world.work()
    assert Counter(record.state for record in world.log()) == {"delivered": 200}
    assert world.endpoints()["https://a.example/"].consecutive_failures == 0


def test_a_broken_attempt_is_a_failed_one(make: Make) -> None:
    """An error inside an attempt is recorded and tried again; the dispatcher goes on."""

    def answer(message: Message) -> Result:
        raise RuntimeError("a fault of ours")

    world = make(answer)
    world.owe("https://a.example/")
    assert world.work() == 1
    [record] = world.log()
    assert (record.state, record.last_error) == ("pending", "RuntimeError")


def test_stopping_gives_back_what_was_not_sent(make: Make, ledger: Ledger) -> None:
    """After close, another dispatcher sends the rest at once, without waiting for a lease to end."""
    gate = threading.Event()

    def answer(message: Message) -> Result:
        gate.wait(PATIENCE_SECONDS)
        return Delivered(status=200)

    first = make(answer, threads=1, per_endpoint=1)
    first.owe("https://a.example/", 10)
    first.dispatcher.step()
    gate.set()
    first.dispatcher.close()
    second = make(answer)
    assert second.work() == 9
    assert {record.state for record in first.log()} == {"delivered"}


def test_nothing_is_sent_when_its_lease_may_end_meanwhile(make: Make) -> None:
    """A delivery that waited in memory too long is left to whoever claims it next."""
    gate = threading.Event()

    def answer(message: Message) -> Result:
        gate.wait(PATIENCE_SECONDS)
        return Delivered(status=200)

    world = make(answer, threads=1, per_endpoint=1)
    world.owe("https://a.example/", 2)
    world.dispatcher.step()
    world.clock.now += 50.0
    gate.set()
    world.dispatcher.settle_all()
    assert world.dispatcher.step() == 0
    world.clock.now += 10.0
    assert world.work() == 1


def test_run_wakes_for_new_deliveries_and_stops(ledger: Ledger) -> None:
    """The loop sends what is added while it runs, long before its own next look, and ends when told."""
    sent = threading.Event()

    def send(message: Message) -> Result:
        sent.set()
        return Delivered(status=200)

    stop = threading.Event()
    dispatcher = Dispatcher(
        ledger=ledger, send=send, secrets=lambda tenant: (SECRET,), params=DispatcherParams(idle_seconds=2.0)
    )
    thread = threading.Thread(target=dispatcher.run, args=(stop,))
    thread.start()
    with ledger.begin() as conn:
        deliveries.add(
            conn,
            tenant="acme",
            url="https://a.example/",
            type="x",
            about="job_1",
            body="{}",
            traceparent=None,
            now=time.time(),
        )
    assert sent.wait(PATIENCE_SECONDS)
    stop.set()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    with ledger.read() as conn:
        assert [record.state for record in deliveries.log(conn, tenant="acme")] == ["delivered"]


CHILD = """
import sys, threading
from handlers.webhooks.address_guard import AddressGuard, AllowedNetwork
from handlers.webhooks.dispatcher import Dispatcher, DispatcherParams
from handlers.webhooks.sender import Sender
from handlers.webhooks.signature import tenant_secret
from storage.ledger.engine import Ledger
guard = AddressGuard(allow=(AllowedNetwork.parse("127.0.0.1/32:*"),))
params = DispatcherParams(lease_seconds=4.0, attempt_seconds=3.0, idle_seconds=0.2, claim_size=20)
with Ledger.open(sys.argv[1]) as ledger:
    Dispatcher(ledger=ledger, send=Sender(guard=guard).send, params=params,
               secrets=lambda tenant: (tenant_secret(bytes(32), tenant),)).run(threading.Event())
"""


def test_killed_at_any_moment_every_webhook_arrives(tmp_path: Path, ledger: Ledger, ledger_url: str) -> None:
    """SIGKILL again and again: in the end each webhook was verified by the receiver at least once, under a stable id."""
    with receiver(SECRET, "127.0.0.1", 0, tmp_path / "inbox.jsonl") as url:
        ids = set()
        for number in range(120):
            new = NewDelivery(
                tenant="acme",
                url=url,
                type="job.completed",
                about="job_1",
                body=json.dumps({"type": "job.completed", "n": number}),
            )
            with ledger.begin() as conn:
                ids |= set(deliveries.add_many(conn, [new], time.time()))
        deadline, kills = time.monotonic() + PATIENCE_SECONDS, 0
        while time.monotonic() < deadline:
            child = subprocess.Popen([sys.executable, "-c", CHILD, ledger_url], cwd=ROOT)
            began = arrived(tmp_path)
            while (
                time.monotonic() < deadline
                and child.poll() is None
                and arrived(tmp_path) <= began + 25
                and pending(ledger)
            ):
                time.sleep(0.02)
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            kills += 1
            if not pending(ledger):
                break
    lines = [json.loads(line) for line in (tmp_path / "inbox.jsonl").read_text().splitlines()]
    assert {line["id"] for line in lines} == ids and len(lines) == len(ids)
    assert kills >= 3
    with ledger.read() as conn:
        assert {record.state for record in deliveries.log(conn, tenant="acme", limit=1000)} == {"delivered"}


def arrived(directory: Path) -> int:
    inbox = directory / "inbox.jsonl"
    return len(inbox.read_text().splitlines()) if inbox.exists() else 0


def pending(ledger: Ledger) -> bool:
    with ledger.read() as conn:
        return deliveries.oldest_due(conn) is not None


def test_the_demo_receiver_refuses_what_is_not_ours(tmp_path: Path) -> None:
    """A wrong secret is 401 and leaves no line; a repeat is taken without a second line; an id with another body is refused."""
    guard = AddressGuard(allow=(AllowedNetwork.parse("127.0.0.1/32:*"),))
    sink, heard = tmp_path / "inbox.jsonl", []
    with receiver(SECRET, "127.0.0.1", 0, sink, heard.append) as url:

        def send(body: bytes, secret: str = SECRET) -> Result:
            return Sender(guard=guard).send(Message(id="dlv_1", url=url, body=body, secrets=(secret,)))

        refused = send(b'{"type": "x"}', tenant_secret(bytes(32), "other"))
        assert isinstance(refused, Failed) and refused.status == 401
        assert send(b'{"type": "x"}') == Delivered(status=204) == send(b'{"type": "x"}')
        for body, status in (
            (b'{"type": "y"}', 422),
            (b"nonsense", 400),
            (b"\xff", 400),
            (b'{"type": "x"}' + b" " * 70_000, 413),
        ):
            result = send(body)
            assert isinstance(result, Failed) and result.status == status
    assert [one.repeat for one in heard] == [False, True]
    assert len(sink.read_text().splitlines()) == 1
    with receiver(SECRET, "127.0.0.1", 0, sink, heard.append) as url:
        assert Sender(guard=guard).send(
            Message(id="dlv_1", url=url, body=b'{"type": "x"}', secrets=(SECRET,))
        ) == Delivered(status=204)
    assert heard[-1].repeat
