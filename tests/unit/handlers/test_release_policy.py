"""The pure parts of the releaser: fairness, windows, sizes, waiting, residency, losses."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.estimates import Estimates, model_of
from handlers.fairness import FairLane, LaneShares
from handlers.give_back import hopeless
from handlers.leases import losses
from handlers.release_params import ReleaserParams
from handlers.residency import Residency
from handlers.windows import live, openings, serves, slow_keys
from storage.ledger.costs import Cost
from storage.ledger.images import Held
from storage.ledger.marks import Mark
from storage.ledger.microbatches import Outstanding
from storage.ledger.workers import WorkerRecord

NOW = 1_000_000.0
PARAMS = ReleaserParams()
KEY = "m@abc/128x128/8"


def _estimates(cost: Cost | None, params: ReleaserParams = PARAMS) -> Estimates:
    return Estimates(params, {"m@abc": cost} if cost else {})


def _worker(id: str, **fields: object) -> WorkerRecord:
    known = {
        "pool": "p",
        "queue": "q",
        "models": {"m": "abc" + "0" * 61},
        "accepting": True,
        "first_seen_at": NOW,
        "seen_at": NOW,
    }
    return WorkerRecord(id=id, **{**known, **fields})  # type: ignore[arg-type]


def _out(
    worker: str,
    seconds: float = 1.0,
    started: float | None = None,
    done: float | None = None,
    at: float = NOW,
) -> Outstanding:
    return Outstanding(f"mb_{worker}_{at}", worker, KEY, False, seconds, at, started, done, at + 30)


@given(st.lists(st.floats(0.01, 10), min_size=200, max_size=200), st.integers(2, 6))
def test_tenants_with_equal_weight_get_equal_seconds(costs: list[float], tenants: int) -> None:
    """However large each charge, tenants that always have work stay within one charge of each other."""
    lane, spent = FairLane({}), Counter[str]()
    names = {f"t{place}" for place in range(tenants)}
    lane.set_active(names)
    for cost in costs:
        picked = lane.pick(lambda tenant: tenant)
        assert picked is not None
        lane.charge(picked[0], cost)
        spent[picked[0]] += cost

    assert max(spent[name] for name in names) - min(spent[name] for name in names) <= max(costs) + 1e-6


def test_a_weight_of_two_gets_twice_the_seconds() -> None:
    """Weights scale the share."""
    lane, picks = FairLane({"big": 2.0}), Counter[str]()
    lane.set_active({"big", "small"})
    for _ in range(300):
        picked = lane.pick(lambda tenant: tenant)
        assert picked is not None
        picks[picked[0]] += 1
        lane.charge(picked[0], 1.0)

    assert picks["big"] == pytest.approx(200, abs=2)


def test_absence_earns_no_credit() -> None:
    """A tenant that comes back does not get everything it missed, and is not punished either."""
    lane, picks = FairLane({}), Counter[str]()
    lane.set_active({"busy"})
    for _ in range(100):
        lane.charge("busy", 1.0)
    lane.set_active({"busy", "new"})
    for _ in range(20):
        picked = lane.pick(lambda tenant: tenant)
        assert picked is not None
        picks[picked[0]] += 1
        lane.charge(picked[0], 1.0)

    assert picks["new"] == pytest.approx(10, abs=1)


def test_a_tenant_that_cannot_be_served_now_keeps_its_turn() -> None:
    """Passing over a tenant does not cost it its place."""
    lane = FairLane({})
    lane.set_active({"a", "b"})
    lane.charge("b", 1.0)

    assert lane.pick(lambda tenant: tenant if tenant == "b" else None) == ("b", "b")
    assert lane.pick(lambda tenant: tenant) == ("a", "a")
    lane.set_active({"b"})
    assert lane.pick(lambda tenant: tenant) == ("b", "b")


def test_bulk_keeps_a_tenth_under_interactive_overload() -> None:
    """Both lanes always full: bulk gets its reserve and no more."""
    shares, seconds = LaneShares(0.10, 60.0), [0.0, 0.0]
    for step in range(2000):
        lane = shares.order({0, 1}, NOW + step)[0]
        shares.charge(lane, 1.0, NOW + step)
        seconds[lane] += 1

    assert seconds[1] / sum(seconds) == pytest.approx(0.10, abs=0.01)


def test_bulk_saves_no_share_while_it_is_away() -> None:
    """After an hour of interactive work alone, arriving bulk gets a tenth and not the whole fleet."""
    shares = LaneShares(0.10, 60.0)
    for step in range(3600):
        shares.order({0}, NOW + step)
        shares.charge(0, 1.0, NOW + step)
    first = [shares.order({0, 1}, NOW + 3600)[0]]
    for step in range(30):
        shares.charge(first[-1], 1.0, NOW + 3600 + step)
        first.append(shares.order({0, 1}, NOW + 3601 + step)[0])

    assert sum(first) <= 6


@pytest.mark.parametrize(
    ("cost", "target", "size"),
    [
        (Cost(0.15, 0.02), None, 8),  # fixed-cost-heavy: the cap
        (Cost(0.5, 0.9), None, 6),  # sdxl-like: five make the fixed part small, a sixth the message
        (Cost(0.0, 0.9), None, 1),
        (Cost(0.5, 0.9), 9.0, 2),  # a third of nine seconds holds two
        (Cost(0.0, 0.0), None, 8),
        (None, None, 8),
    ],
)
def test_microbatch_size(cost: Cost | None, target: float | None, size: int) -> None:
    """The fewest images with which fixed costs are at most a tenth, within the cap and a third of the latency target."""
    params = ReleaserParams(interactive_target=target)

    assert _estimates(cost, params).full_size(KEY, 0) == size


def test_late_release() -> None:
    """A busy worker gets its next microbatch when its GPU is expected free within the lead, not earlier."""
    estimates = _estimates(Cost(0.0, 1.0))
    busy = [_out("w1", 8.0, started=NOW)]
    lead = 2 * estimates.latency + PARAMS.tick + PARAMS.lead_margin

    early = openings([_worker("w1")], busy, estimates, PARAMS, NOW + 1)
    due = openings([_worker("w1")], busy, estimates, PARAMS, NOW + 8 - lead + 0.001)

    assert early.slots == ()
    assert early.next_at == pytest.approx(NOW + 8 - lead)
    assert [slot.idle for slot in due.slots] == [False]


def test_the_window_is_two_in_practice_and_wider_for_remote_workers() -> None:
    """k = 1 + ceil(round trip / render): two outstanding at most where a render outlasts the round trip."""
    estimates = _estimates(Cost(0.0, 1.0))
    two = [_out("w1", 0.5, at=NOW), _out("w1", 0.5, at=NOW + 1)]

    assert openings([_worker("w1")], two, estimates, PARAMS, NOW + 5).slots == ()
    estimates.latency = 0.4
    assert len(openings([_worker("w1")], two, estimates, PARAMS, NOW + 5).slots) == 1


def test_what_is_off_the_gpu_takes_no_place() -> None:
    """The slot is freed by the GPU and not by the outcome."""
    stored = [
        _out("w1", 1.0, started=NOW, done=NOW + 1),
        _out("w1", 1.0, started=NOW, done=NOW + 1, at=NOW + 1),
    ]

    assert [
        slot.idle for slot in openings([_worker("w1")], stored, _estimates(None), PARAMS, NOW + 2).slots
    ] == [True]


def test_without_an_estimate_the_window_alone_limits() -> None:
    """A key never rendered before: two outstanding, at once."""
    assert len(openings([_worker("w1")], [_out("w1", 0.0)], _estimates(None), PARAMS, NOW).slots) == 1
    assert (
        openings([_worker("w1")], [_out("w1", 0.0), _out("w1", 0.0)], _estimates(None), PARAMS, NOW).slots
        == ()
    )


def test_nothing_is_queued_behind_a_slow_render() -> None:
    """Even when its end seems near: a wrong estimate would hold everything up."""
    held = [
        _out("slow", 60.0, started=NOW - 59.99),
        _out("quick", 0.3, started=NOW),
        _out("other", 0.3, started=NOW),
    ]
    found = openings(
        [_worker("slow"), _worker("quick"), _worker("other")], held, _estimates(None), PARAMS, NOW + 0.29
    )

    assert {slot.worker.id for slot in found.slots} == {"quick", "other"}


def test_slow_keys_stand_out_from_the_median() -> None:
    """Ten times the median of what is in play is slow; a key alone is not."""
    estimates = Estimates(PARAMS, {"quick@1": Cost(0.0, 0.1), "slow@1": Cost(0.0, 30.0)})

    assert slow_keys(["quick@1/a", "slow@1/a"], estimates, PARAMS) == {"slow@1/a"}
    assert slow_keys(["slow@1/a"], estimates, PARAMS) == set()


def test_only_living_accepting_workers_count() -> None:
    """Silent, lost and departing workers are sent nothing."""
    known = [
        _worker("fine"),
        _worker("silent", seen_at=NOW - 16),
        _worker("lost", lost_at=NOW - 1),
        _worker("leaving", accepting=False),
    ]

    assert [one.id for one in live(known, NOW, PARAMS)] == ["fine"]


def test_a_model_is_name_and_digest() -> None:
    """Another version of a model is another model."""
    assert serves(_worker("w", models={"m": "abc" + "0" * 61}), KEY)
    assert not serves(_worker("w", models={"m": "abd" + "0" * 61}), KEY)
    assert not serves(_worker("w", models={}), KEY)


def test_waiting_for_company_only_where_it_pays() -> None:
    """A mostly fixed cost and brisk arrivals: wait up to 50 ms. Otherwise an idle GPU starts at once."""
    brisk, lonely, linear = (
        _estimates(Cost(0.3, 0.02)),
        _estimates(Cost(0.3, 0.02)),
        _estimates(Cost(0.5, 0.9)),
    )
    for estimates in (brisk, linear):
        estimates.learn_arrivals(KEY, [NOW + 0.01 * step for step in range(20)])
    lonely.learn_arrivals(KEY, [NOW - 100, NOW - 50, NOW])
    now = NOW + 0.2

    assert brisk.wait_for_company(KEY, now, now) == pytest.approx(now + 0.05)
    assert lonely.wait_for_company(KEY, now, now) == now
    assert linear.wait_for_company(KEY, now, now) == now
    assert brisk.wait_for_company(KEY, now, now + 60) <= now + 60  # arrivals have dried up


def test_a_worker_stays_on_its_model() -> None:
    """Loading weights costs seconds: a worker keeps its model while that has work."""
    residency = Residency(PARAMS)
    residency.sent("w1", "a@1/x", NOW)
    residency.sent("w2", "b@1/x", NOW)
    both = {"a@1": NOW, "b@1": NOW}

    assert residency.models("w1", True, both, NOW + 5) == {"a@1"}
    assert residency.models("w1", True, {"b@1": NOW}, NOW + 5) == frozenset()
    assert residency.models("new", True, both, NOW + 5) == {"a@1", "b@1"}


def test_a_starving_model_gets_a_worker() -> None:
    """A model without a worker gets one after ten seconds, from one that has stayed long enough and is idle."""
    residency = Residency(PARAMS)
    for worker in ("w1", "w2"):
        residency.sent(worker, "a@1/x", NOW)
    waiting = {"a@1": NOW, "c@1": NOW + 60}

    assert residency.models("w1", True, waiting, NOW + 65) == {"a@1"}
    assert residency.models("w1", False, waiting, NOW + 75) == {"a@1"}
    assert residency.models("w1", True, waiting, NOW + 75) == {"c@1"}
    residency.sent("w1", "c@1/x", NOW + 75)
    assert residency.models("w2", True, waiting, NOW + 76) == {"a@1"}


def test_a_model_with_work_moves_in_when_the_old_one_has_none() -> None:
    """An idle worker whose model has no work takes a model that no other worker has."""
    residency = Residency(PARAMS)
    residency.sent("w1", "a@1/x", NOW)

    assert residency.models("w1", True, {"c@1": NOW}, NOW + 1) == {"c@1"}
    assert residency.models("w1", False, {"c@1": NOW}, NOW + 1) == frozenset()


@pytest.mark.parametrize(
    ("attempts", "deaths", "over"),
    [(2, ("a", "b"), False), (3, ("a", "b", "a"), True), (3, ("a", "a", "a"), False), (6, ("a",) * 6, True)],
)
def test_three_deaths_on_two_workers(attempts: int, deaths: tuple[str, ...], over: bool) -> None:
    """One broken machine does not condemn an image, except where it is the only one and goes on dying."""
    assert hopeless(Held("img", "d", attempts, deaths), 3) is over


def test_silence_is_measured_on_what_the_recorder_has_read() -> None:
    """A recorder that stood still for a minute must not make the whole fleet look dead."""
    held = [_out("w1", started=NOW)]
    deaf = Mark(since=NOW - 600, at=NOW + 2)
    back = Mark(since=NOW + 60, at=NOW + 61)
    hears = Mark(since=NOW - 600, at=NOW + 19)

    assert losses([_worker("w1")], held, deaf, PARAMS, NOW + 60).workers == frozenset()
    assert losses([_worker("w1")], held, back, PARAMS, NOW + 61).workers == frozenset()
    assert losses([_worker("w1")], held, None, PARAMS, NOW + 61).workers == frozenset()
    assert losses([_worker("w1")], held, hears, PARAMS, NOW + 19).workers == {"w1"}


def test_unlisted_is_lost_although_the_worker_lives() -> None:
    """Released and never listed for thirty seconds: the message is gone, the worker is not."""
    lively = [_worker("w1", seen_at=NOW + 33)]
    before = losses(lively, [_out("w1")], Mark(NOW - 600, NOW + 32.9), PARAMS, NOW + 33)
    after = losses(lively, [_out("w1")], Mark(NOW - 600, NOW + 33.1), PARAMS, NOW + 34)

    assert before.microbatches == ()
    assert len(after.microbatches) == 1 and after.workers == frozenset()


@pytest.mark.parametrize(
    ("pool", "dead", "mass"), [(4, 4, False), (5, 1, False), (5, 2, True), (20, 4, False), (20, 5, True)]
)
def test_mass_death(pool: int, dead: int, mass: bool) -> None:
    """More than a fifth of five or more workers gone within a minute: nobody's image is to blame."""
    fleet = [_worker(f"w{place}", seen_at=NOW if place < dead else NOW + 19) for place in range(pool)]
    held = [_out(f"w{place}", started=NOW) for place in range(dead)]
    found = losses(fleet, held, Mark(NOW - 600, NOW + 19), PARAMS, NOW + 19)

    assert len(found.workers) == dead
    assert found.mass_death == (frozenset({"p"}) if mass else frozenset())


def test_the_model_of_a_key() -> None:
    """Size and steps share one set of weights."""
    assert model_of("m@abc/128x128/8") == model_of("m@abc/64x64/4") == "m@abc"
