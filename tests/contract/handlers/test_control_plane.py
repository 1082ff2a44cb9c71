"""Releaser and recorder around a ledger, on both databases: every rule seen from outside."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from control_plane import (
    MODEL,
    OTHER_MODEL,
    Fleet,
    failed,
    finished,
    gpu_done,
    rendered,
    returned,
    started,
    verdict,
)
from ledgers import delivery_bodies
from sqlalchemy import text

from handlers.cancel import cancel_job
from handlers.release_params import ReleaserParams
from handlers.releaser import Releaser
from schemas.errors import NotFound
from schemas.outcome import ImageBlocked
from schemas.verdict import Decision
from storage.ledger import images, jobs
from storage.ledger.costs import Cost
from storage.ledger.engine import Ledger

HOOK = {"url": "https://example.org/hook", "events": ["job.completed"]}


def _states(fleet: Fleet) -> Counter[str]:
    with fleet.ledger.read() as conn:
        rows = conn.execute(text("SELECT state, count(*) FROM image GROUP BY state"))
        return Counter({row[0]: row[1] for row in rows})


def _job(fleet: Fleet, id: str) -> Any:
    with fleet.ledger.read() as conn:
        return jobs.get(conn, tenant="default", id=id)


def _bodies(fleet: Fleet, type: str | None = None) -> list[dict[str, Any]]:
    with fleet.ledger.read() as conn:
        found = [json.loads(body) for body in delivery_bodies(conn)]
    return [body for body in found if type in (None, body["type"])]


def test_one_job_from_plan_to_webhook(ledger: Ledger) -> None:
    """Ten images leave as two compatible microbatches, come back, and the job is told of once with exact counts."""
    fleet = Fleet(ledger)
    job = fleet.plan(n=10, webhook=HOOK, metadata={"order": "7"}).job.id
    fleet.beat("w1", "w2")
    sent = fleet.tick()
    assert sorted(len(one.images) for one in sent) == [2, 8]
    assert {one.worker for one in sent} == {"w1", "w2"}
    assert all(task.spec.digest == task.digest for one in sent for task in one.images)

    fleet.report(*(started(one, fleet.clock.now) for one in sent))
    fleet.report(*(finished(one, fleet.clock.now) for one in sent))

    row = _job(fleet, job)
    assert (row.rendered, row.total, row.ended_at) == (10, 10, fleet.clock.now)
    (body,) = _bodies(fleet)
    assert body["type"] == "job.completed"
    assert body["data"]["counts"] == {
        "total": 10,
        "rendered": 10,
        **dict.fromkeys(("blocked", "failed", "canceled", "expired", "held", "rejected_rows"), 0),
    }
    assert body["data"]["state"] == "completed"
    assert body["data"]["metadata"] == {"order": "7"}
    assert [one["id"] for one in body["data"]["images"]] == sorted(
        one["id"] for one in body["data"]["images"]
    )
    assert fleet.tick() == []


def test_nothing_leaves_without_a_living_worker(ledger: Ledger) -> None:
    """No worker, a silent one, one that is leaving, one with another model: the backlog stays in the ledger."""
    fleet = Fleet(ledger)
    fleet.plan(n=2)
    assert fleet.tick() == []
    fleet.beat("leaving", accepting=False)
    assert fleet.tick() == []
    fleet.models = (OTHER_MODEL,)
    fleet.beat("other")
    assert fleet.tick() == []
    fleet.models = (MODEL,)
    fleet.beat("w1")
    fleet.clock.pass_by(16)
    assert fleet.tick() == []
    fleet.beat("w1")

    assert [one.worker for one in fleet.tick()] == ["w1"]


def test_batch_keys_are_never_mixed(ledger: Ledger) -> None:
    """Images of different size or steps never share a microbatch; prompt, seed, guidance and tenant may differ."""
    fleet = Fleet(ledger)
    fleet.plan(n=2, size=["128x128", "160x96"])
    fleet.plan(n=2, prompt="a blue chair", guidance=5, seed=1)
    fleet.plan(n=2, tenant="other")
    fleet.plan(n=1, steps=4)
    fleet.beat("w1", "w2", "w3")
    sent = fleet.tick()

    assert sorted(len(one.images) for one in sent) == [1, 2, 6]
    for one in sent:
        assert {task.spec.batch_key for task in one.images} == {one.batch_key}


def test_gpu_done_frees_the_place_before_the_outcome(ledger: Ledger) -> None:
    """The next microbatch leaves when the GPU is free, while the last one is still being stored."""
    fleet = Fleet(ledger, cost=Cost(0.0, 1.0), params=ReleaserParams(images_most=1))
    fleet.plan(n=3)
    fleet.beat("w1")
    (first,) = fleet.tick()
    fleet.report(started(first, fleet.clock.now))
    assert fleet.tick() == []
    (second,) = (fleet.clock.pass_by(0.85), fleet.tick())[1]

    fleet.report(started(second, fleet.clock.now, gpu_done(first, fleet.clock.now, 1.0)))

    assert fleet.tick() == []
    assert len((fleet.clock.pass_by(0.85), fleet.tick())[1]) == 1


def test_interactive_goes_before_bulk_and_bulk_fills_up(ledger: Ledger) -> None:
    """One microbatch: the interactive image first, the free places with bulk of the same key."""
    fleet = Fleet(ledger)
    bulk = fleet.plan(n=20, lane="bulk")
    quick = fleet.plan(n=1, prompt="now")
    fleet.beat("w1")
    (sent,) = fleet.tick()

    assert sent.images[0].job == quick.job.id
    assert [task.job for task in sent.images[1:]] == [bulk.job.id] * 7


def test_a_small_tenant_is_not_behind_a_large_one(ledger: Ledger) -> None:
    """Behind a backlog of a thousand images a tenant with eight is served with the second microbatch."""
    fleet = Fleet(ledger, params=ReleaserParams(window_most=1))
    for place in range(8):
        fleet.plan(n=64, tenant="huge", lane="bulk", prompt=f"p{place}")
    fleet.beat("w1")
    served: list[str] = []
    for step in range(4):
        if step == 1:
            fleet.plan(n=8, tenant="small", lane="bulk")
        (sent,) = fleet.tick()
        served.append(sent.images[0].tenant)
        fleet.report(finished(sent, fleet.clock.now))

    assert served.index("small") <= 2


def test_the_earliest_deadline_of_a_tenant_goes_first(ledger: Ledger) -> None:
    """Between a tenant's keys the one with the nearest deadline is next."""
    fleet = Fleet(ledger, params=ReleaserParams(window_most=1))
    fleet.plan(n=1, size="128x128")
    urgent = fleet.plan(n=1, size="160x96", finish_by="2099-01-01T00:00:00Z")
    fleet.beat("w1")
    (sent,) = fleet.tick()

    assert sent.images[0].job == urgent.job.id


