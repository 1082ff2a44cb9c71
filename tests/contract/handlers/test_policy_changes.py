"""The audit log tells which policies were in force when."""

from __future__ import annotations

import threading

from handlers.policy_changes import note_policies
from storage.ledger import audit
from storage.ledger.engine import Ledger


def test_each_change_is_noted_once(ledger: Ledger) -> None:
    """A first start notes every policy, a later one only what was changed, added or withdrawn since."""
    counts = [
        note_policies(ledger, digests, 1.0)
        for digests in (
            {"strict": "a", "own": "b"},
            {"strict": "a", "own": "b"},
            {"strict": "c"},
            {"strict": "c", "own": "b"},
        )
    ]
    with ledger.read() as conn:
        found = [(one.kind, one.about, one.data) for one in audit.records(conn)]
        assert audit.verify(conn) is None

    assert counts == [2, 0, 2, 1]
    assert found == [
        ("policy.installed", "own", '{"digest":"b"}'),
        ("policy.installed", "strict", '{"digest":"a"}'),
        ("policy.installed", "strict", '{"digest":"c"}'),
        ("policy.withdrawn", "own", '{"digest":"b"}'),
        ("policy.installed", "own", '{"digest":"b"}'),
    ]


def test_processes_that_start_together_note_it_once(ledger: Ledger) -> None:
    """However many start at the same moment, the log has one entry for each change."""
    barrier = threading.Barrier(4)

    def start() -> None:
        barrier.wait()
        note_policies(ledger, {"strict": "a", "own": "b"}, 1.0)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with ledger.read() as conn:
        assert audit.root(conn).seq == 2
