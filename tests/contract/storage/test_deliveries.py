"""Webhooks owed, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import event, select, text

from schemas.errors import NotFound
from storage.ledger import deliveries, tables
from storage.ledger.deliveries import NewDelivery, Settlement
from storage.ledger.engine import Ledger

URL, OTHER = "https://a.example/", "https://b.example/"


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


def owe(
    ledger: Ledger, count: int = 1, url: str = URL, tenant: str = "acme", now: float = 100.0
) -> list[str]:
    new = NewDelivery(
        tenant=tenant, url=url, type="job.completed", about="job_1", body='{"é": 1}', traceparent="t"
    )
    with ledger.begin() as conn:
        ids = deliveries.add_many(conn, [new] * count, now)
    assert all(ids)
    return [id for id in ids if id]


def claim(ledger: Ledger, now: float = 100.0, limit: int = 100) -> list[deliveries.ClaimedDelivery]:
    with ledger.begin() as conn:
        return deliveries.claim(conn, now, limit, 60.0)


def settle(
    ledger: Ledger, claimed: deliveries.ClaimedDelivery, state: deliveries.DeliveryState, at: float = 101.0
) -> None:
    done = state == "delivered"
    with ledger.begin() as conn:
        settlement = Settlement(
            id=claimed.id, endpoint=claimed.endpoint, state=state, next_attempt_at=at + 5,
            status=200 if done else 500, error=None if done else "500", at=at,
        )  # fmt: skip
        deliveries.settle(conn, [settlement])


def history(ledger: Ledger, tenant: str = "acme") -> list[deliveries.DeliveryRecord]:
    with ledger.read() as conn:
        return deliveries.log(conn, tenant=tenant)


def place(ledger: Ledger, url: str = URL) -> deliveries.EndpointRecord:
    with ledger.read() as conn:
        return next(found for found in deliveries.endpoints(conn, "acme") if found.url == url)


def test_a_claim_gives_all_that_sending_needs(ledger: Ledger) -> None:
    """Exact body, address, type, trace context and the endpoint's record of failure."""
    [id] = owe(ledger)
    [one] = claim(ledger)
    assert (one.id, one.tenant, one.url, one.type, one.body, one.traceparent) == (
        id,
        "acme",
        URL,
        "job.completed",
        '{"é": 1}',
        "t",
    )
    assert (one.attempts, one.failing_since, one.consecutive_failures, one.disabled) == (0, None, 0, False)


def test_one_endpoint_for_each_tenant_and_address(ledger: Ledger) -> None:
    """Deliveries to one address of one tenant share an endpoint, also when added at once; tenants never do."""
    new = [
        NewDelivery(tenant=tenant, url=url, type="x", about="job_1", body="{}")
        for tenant in ("a", "b")
        for url in (URL, OTHER)
    ]
    with ThreadPoolExecutor(4) as pool:

        def add(_: int) -> None:
            with ledger.begin() as conn:
                deliveries.add_many(conn, new, 1.0)

        list(pool.map(add, range(8)))
    with ledger.read() as conn:
        rows = conn.execute(select(tables.endpoint.c.tenant, tables.endpoint.c.url)).all()
    assert sorted(map(tuple, rows)) == [("a", URL), ("a", OTHER), ("b", URL), ("b", OTHER)]
    assert len(claim(ledger)) == 32


def test_nothing_is_claimed_twice_within_its_lease(ledger: Ledger) -> None:
    """Claimers at once share out what is due; each delivery is claimed by one of them, and by another when the lease ends."""
    ids = owe(ledger, 40)
    with ThreadPoolExecutor(4) as pool:
        batches = list(pool.map(lambda _: claim(ledger, limit=7), range(8)))
    claimed = [one.id for batch in batches for one in batch]
    claimed += [one.id for one in claim(ledger)]
    assert sorted(claimed) == sorted(ids)
    assert claim(ledger, now=159.9) == []
    assert sorted(one.id for one in claim(ledger, now=160.0)) == sorted(ids)


def test_longest_due_first_and_nothing_early(ledger: Ledger) -> None:
    """A claim takes what has been due longest, in that order, and nothing whose time has not come."""
    late, early, future = (owe(ledger, now=now)[0] for now in (50.0, 10.0, 101.0))
    assert [one.id for one in claim(ledger)] == [early, late]
    with ledger.read() as conn:
        assert deliveries.oldest_due(conn) == 101.0
    assert [one.id for one in claim(ledger, now=101.0)] == [future]


def test_what_is_delivered_is_never_due_again(ledger: Ledger) -> None:
    """After success the delivery has ended, and a late settlement by a claimer that lost its lease changes nothing."""
    owe(ledger)
    [one] = claim(ledger)
    settle(ledger, one, "delivered")
    settle(ledger, one, "pending", at=300.0)
    [record] = history(ledger)
    assert (record.state, record.attempts, record.last_status, record.ended_at) == (
        "delivered",
        1,
        200,
        101.0,
    )
    assert claim(ledger, now=1e9) == []