def test_a_dead_worker_s_waiting_images_are_planned_again(ledger: Ledger) -> None:
    """Not started when its worker died: no attempt is counted, and another worker gets it."""
    fleet = Fleet(ledger)
    fleet.plan(n=4)
    fleet.beat("w1")
    (sent,) = fleet.tick()
    fleet.clock.pass_by(19)
    fleet.beat("w2")
    fleet.sweep()
    (again,) = fleet.tick()

    assert again.worker == "w2"
    assert {task.image for task in again.images} == {task.image for task in sent.images}
    with ledger.read() as conn:
        assert conn.execute(text("SELECT sum(attempts) FROM image")).scalar() == 0


def test_suspects_go_alone_and_the_third_death_on_two_workers_is_the_end(ledger: Ledger) -> None:
    """A poisonous image takes its neighbours along once; then it dies alone, fails, and they are rendered."""
    fleet = Fleet(ledger)
    plan = fleet.plan(n=4, webhook=HOOK)
    bad = plan.images[0].id
    done: set[str] = set()
    for round in range(40):
        fleet.beat(f"w{round}")
        for one in fleet.tick():
            if round:
                assert len(one.images) == 1
            fleet.report(started(one, fleet.clock.now))
            if bad not in {task.image for task in one.images}:
                fleet.report(finished(one, fleet.clock.now))
                done |= {task.image for task in one.images}
        fleet.clock.pass_by(19)
        fleet.hear()
        fleet.sweep()
        if _states(fleet)["released"] + _states(fleet)["suspect"] == 0:
            break

    assert _states(fleet) == {"rendered": 3, "failed": 1}
    with ledger.read() as conn:
        row = images.get(conn, tenant="default", id=bad)
    assert (
        row is not None and row.attempts == 2 and json.loads(row.result)["failure"]["code"] == "worker_died"
    )
    (body,) = _bodies(fleet)
    assert body["data"]["state"] == "partial"
    assert (body["data"]["counts"]["rendered"], body["data"]["counts"]["failed"]) == (3, 1)


