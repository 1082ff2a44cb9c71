"""Transactions, changes, locks and migrations keep their promises on both databases."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

import storage.ledger.oversight_tables  # noqa: F401  (its tables belong to the same metadata)
from schemas.errors import BadSettings, LedgerBusy, StoreDenied, StoreFull
from storage.ledger import marks
from storage.ledger.engine import Ledger
from storage.ledger.marks import Mark
from storage.ledger.tables import metadata


def _write(ledger: Ledger, name: str = "x", at: float = 1.0) -> None:
    with ledger.begin() as conn:
        marks.move(conn, name, Mark(0.0, at))


def _read(ledger: Ledger, name: str = "x") -> Mark | None:
    with ledger.read() as conn:
        return marks.get(conn, name)


def test_what_is_committed_is_seen_by_another_ledger(ledger: Ledger, ledger_url: str) -> None:
    """A second process sees what the first has committed."""
    _write(ledger)

    with Ledger.open(ledger_url) as other:
        assert _read(other) == Mark(0.0, 1.0)


def test_an_exception_rolls_everything_back(ledger: Ledger) -> None:
    """Leaving a write transaction by an exception leaves nothing behind."""
    with pytest.raises(ZeroDivisionError), ledger.begin() as conn:
        marks.move(conn, "x", Mark(0.0, 1.0))
        raise ZeroDivisionError

    assert _read(ledger) is None


def test_a_read_transaction_cannot_write(ledger: Ledger) -> None:
    """`read` is read-only, and says so as a typed error."""
    with pytest.raises(StoreDenied), ledger.read() as conn:
        marks.move(conn, "x", Mark(0.0, 1.0))


def test_a_read_transaction_sees_one_moment(ledger: Ledger) -> None:
    """What is committed during a read transaction is not seen in it."""
    with ledger.read() as conn:
        assert marks.get(conn, "x") is None
        _write(ledger)
        assert marks.get(conn, "x") is None

    assert _read(ledger) is not None


def test_migrated_schema_is_the_described_one(ledger: Ledger) -> None:
    """The migrations build exactly the tables and indexes of `tables.py`."""
    with ledger.read() as conn:
        differences = compare_metadata(
            MigrationContext.configure(conn, opts={"compare_server_default": True}), metadata
        )
        indexes = {
            index["name"]
            for table in metadata.sorted_tables
            for index in inspect(conn).get_indexes(table.name)
        }

    assert differences == []
    assert indexes >= {str(index.name) for table in metadata.sorted_tables for index in table.indexes}


def test_partial_indexes_are_partial_in_the_database(ledger: Ledger) -> None:
    """The predicates of the partial indexes survive the migration: comparing names alone would not notice."""
    with ledger.read() as conn:
        if ledger.dialect == "sqlite":
            rows = conn.execute(
                text("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql LIKE '%WHERE%'")
            )
        else:
            rows = conn.execute(
                text("SELECT indexname, indexdef FROM pg_indexes WHERE indexdef LIKE '%WHERE%'")
            )
        partial = {row[0] for row in rows}

    wanted = {
        str(i.name)
        for t in metadata.sorted_tables
        for i in t.indexes
        if i.dialect_options["sqlite"]["where"] is not None
    }
    assert partial == wanted


def _migrate(url: str, start: float) -> None:
    time.sleep(max(0.0, start - time.time()))
    with Ledger.open(url) as ledger:
        ledger.migrate()


def test_many_processes_may_migrate_at_once(ledger_url: str) -> None:
    """Every process of a stack migrates at its start; one does it, the others find it done."""
    context = multiprocessing.get_context("spawn")
    start = time.time() + 2
    processes = [context.Process(target=_migrate, args=(ledger_url, start)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)

    assert [process.exitcode for process in processes] == [0, 0, 0]
    with Ledger.open(ledger_url) as ledger:
        assert _read(ledger) is None


def test_a_waiter_is_woken_by_a_commit_elsewhere(ledger: Ledger, ledger_url: str) -> None:
    """`wait_for_change` returns when another connection commits, long before its time is up."""
    token = ledger.version()
    with Ledger.open(ledger_url) as other:
        later = threading.Timer(0.2, lambda: _write(other))
        later.start()
        began = time.monotonic()
        changed = ledger.wait_for_change(120, since=token)
        later.join()

    assert changed != token
    assert time.monotonic() - began < 100


def test_a_change_between_token_and_wait_is_not_missed(ledger: Ledger) -> None:
    """A commit after the token was taken ends the wait at once, even if it came before the wait began."""
    token = ledger.version()
    ledger.wait_for_change(1.0, since=token)  # PostgreSQL: the listener is there from now on
    token = ledger.version()
    _write(ledger)
    time.sleep(0.05)
    began = time.monotonic()

    assert ledger.wait_for_change(120, since=token) != token
    assert time.monotonic() - began < 100


def test_waiting_ends_when_nothing_happens(ledger: Ledger) -> None:
    """Without a commit the wait ends by itself with an unchanged token."""
    token = ledger.wait_for_change(1.0)
    token = ledger.wait_for_change(0.2, since=token)

    assert ledger.wait_for_change(0.05, since=token) == token


def test_one_leader_at_a_time(ledger: Ledger, ledger_url: str) -> None:
    """A lock has one holder; it is free again when that one lets go."""
    with Ledger.open(ledger_url) as other:
        first, second, different = ledger.lock("leader"), other.lock("leader"), other.lock("another")

        assert first.acquire()
        assert first.held()
        assert not second.acquire()
        assert different.acquire()
        first.release()
        assert not first.held()
        assert second.acquire(5.0)
        second.release()
        different.release()


def _hold(url: str, ready: Callable[[], None]) -> None:
    with Ledger.open(url) as ledger:
        ledger.lock("leader").acquire(30)
        ready()
        time.sleep(300)


def test_a_killed_leader_lets_go(ledger: Ledger, ledger_url: str) -> None:
    """SIGKILL of the holder frees the lock."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(ledger_url, ready.set))
    process.start()
    assert ready.wait(120)
    lock = ledger.lock("leader")
    assert not lock.acquire()

    process.kill()
    process.join(30)

    assert lock.acquire(60)
    lock.release()


