"""Events, microbatches, workers and costs in the ledger."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.ledger import batches, costs, events, microbatches, workers
from storage.ledger.batches import NewBatch, RowError
from storage.ledger.costs import Cost, Sample, Sums, fit
from storage.ledger.engine import Ledger
from storage.ledger.microbatches import NewMicrobatch

NOW = 1_000_000.0


def test_an_event_becomes_one_thing(ledger: Ledger) -> None:
    """The first event is new, its repeat tells what it became; another tenant's or source's is another event."""
    event = {"tenant": "t", "source": "s", "id": "1", "now": NOW}
    with ledger.begin() as conn:
        assert events.remember(conn, became="job_1", **event) is None
    with ledger.begin() as conn:
        assert events.remember(conn, became="job_2", **event) == "job_1"
        assert events.remember(conn, became="job_3", **{**event, "source": "other"}) is None
        assert events.remember(conn, became="job_4", **{**event, "tenant": "other"}) is None
        assert events.became_of(conn, tenant="t", source="s", id="2") is None


def test_two_at_once_become_one_thing(ledger: Ledger) -> None:
    """The same event through two doors at the same moment: one wins, the other learns of it."""
    found: list[str | None] = []
    start = threading.Barrier(4)

    def deliver(became: str) -> None:
        start.wait()
        with ledger.begin() as conn:
            found.append(events.remember(conn, tenant="t", source="s", id="1", became=became, now=NOW))

    threads = [threading.Thread(target=deliver, args=(f"job_{place}",)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found.count(None) == 1
    assert len(set(found)) == 2


def _microbatch(id: str, worker: str = "w1") -> NewMicrobatch:
    return NewMicrobatch(
        id=id,
        worker=worker,
        batch_key="k",
        images='["img_1","img_2"]',
        solo=False,
        expected_seconds=1.0,
        released_at=NOW,
        lease_until=NOW + 30,
        good_until=NOW + 30,
    )


@pytest.mark.parametrize(("told", "noted"), [(NOW - 50, NOW), (NOW + 3, NOW + 3), (NOW + 999, NOW + 10)])
def test_a_start_lies_between_release_and_record(ledger: Ledger, told: float, noted: float) -> None:
    """A worker's wrong clock cannot move a start out of the time in which it must have happened."""
    with ledger.begin() as conn:
        microbatches.add(conn, [_microbatch("mb_1")])
        microbatches.started(conn, {"mb_1": told, "mb_gone": told}, NOW + 10)
        (one,) = microbatches.outstanding(conn)

    assert one.started_at == noted


def test_a_microbatch_lives_until_it_is_accounted_for(ledger: Ledger) -> None:
    """Leases only grow, the GPU's end is noted once, and a deleted row is gone."""
    with ledger.begin() as conn:
        microbatches.add(conn, [_microbatch("mb_1"), _microbatch("mb_2", "w2")])
        microbatches.listed(conn, ["mb_1"], NOW + 45)
        microbatches.listed(conn, ["mb_1"], NOW + 40)
        microbatches.gpu_done(conn, ["mb_1"], NOW + 1)
        microbatches.gpu_done(conn, ["mb_1"], NOW + 9)
        first = {one.id: one for one in microbatches.outstanding(conn)}["mb_1"]
        contents = microbatches.contents(conn, ["mb_1", "mb_gone"])
        assert microbatches.delete(conn, ["mb_1", "mb_gone"]) == 1
        left = [one.id for one in microbatches.outstanding(conn)]

    assert (first.lease_until, first.gpu_done_at) == (NOW + 45, NOW + 1)
    assert contents["mb_1"].images == ("img_1", "img_2") and not contents["mb_1"].started
    assert left == ["mb_2"]


def test_a_worker_is_as_its_last_heartbeat_says(ledger: Ledger) -> None:
    """A heartbeat replaces what was known and revives the lost; the long silent are forgotten unless they hold work."""
    with ledger.begin() as conn:
        for id in ("w1", "w2"):
            workers.beat(conn, id=id, pool="p", queue="q", models={"m": "d"}, accepting=True, now=NOW)
        workers.lost(conn, ["w1"], NOW + 20)
        lost = {one.id: one.lost_at for one in workers.everyone(conn)}
        workers.beat(conn, id="w1", pool="p", queue="q2", models={}, accepting=False, now=NOW + 30)
        (first, _) = workers.everyone(conn)
        microbatches.add(conn, [_microbatch("mb_1", "w1")])
        forgotten = workers.forget(conn, NOW + 100)
        left = [one.id for one in workers.everyone(conn)]

    assert lost == {"w1": NOW + 20, "w2": None}
    assert (first.queue, first.accepting, first.models, first.seen_at, first.lost_at) == (
        "q2",
        False,
        {},
        NOW + 30,
        None,
    )
    assert first.first_seen_at == NOW
    assert (forgotten, left) == (1, ["w1"])


def test_row_errors_page_in_order(ledger: Ledger) -> None:
    """Rejected rows come back in the order of the manifest, page by page."""
    with ledger.begin() as conn:
        batches.add(conn, NewBatch(id="bat_1", tenant="t", bucket="b", key="k", version="v", created_at=NOW))
        errors = [RowError(row=row, problem="{}") for row in (7, 2, 5)]
        batches.add_row_errors(conn, batch_id="bat_1", tenant="t", errors=errors)

        assert [one.row for one in batches.row_errors(conn, "bat_1", count=2)] == [2, 5]
        assert [one.row for one in batches.row_errors(conn, "bat_1", after=5)] == [7]


def test_costs_are_learned(ledger: Ledger) -> None:
    """From renders of several sizes the ledger learns fixed and per-image seconds."""
    with ledger.begin() as conn:
        costs.learn(conn, [Sample("k", n, 0.5 + 0.9 * n) for n in (1, 8, 4, 2, 8, 1)])
        cost = fit(costs.known(conn)["k"])

    assert cost.fixed == pytest.approx(0.5, abs=1e-6)
    assert cost.per_image == pytest.approx(0.9, abs=1e-6)


def _sums(samples: list[tuple[int, float]]) -> Sums:
    total = [0.0] * 5
    for n, t in samples:
        total = [old * 0.95 + new for old, new in zip(total, (1.0, n, n * n, t, n * t), strict=True)]
    return Sums(*total)


@given(st.lists(st.tuples(st.integers(1, 64), st.floats(0.001, 600)), min_size=1, max_size=40))
def test_a_fitted_cost_is_never_negative(samples: list[tuple[int, float]]) -> None:
    """Whatever was measured, both parts are at least zero and a mean microbatch takes the mean time."""
    sums = _sums(samples)
    for prior in (None, Cost(0.0, 0.0), Cost(1.0, 0.1)):
        cost = fit(sums, prior)
        assert cost.fixed >= -1e-9 and cost.per_image >= -1e-9
        mean_n, mean_t = sums.n / sums.weight, sums.t / sums.weight
        assert cost.fixed + cost.per_image * mean_n == pytest.approx(mean_t, rel=1e-6, abs=1e-9)


def test_samples_of_one_size_keep_the_prior_s_shape() -> None:
    """When every microbatch was full, the split into fixed and per image comes from the model's own card."""
    cost = fit(_sums([(8, 4.0)] * 10), Cost(1.0, 0.125))

    assert cost.fixed == pytest.approx(2.0)
    assert cost.per_image == pytest.approx(0.25)