def test_suspects_take_at_most_half_of_the_places(ledger: Ledger) -> None:
    """While suspects are tried one by one, fresh work goes on."""
    fleet = Fleet(ledger)
    fleet.plan(n=8)
    fleet.beat("w0")
    (sent,) = fleet.tick()
    fleet.report(started(sent, fleet.clock.now))
    fleet.clock.pass_by(19)
    fleet.plan(n=64, prompt="fresh")
    fleet.beat("w1", "w2", "w3", "w4")
    fleet.sweep()
    sizes = sorted(len(one.images) for one in fleet.tick())

    assert sizes == [1, 1, 8, 8]


def test_a_redelivered_start_is_suspicious_and_a_stop_is_not(ledger: Ledger) -> None:
    """Returned on shutdown: planned again without an attempt. Redelivered after a start: a suspect."""
    fleet = Fleet(ledger, params=ReleaserParams(images_most=1))
    fleet.plan(n=2)
    fleet.beat("w1", "w2")
    one, two = fleet.tick()
    fleet.report(started(one, fleet.clock.now), started(two, fleet.clock.now))
    fleet.report(
        finished(one, fleet.clock.now, returned(one.images[0], "shutdown")),
        finished(two, fleet.clock.now, returned(two.images[0], "redelivered")),
    )

    assert _states(fleet) == {"planned": 1, "suspect": 1}


def test_a_failure_that_may_pass_is_tried_three_times(ledger: Ledger) -> None:
    """A retryable failure plans the image again; the third ends it with the stage named."""
    fleet = Fleet(ledger)
    fleet.plan(n=1)
    fleet.beat("w1")
    tries = 0
    while sent := fleet.tick():
        tries += 1
        fleet.report(finished(sent[0], fleet.clock.now, failed(sent[0].images[0], retryable=True)))

    assert tries == 3
    assert _states(fleet) == {"failed": 1}


def test_what_a_report_forgets_is_planned_again(ledger: Ledger) -> None:
    """A finished microbatch that does not mention one of its images leaves nothing behind in released."""
    fleet = Fleet(ledger)
    fleet.plan(n=3)
    fleet.beat("w1")
    (sent,) = fleet.tick()
    fleet.report(finished(sent, fleet.clock.now, rendered(sent.images[0])))

    assert _states(fleet) == {"rendered": 1, "planned": 2}


def test_duplicates_and_stale_outcomes_count_once(ledger: Ledger) -> None:
    """The same outcome three times, once from a worker long given up: one image, one count, one webhook."""
    fleet = Fleet(ledger)
    job = fleet.plan(n=2, webhook=HOOK).job.id
    fleet.beat("w1")
    (stale,) = fleet.tick()
    fleet.clock.pass_by(19)
    fleet.beat("w2")
    fleet.sweep()
    (fresh,) = fleet.tick()
    fleet.report(finished(stale, fleet.clock.now), finished(stale, fleet.clock.now))
    fleet.report(finished(fresh, fleet.clock.now), started(fresh, fleet.clock.now))

    assert (_job(fleet, job).rendered, len(_bodies(fleet))) == (2, 1)
    with ledger.read() as conn:
        assert conn.execute(text("SELECT count(*) FROM microbatch")).scalar() == 0


