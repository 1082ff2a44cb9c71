"""Idempotency keys, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.errors import IdempotencyConflict, StillRunning
from storage.ledger import idempotency
from storage.ledger.engine import Ledger
from storage.ledger.idempotency import IN_PROGRESS_SECONDS, KEEP_SECONDS, Fresh, Replay, Scope

SCOPE = Scope(tenant="acme", route="/v1/jobs", key="k1")


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    url = (
        request.getfixturevalue("postgres")
        if request.param == "postgresql"
        else f"sqlite:///{tmp_path / 'ledger.db'}"
    )
    with Ledger.open(url) as opened:
        opened.migrate()
        yield opened


def begin(
    ledger: Ledger, now: float = 1000.0, scope: Scope = SCOPE, fingerprint: str = "f1"
) -> Fresh | Replay:
    with ledger.begin() as conn:
        return idempotency.begin(conn, scope, fingerprint, now)


def finish(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        idempotency.finish(conn, SCOPE, status=202, headers={"location": "/v1/jobs/1"}, body='{"é": 1}')


def test_the_first_answer_is_given_again(ledger: Ledger) -> None:
    """Same key, same body: the stored status, headers and body, until the answer expires."""
    first = begin(ledger)
    assert isinstance(first, Fresh)
    finish(ledger)
    assert begin(ledger, 1001.0) == Replay(status=202, headers={"location": "/v1/jobs/1"}, body='{"é": 1}')
    later = begin(ledger, 1000.0 + KEEP_SECONDS)
    assert isinstance(later, Fresh) and later.token != first.token


def test_another_body_under_the_same_key_is_refused(ledger: Ledger) -> None:
    """While the first is running and after it was answered."""
    begin(ledger)
    with pytest.raises(IdempotencyConflict):
        begin(ledger, fingerprint="f2")
    finish(ledger)
    with pytest.raises(IdempotencyConflict):
        begin(ledger, fingerprint="f2")


def test_a_key_counts_for_one_tenant_and_route(ledger: Ledger) -> None:
    """The same key of another tenant or on another route is other work."""
    tokens = {
        begin(ledger, scope=scope)
        for scope in (
            SCOPE,
            replace(SCOPE, tenant="b"),
            replace(SCOPE, route="/v1/x"),
            replace(SCOPE, key="k2"),
        )
    }
    assert len(tokens) == 4 and all(isinstance(token, Fresh) for token in tokens)


def test_a_request_of_a_dead_process_is_taken_over(ledger: Ledger) -> None:
    """A repeat must wait while the first may be alive; afterwards it gets the same token, so the work is not doubled."""
    first = begin(ledger)
    with pytest.raises(StillRunning):
        begin(ledger, 1000.0 + IN_PROGRESS_SECONDS - 1)
    assert begin(ledger, 1000.0 + IN_PROGRESS_SECONDS) == first
    with pytest.raises(StillRunning):
        begin(ledger, 1000.0 + IN_PROGRESS_SECONDS + 1)


def test_one_of_many_at_once_does_the_work(ledger: Ledger) -> None:
    """Of requests that race with one key, exactly one is fresh; the others are told that it is still running."""

    def one(_: int) -> object:
        try:
            return begin(ledger)
        except StillRunning:
            return None

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(one, range(16)))
    assert sum(isinstance(result, Fresh) for result in results) == 1
    assert results.count(None) == 15


def test_a_request_that_was_not_accepted_leaves_no_trace(ledger: Ledger) -> None:
    """After `forget` the key is free; what was answered is never forgotten that way."""
    begin(ledger)
    with ledger.begin() as conn:
        idempotency.forget(conn, SCOPE)
    assert isinstance(begin(ledger, fingerprint="f2"), Fresh)
    finish(ledger)
    with ledger.begin() as conn:
        idempotency.forget(conn, SCOPE)
    assert isinstance(begin(ledger, fingerprint="f2"), Replay)


def test_expired_answers_are_purged(ledger: Ledger) -> None:
    """Only what has expired is deleted."""
    begin(ledger)
    begin(ledger, 2000.0, replace(SCOPE, key="k2"))
    with ledger.begin() as conn:
        assert idempotency.purge(conn, 1000.0 + KEEP_SECONDS) == 1
        assert idempotency.purge(conn, 1000.0 + KEEP_SECONDS) == 0