def test_writers_of_many_threads_lose_nothing(ledger: Ledger) -> None:
    """Read-modify-write under `begin` by several threads adds up."""
    _write(ledger, "counter", 0.0)

    def count() -> None:
        for _ in range(10):
            with ledger.begin() as conn:
                if ledger.dialect == "postgresql":
                    conn.execute(text("LOCK TABLE mark IN EXCLUSIVE MODE"))
                mark = marks.get(conn, "counter")
                assert mark is not None
                marks.move(conn, "counter", Mark(0.0, mark.at + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert _read(ledger, "counter") == Mark(0.0, 40.0)


def test_a_writer_that_waits_too_long_is_told_to_retry(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    """SQLite has one writer: another gives up after its limit with an error that says who acts."""
    impatient = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", busy_seconds=0.05)
    with impatient, sqlite_ledger.begin(), pytest.raises(LedgerBusy) as refused:
        _write(impatient)

    assert refused.value.retryable


def test_commits_are_synced(sqlite_ledger: Ledger) -> None:
    """SQLite runs in WAL with synchronous FULL (2), because an acknowledged event must survive a power cut."""
    with sqlite_ledger.begin() as conn:
        assert conn.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert conn.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_a_full_store_is_named(sqlite_ledger: Ledger) -> None:
    """When no page is left, the operator is told, and nothing is half written."""
    with sqlite_ledger.begin() as conn:
        pages = conn.exec_driver_sql("PRAGMA page_count").scalar()

    with pytest.raises(StoreFull), sqlite_ledger.begin() as conn:
        conn.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        for place in range(10_000):
            marks.move(conn, f"{place}" + "x" * 20, Mark(0.0, 1.0))

    with sqlite_ledger.read() as conn:
        assert conn.execute(text("SELECT count(*) FROM mark")).scalar() == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    """A ledger whose folder is missing or closed is the operator's to repair."""
    with pytest.raises(StoreDenied):
        Ledger.open(f"sqlite:///{tmp_path}/missing/ledger.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_file_is_named(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    """A ledger file that may not be written is the operator's to repair."""
    (tmp_path / "ledger.db").chmod(0o444)

    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as opened, pytest.raises(StoreDenied):
        _write(opened)


@pytest.mark.parametrize("url", ["", "sqlite://", "sqlite:///:memory:", "mysql://host/db", "nonsense"])
def test_an_address_that_is_no_ledger_is_refused(url: str) -> None:
    """A wrong setting is named as one, and an in-memory ledger, which would keep no promise, is one."""
    with pytest.raises(BadSettings):
        Ledger.open(url)


def test_an_unreachable_database_is_temporary() -> None:
    """No server at the address: try again, and no password in the message."""
    absent = Ledger.open("postgresql+psycopg://user:secret@127.0.0.1:1/nothing")
    with absent, pytest.raises(LedgerBusy) as refused, absent.read():
        pass

    assert "secret" not in str(refused.value)