def test_cancel_and_late_outcomes(ledger: Ledger) -> None:
    """Cancelling ends what has not ended; a picture that comes in afterwards changes nothing."""
    fleet = Fleet(ledger)
    job = fleet.plan(n=10, webhook=HOOK).job.id
    fleet.beat("w1")
    (sent,) = fleet.tick()
    with ledger.begin() as conn:
        assert cancel_job(conn, tenant="default", id=job, now=fleet.clock.now) == 10
        assert cancel_job(conn, tenant="default", id=job, now=fleet.clock.now) == 0
        with pytest.raises(NotFound):
            cancel_job(conn, tenant="other", id=job, now=fleet.clock.now)
    fleet.report(finished(sent, fleet.clock.now))

    assert _states(fleet) == {"canceled": 10}
    assert [body["data"]["state"] for body in _bodies(fleet)] == ["canceled"]
    assert fleet.tick() == []


def test_images_expire_when_they_cannot_start_in_time(ledger: Ledger) -> None:
    """With no worker in sight, `start_by` ends the image and the job is told."""
    fleet = Fleet(ledger)
    when = fleet.clock.now + 5
    fleet.plan(n=2, start_by=datetime.fromtimestamp(when, UTC), webhook=HOOK)
    fleet.tick()
    assert _states(fleet) == {"planned": 2}
    fleet.clock.pass_by(6)
    fleet.tick()

    assert _states(fleet) == {"expired": 2}
    assert _bodies(fleet)[0]["data"]["counts"]["expired"] == 2


def test_a_missing_queue_costs_one_worker_and_no_time(ledger: Ledger) -> None:
    """When one worker's queue is gone, its images go elsewhere at once; the worker is tried again once it is heard of."""
    fleet = Fleet(ledger)
    fleet.plan(n=8)
    fleet.beat("gone")
    fleet.outbox.missing = {"gone"}
    assert fleet.tick() == []
    assert _states(fleet) == {"planned": 8}
    fleet.clock.pass_by(0.01)
    fleet.beat("w1")
    assert [one.worker for one in fleet.tick()] == ["w1"]
    fleet.plan(n=8, prompt="more")
    fleet.outbox.missing = set()
    assert {one.worker for one in fleet.tick()} <= {"w1"}
    fleet.beat("gone")
    fleet.plan(n=16, prompt="even more")

    assert "gone" in {one.worker for one in fleet.tick()}


def test_a_broker_that_is_away_loses_nothing(ledger: Ledger) -> None:
    """Refused microbatches are planned again, and leave when the broker is back."""
    fleet = Fleet(ledger)
    fleet.plan(n=8)
    fleet.beat("w1")
    fleet.outbox.down = True
    assert fleet.tick() == []
    assert _states(fleet) == {"planned": 8}
    fleet.outbox.down = False
    fleet.clock.pass_by(1)

    assert [len(one.images) for one in fleet.tick()] == [8]


def test_a_message_that_got_lost_comes_back(ledger: Ledger) -> None:
    """Committed but never listed by a heartbeat: put back after the unlisted lease, though its worker lives."""
    fleet = Fleet(ledger)
    fleet.plan(n=2)
    fleet.beat("w1")
    (lost,) = fleet.tick()
    for _ in range(7):
        fleet.clock.pass_by(5)
        fleet.beat("w1")
        fleet.sweep()
    (again,) = fleet.tick()

    assert again.id != lost.id
    assert again.good_until > lost.good_until


def test_a_listed_microbatch_is_left_alone(ledger: Ledger) -> None:
    """A render that takes ten minutes is fine as long as heartbeats list it."""
    fleet = Fleet(ledger)
    fleet.plan(n=1)
    fleet.beat("w1")
    (sent,) = fleet.tick()
    fleet.report(started(sent, fleet.clock.now))
    for _ in range(120):
        fleet.clock.pass_by(5)
        fleet.beat("w1", held=[sent.id])
        fleet.sweep()

    assert _states(fleet) == {"released": 1}


def test_two_releasers_waste_but_never_corrupt(ledger: Ledger) -> None:
    """Without the leader lock both release: every image leaves once, and the counters are exact."""
    fleet = Fleet(ledger)
    second = Releaser(ledger, fleet.outbox, params=ReleaserParams(scan_share=1.0), clock=fleet.clock)
    job = fleet.plan(n=64).job.id
    fleet.beat("w1", "w2", "w3")
    sent = []
    for _ in range(12):
        sent += fleet.tick()
        second.tick()
        sent += fleet.outbox.take()
        fleet.report(*(finished(one, fleet.clock.now) for one in sent))
    names = [task.image for one in sent for task in one.images]

    assert len(names) == len(set(names)) == 64
    assert _job(fleet, job).rendered == 64