def test_failures_are_counted_on_the_endpoint_until_a_success(ledger: Ledger) -> None:
    """The first failure starts the clock, later ones count on, a success clears both."""
    owe(ledger, 3)
    first, second, third = claim(ledger)
    settle(ledger, first, "pending", at=101.0)
    settle(ledger, second, "abandoned", at=102.0)
    assert (place(ledger).failing_since, place(ledger).consecutive_failures) == (101.0, 2)
    [again] = claim(ledger, now=106.0)
    assert (again.id, again.attempts, again.failing_since, again.consecutive_failures) == (
        first.id,
        1,
        101.0,
        2,
    )
    settle(ledger, third, "delivered")
    assert (place(ledger).failing_since, place(ledger).consecutive_failures) == (None, 0)


def test_a_disabled_endpoint_is_owed_nothing(ledger: Ledger) -> None:
    """Disabling abandons what is owed there and only there; further deliveries are not taken; it happens once."""
    owe(ledger, 2)
    owe(ledger, 1, url=OTHER)
    with ledger.begin() as conn:
        assert deliveries.disable(conn, place(ledger).id, "gone", 110.0)
        assert not deliveries.disable(conn, place(ledger).id, "failing", 111.0)
        arguments = {
            "tenant": "acme",
            "type": "x",
            "about": "job_1",
            "body": "{}",
            "traceparent": None,
            "now": 112.0,
        }
        assert deliveries.add(conn, url=URL, **arguments) is None
        assert deliveries.add(conn, url=OTHER, **arguments)
    assert (place(ledger).disabled_at, place(ledger).disabled_reason) == (110.0, "gone")
    assert {one.url for one in claim(ledger, now=1e9)} == {OTHER}
    assert [record.state for record in history(ledger)].count("abandoned") == 2


def test_reenabling_replays_what_was_lost_since_a_moment(ledger: Ledger) -> None:
    """The same ids are due again with all their attempts; what was delivered or is older is not; other tenants cannot."""
    [old] = owe(ledger, now=50.0)
    lost, delivered = owe(ledger, 2, now=100.0)
    settle(ledger, next(one for one in claim(ledger) if one.id == delivered), "delivered")
    with ledger.begin() as conn:
        deliveries.disable(conn, place(ledger).id, "failing", 110.0)
    with pytest.raises(NotFound), ledger.begin() as conn:
        deliveries.reenable(conn, tenant="other", endpoint_id=place(ledger).id, now=200.0, replay_since=0.0)
    with ledger.begin() as conn:
        assert (
            deliveries.reenable(
                conn, tenant="acme", endpoint_id=place(ledger).id, now=200.0, replay_since=100.0
            )
            == 1
        )
    assert [(one.id, one.attempts) for one in claim(ledger, now=200.0)] == [(lost, 0)]
    assert place(ledger).disabled_at is None
    assert {record.id: record.state for record in history(ledger)}[old] == "abandoned"


def test_postponing_counts_no_attempt(ledger: Ledger) -> None:
    """One delivery or all of an endpoint can wait longer; others stay due and nothing moves forward."""
    first, second = owe(ledger, 2)
    [other] = owe(ledger, url=OTHER)
    claim(ledger)
    with ledger.begin() as conn:
        deliveries.postpone(conn, [first, other], 120.0)
        deliveries.postpone_endpoint(conn, place(ledger).id, 150.0)
    assert [one.id for one in claim(ledger, now=149.0)] == [other]
    assert [(one.id, one.attempts) for one in claim(ledger, now=150.0)] == [(first, 0)]
    assert [one.id for one in claim(ledger, now=160.0)] == [second]


def test_the_log_is_the_tenants_own(ledger: Ledger) -> None:
    """Newest first, by pages, for one job or endpoint, and never another tenant's."""
    ids = owe(ledger, 5)
    owe(ledger, 1, tenant="other")
    with ledger.read() as conn:
        assert {record.id for record in deliveries.log(conn, tenant="acme", about="job_1")} == set(ids)
        page = deliveries.log(conn, tenant="acme", limit=2)
        rest = deliveries.log(conn, tenant="acme", before=page[-1].id, endpoint_id=place(ledger).id)
        assert [record.id for record in page + rest] == sorted(ids, reverse=True)
        assert deliveries.log(conn, tenant="acme", about="job_2") == []


def test_claims_seek_by_the_index_of_what_is_due(tmp_path: Path) -> None:
    """The cost of a claim does not grow with what was delivered: SQLite answers from the partial index."""
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        ledger.migrate()
        seen: list[str] = []
        owe(ledger)
        with ledger.begin() as conn:
            event.listen(
                conn,
                "before_cursor_execute",
                lambda c, k, statement, parameters, x, m: seen.append(statement),
            )
            deliveries.claim(conn, 100.0, 10, 60.0)
            deliveries.oldest_due(conn)
            deliveries.postpone_endpoint(conn, "end_1", 1.0)
            plans = [
                " ".join(
                    row[3] for row in conn.execute(text("EXPLAIN QUERY PLAN " + statement.replace("?", "1")))
                )
                for statement in list(seen)
                if "pending" in statement
            ]
    assert any("delivery_due" in plan for plan in plans)
    assert not any("SCAN delivery" in plan and "INDEX" not in plan for plan in plans), plans
