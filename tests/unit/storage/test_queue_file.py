"""The SQLite queue file, without kombu."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import BadSettings, QueueMissing, QueueUnavailable
from storage.broker.queue_file import QueueFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


def filled(path: Path, *payloads: str) -> QueueFile:
    file = QueueFile(path)
    file.declare("q")
    file.publish([("q", payload) for payload in payloads])
    return file


def payloads(file: QueueFile, limit: int = 100, lease: float = 60) -> list[str]:
    return [claim.payload for claim in file.claim("q", limit, lease)]


def test_messages_come_in_order(path: Path) -> None:
    """A queue is first in, first out, and a message given back takes its old place."""
    file = filled(path, "a", "b", "c")
    first, second = file.claim("q", 2, 60)
    assert (first.payload, second.payload) == ("a", "b")
    file.give_back([first.key])
    assert payloads(file) == ["a", "c"]


def test_claimed_message_is_hidden_until_its_lease_ends(path: Path) -> None:
    """Nobody else gets a message while its lease runs; somebody does once it has run out."""
    file, other = filled(path, "a"), QueueFile(path)
    assert payloads(file, lease=0.05) == ["a"]
    assert [c.deliveries for c in wait_for_claim(other)] == [2]


def wait_for_claim(file: QueueFile) -> list:  # type: ignore[type-arg]
    deadline = time.monotonic() + 60
    while not (claims := file.claim("q", 1, 60)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return claims


def test_lost_claim_has_no_power(path: Path) -> None:
    """Who lost a lease can neither settle, nor renew, nor give back what another holds now."""
    file = filled(path, "a")
    (old,) = file.claim("q", 1, 0)
    (new,) = wait_for_claim(file)
    file.settle([old.key])
    file.give_back([old.key])
    file.renew([old.key], -1000)
    assert file.claim("q", 1, 60) == [] and file.size("q") == 1
    file.settle([new.key])
    assert file.size("q") == 0


def test_publishing_is_all_or_nothing(path: Path) -> None:
    """A missing queue refuses the whole transaction, also the messages for queues that exist."""
    file = filled(path)
    with pytest.raises(QueueMissing):
        file.publish([("q", "a"), ("nowhere", "b")])
    assert file.size("q") == 0


def test_unused_queue_expires(path: Path) -> None:
    """A queue nobody uses for its expiry goes with its messages; one that is touched stays."""
    file = QueueFile(path)
    file.declare("dead", 0.05)
    file.declare("alive", 3600)
    file.publish([("dead", "x"), ("alive", "y")])
    time.sleep(0.1)
    with pytest.raises(QueueMissing):
        file.publish([("dead", "x")])
    file.touch({"alive": 3600})
    assert (file.exists("dead"), file.size("dead")) == (False, 0)
    assert (file.exists("alive"), file.size("alive")) == (True, 1)


def test_touch_makes_an_expired_queue_again(path: Path) -> None:
    """A consumer whose machine slept past the expiry is reachable again with its next sign of life."""
    file = QueueFile(path)
    file.declare("mine", 0.01)
    time.sleep(0.05)
    file.declare("other")
    assert not file.exists("mine")
    file.touch({"mine": 3600})
    file.publish([("mine", "x")])


def test_empty_claim_takes_no_write_lock(path: Path) -> None:
    """Looking into an empty queue works while another process holds the write lock."""
    file = filled(path)
    with sqlite3.connect(path, isolation_level=None) as writer:
        writer.execute("begin immediate")
        assert file.claim("q", 1, 60) == []


def test_version_tells_of_every_commit(path: Path) -> None:
    """Own commits and those of others change the version; reading does not."""
    file, other = filled(path), QueueFile(path)
    before = file.version()
    assert file.version() == before
    file.publish([("q", "a")])
    between = file.version()
    other.publish([("q", "b")])
    assert len({before, between, file.version()}) == 3


def test_lock_that_stays_is_a_typed_error(path: Path) -> None:
    """A writer that cannot get the lock in time says so in our words."""
    filled(path).close()
    file = QueueFile(path, busy_seconds=0.05)
    with sqlite3.connect(path, isolation_level=None) as writer:
        writer.execute("begin immediate")
        with pytest.raises(QueueUnavailable):
            file.publish([("q", "a")])


def test_file_of_a_newer_version_is_refused(path: Path) -> None:
    """A file from the future is left alone."""
    with sqlite3.connect(path) as newer:
        newer.execute("pragma user_version = 99")
    with pytest.raises(BadSettings):
        QueueFile(path)


def test_threads_share_a_file_and_lose_nothing(path: Path) -> None:
    """Claims of concurrent consumers are disjoint and together complete."""
    expected = [str(number) for number in range(300)]
    filled(path, *expected)
    taken: list[str] = []

    def consume() -> None:
        file = QueueFile(path)
        while claims := file.claim("q", 7, 60):
            taken.extend(claim.payload for claim in claims)
            file.settle([claim.key for claim in claims])

    threads = [threading.Thread(target=consume) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken, key=int) == expected


def publish_in_child(file: QueueFile) -> None:
    file.publish([("q", "from the child")])


def test_fork_is_safe(path: Path) -> None:
    """A forked child opens its own connection, and the parent's goes on working."""
    file = filled(path, "before")
    child = multiprocessing.get_context("fork").Process(target=publish_in_child, args=(file,))
    child.start()
    child.join()
    file.publish([("q", "after")])
    assert child.exitcode == 0 and payloads(file) == ["before", "from the child", "after"]


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(st.sampled_from(["publish", "claim", "settle", "give_back"]), max_size=30))
def test_any_history_keeps_every_message(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    """Whatever is done in whatever order, a message is waiting, held or settled: never lost, never two of these."""
    file = filled(tmp_path_factory.mktemp("queue") / "queue.db")
    published, settled, held = 0, 0, []
    for step in steps:
        if step == "publish":
            file.publish([("q", str(published))])
            published += 1
        elif step == "claim":
            held += file.claim("q", 2, 3600)
        elif held and step == "settle":
            file.settle([held.pop().key])
            settled += 1
        elif held:
            file.give_back([held.pop(0).key])
    assert file.size("q") == published - settled
    assert len(payloads(file)) == published - settled - len(held)