def test_events_of_single_images_when_asked_for(ledger: Ledger) -> None:
    """image.* webhooks carry their own growing sequence, below that of the job's end."""
    fleet = Fleet(ledger)
    wanted = ["image.rendered", "image.blocked", "image.failed", "job.completed"]
    fleet.plan(n=3, webhook={"url": "https://example.org/hook", "events": wanted})
    fleet.beat("w1")
    (sent,) = fleet.tick()
    first, second, third = sent.images
    blocked = ImageBlocked(
        image=second.image, digest=second.digest, verdict=verdict(Decision.BLOCK, "output")
    )
    fleet.report(finished(sent, fleet.clock.now, rendered(first), blocked, failed(third)))
    bodies = _bodies(fleet)

    assert Counter(body["type"] for body in bodies) == Counter(wanted)
    numbers = {body["type"]: body["data"]["sequence"] for body in bodies}
    assert len(set(numbers.values())) == 4
    assert max(numbers, key=numbers.__getitem__) == "job.completed"
    (event,) = _bodies(fleet, "image.blocked")
    assert event["data"]["image"]["decision"] == "block"


def test_progress_is_told_in_tenths(ledger: Ledger) -> None:
    """job.progress comes at most ten times, however many pictures there are, and never after the end."""
    fleet = Fleet(ledger, params=ReleaserParams(images_most=1))
    fleet.plan(n=64, webhook={"url": "https://example.org/hook", "events": ["job.progress", "job.completed"]})
    fleet.beat("w1", "w2", "w3", "w4")
    for _ in range(40):
        fleet.report(*(finished(one, fleet.clock.now) for one in fleet.tick()))

    assert 8 <= len(_bodies(fleet, "job.progress")) <= 10
    assert _bodies(fleet)[-1]["type"] == "job.completed"


def test_a_long_body_is_cut(ledger: Ledger) -> None:
    """Twenty-four images with long alt texts would pass 20 kB: fewer are listed, the counts stay exact."""
    fleet = Fleet(ledger)
    fleet.plan(n=64, prompt="word " * 390, webhook=HOOK)
    fleet.beat("w1", "w2", "w3", "w4")
    for _ in range(4):
        fleet.report(*(finished(one, fleet.clock.now) for one in fleet.tick()))
    (body,) = _bodies(fleet)

    assert len(json.dumps(body)) < 21_000
    assert 0 < len(body["data"]["images"]) < 24
    assert body["data"]["counts"]["rendered"] == 64


def test_costs_are_learned_from_reports(ledger: Ledger) -> None:
    """GPU seconds in reports become the estimate of the next releases."""
    fleet = Fleet(ledger)
    fleet.plan(n=9)
    fleet.beat("w1", "w2")
    sent = fleet.tick()
    for one in sent:
        done = gpu_done(one, fleet.clock.now, 0.1 + 0.2 * len(one.images))
        fleet.report(
            started(one, fleet.clock.now),
            finished(one, fleet.clock.now).model_copy(update={"gpu_done": done}),
        )
    fleet.sweep()
    cost = fleet.releaser.estimates.cost(sent[0].batch_key)

    assert cost is not None
    assert (cost.fixed, cost.per_image) == (pytest.approx(0.1), pytest.approx(0.2))


def test_the_prompts_verdict_goes_along(ledger: Ledger) -> None:
    """What the prompt was found to be travels with each image, without times, so that its receipt can say so."""
    fleet = Fleet(ledger)
    fleet.plan(n=2)
    fleet.beat("w1")
    (sent,) = fleet.tick()

    for task in sent.images:
        (told,) = task.verdicts
        assert (told.stage, told.decision, told.policy) == (
            "prompt",
            Decision.ALLOW,
            verdict(Decision.ALLOW).policy,
        )
        assert {check.milliseconds for check in told.checks} <= {0.0}
