"""The audit log keeps its promise: whatever is done to its rows afterwards is found."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, delete, func, insert, select, update

from storage.ledger import audit
from storage.ledger.audit import Entry, Root
from storage.ledger.engine import Ledger
from storage.ledger.oversight_tables import audit as table
from storage.ledger.oversight_tables import audit_head

NOW = 1_000_000.5


def filled(ledger: Ledger, count: int = 6) -> None:
    for number in range(count):
        with ledger.begin() as conn:
            entry = Entry(
                kind="image.blocked", actor="worker", tenant="t", about=f"img_{number}", data={"n": number}
            )
            audit.append(conn, [entry, Entry(kind="review.opened", actor="worker")], NOW + number)


def test_what_was_appended_verifies(ledger: Ledger) -> None:
    """Rows are numbered from one without a gap, each follows the one before, and an empty log is whole too."""
    with ledger.read() as conn:
        assert audit.verify(conn) is None
    filled(ledger)
    with ledger.read() as conn:
        found = list(audit.records(conn))
        fault, end = audit.verify(conn), audit.root(conn)
        of_tenant = list(audit.records(conn, tenant="t"))

    assert fault is None
    assert [one.seq for one in found] == list(range(1, 13))
    assert [one.prev_hash for one in found] == [audit.GENESIS, *(one.hash for one in found[:-1])]
    assert end == Root(seq=12, hash=found[-1].hash)
    assert [one.about for one in of_tenant] == [f"img_{number}" for number in range(6)]


def _swap(conn: Connection) -> None:
    for old, new in ((4, 100), (5, 4), (100, 5)):
        conn.execute(update(table).where(table.c.seq == old).values(seq=new))


def _add(conn: Connection) -> None:
    row = conn.execute(select(table).where(table.c.seq == 12)).one()
    conn.execute(insert(table).values({**row._mapping, "seq": 13, "about": "img_more"}))


#: What somebody who can write the table might do, and the first number at which it must show.
TAMPERING: dict[str, tuple[Callable[[Connection], object], int]] = {
    **{
        f"changed {column}": (
            lambda conn, column=column, value=value: conn.execute(
                update(table).where(table.c.seq == 5).values({column: value})
            ),
            5,
        )
        for column, value in (
            ("at", NOW),
            ("kind", "image.rendered"),
            ("actor", "somebody"),
            ("tenant", "other"),
            ("about", None),
            ("data", '{"n":9}'),
            ("prev_hash", "a" * 64),
            ("hash", "a" * 64),
        )
    },
    "removed": (lambda conn: conn.execute(delete(table).where(table.c.seq == 5)), 5),
    "removed the first": (lambda conn: conn.execute(delete(table).where(table.c.seq == 1)), 1),
    "removed the last": (lambda conn: conn.execute(delete(table).where(table.c.seq == 12)), 12),
    "exchanged": (_swap, 4),
    "added": (_add, 13),
}


@pytest.mark.parametrize("kind", TAMPERING)
def test_tampering_is_found(sqlite_ledger: Ledger, kind: str) -> None:
    """A row that was changed in any column, removed, moved or added shows at its number."""
    filled(sqlite_ledger)
    tamper, seq = TAMPERING[kind]
    with sqlite_ledger.begin() as conn:
        tamper(conn)
    with sqlite_ledger.read() as conn:
        fault = audit.verify(conn)

    assert fault is not None and fault.seq == seq


def test_a_rewritten_chain_is_found_by_its_root(sqlite_ledger: Ledger) -> None:
    """Whoever writes a whole new chain, or cuts its end off, cannot make it meet the roots that were exported."""
    filled(sqlite_ledger)
    with sqlite_ledger.begin() as conn:
        known = [audit.root(conn)]
        conn.execute(delete(table))
        conn.execute(update(audit_head).values(seq=0, hash=audit.GENESIS))
    with sqlite_ledger.read() as conn:
        unaware, cut = audit.verify(conn), audit.verify(conn, known)
    filled(sqlite_ledger, 7)
    with sqlite_ledger.begin() as conn:
        conn.execute(update(table).where(table.c.seq == 14).values(about="x"))
    with sqlite_ledger.read() as conn:
        rewritten = audit.verify(conn, known)
        same = audit.verify(conn, [Root(seq=12, hash="b" * 64)])

    assert unaware is None and cut is not None and cut.seq == 1
    assert rewritten is not None and rewritten.seq == 14
    assert same is not None and (same.seq, "exported" in same.what) == (12, True)


def test_appending_at_once_leaves_no_gap(ledger: Ledger) -> None:
    """Many writers at the same time, some of whom roll back: numbers stay without gap and the chain holds."""
    barrier = threading.Barrier(4)

    def work(name: int) -> None:
        barrier.wait()
        for number in range(8):
            try:
                with ledger.begin() as conn:
                    audit.append(conn, [Entry(kind="k", actor=f"w{name}", about=str(number))] * 2, NOW)
                    if number % 4 == 3:
                        raise KeyError
            except KeyError:
                pass

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with ledger.read() as conn:
        count = conn.execute(select(func.count()).select_from(table)).scalar_one()
        assert audit.verify(conn) is None

    assert count == 4 * 6 * 2


def test_a_line_of_the_export_can_be_checked_alone(sqlite_ledger: Ledger) -> None:
    """An exported line has all that its hash was made of."""
    import json

    from schemas.canonical import canonical, digest

    filled(sqlite_ledger, 1)
    with sqlite_ledger.read() as conn:
        line = json.loads(audit.as_line(next(audit.records(conn))))
    claimed = line.pop("hash")

    assert digest({**line, "data": canonical(line["data"]).decode()}) == claimed
