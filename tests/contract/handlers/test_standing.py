"""Refusals, throttling and suspension, over both kinds of ledger."""

from __future__ import annotations

import json

import pytest
from control_plane import Clock, Fleet, a_planner, finished, verdict
from sqlalchemy import select

from handlers import refusals
from handlers import standing as standings
from handlers.intake import Intake
from handlers.shutting_out import ShuttingOut
from handlers.standing import AbuseParams, Gate, reconsider
from handlers.triggers import Trigger
from schemas.cloudevent import GENERATION_REQUESTED, CloudEvent
from schemas.errors import NotFound, PromptRefused, TenantSuspended, TenantThrottled
from schemas.object_event import ObjectCreated
from schemas.outcome import ImageBlocked
from schemas.recipe import Recipe
from schemas.verdict import Decision
from storage.ledger import audit, batches, finetunes, images, standing
from storage.ledger.batches import NewBatch
from storage.ledger.engine import Ledger
from storage.ledger.finetunes import NewFinetune
from storage.ledger.tables import delivery

FEW = AbuseParams(throttle_refusals=3, suspend_refusals=6, cache_seconds=2.0)


class NoRecipes:
    def get(self, name: str) -> Recipe:
        raise NotFound(field="recipe")


def refuse(fleet: Fleet, count: int, tenant: str = "default") -> None:
    with fleet.ledger.begin() as conn:
        refusals.note(conn, tenant, count, fleet.clock.now)


def judged(fleet: Fleet, params: AbuseParams = FEW) -> dict[str, str]:
    with fleet.ledger.begin() as conn:
        reconsider(conn, params, fleet.clock.now)
    with fleet.ledger.read() as conn:
        return {one.tenant: one.state for one in standing.troubled(conn).values()}


def test_refusals_are_counted_against_what_was_asked(ledger: Ledger) -> None:
    """The same number of refusals throttles who asks for little, and nobody who asks for much besides."""
    fleet = Fleet(ledger)
    fleet.plan(n=8)
    fleet.plan(n=8)
    refuse(fleet, 3)
    refuse(fleet, 3, "small")

    assert judged(fleet) == {"small": "throttled"}
    with ledger.read() as conn:
        tallies = {
            one.tenant: (one.refused, one.asked) for one in standing.tallies(conn, since=0, at_least=1)
        }
    assert tallies == {"default": (3, 19), "small": (3, 3)}


def test_a_throttle_passes_and_a_suspension_stays(ledger: Ledger) -> None:
    """Once its refusals have left the window a throttled tenant is free again; a suspended one needs an operator."""
    fleet = Fleet(ledger)
    refuse(fleet, 3, "slow")
    refuse(fleet, 6, "bad")
    before = judged(fleet)
    fleet.clock.pass_by(3600 + 60)
    after = judged(fleet)
    with ledger.begin() as conn:
        standings.restore(conn, "bad", "olga", "talked to them", fleet.clock.now)
    with ledger.read() as conn:
        kinds = [(one.kind, one.actor, one.tenant) for one in audit.records(conn)]
        assert audit.verify(conn) is None

    assert (before, after, judged(fleet)) == (
        {"slow": "throttled", "bad": "suspended"},
        {"bad": "suspended"},
        {},
    )
    assert kinds == [
        ("tenant.suspended", "abuse", "bad"),
        ("tenant.throttled", "abuse", "slow"),
        ("tenant.restored", "abuse", "slow"),
        ("tenant.restored", "operator:olga", "bad"),
    ]


def test_what_was_forgiven_does_not_count_again(ledger: Ledger) -> None:
    """After an operator restored a tenant, only new refusals can suspend it; what an operator suspended stays so."""
    fleet = Fleet(ledger)
    refuse(fleet, 6)
    judged(fleet)
    fleet.clock.pass_by(1)
    with ledger.begin() as conn:
        standings.restore(conn, "default", "olga", "a mistake", fleet.clock.now)
    forgiven = judged(fleet)
    fleet.clock.pass_by(60)
    refuse(fleet, 6)
    again = judged(fleet)
    with ledger.begin() as conn:
        standings.suspend(conn, "quiet", "olga", "asked by their owner", fleet.clock.now)
    fleet.clock.pass_by(10 * 3600)

    assert (forgiven, again) == ({}, {"default": "suspended"})
    assert judged(fleet)["quiet"] == "suspended"


def test_the_gate_slows_and_shuts(ledger: Ledger) -> None:
    """A throttled tenant may ask at its pace and is told when; a suspended one may not ask; others never notice."""
    clock = Clock()
    gate = Gate(ledger, FEW, clock)
    fleet = Fleet(ledger, clock=clock)
    gate.admit("slow")
    refuse(fleet, 3, "slow")
    refuse(fleet, 6, "bad")
    judged(fleet)
    clock.pass_by(2)
    gate.admit("slow")
    clock.pass_by(4)
    with pytest.raises(TenantThrottled) as early:
        gate.admit("slow")
    clock.pass_by(6)
    gate.admit("slow")
    gate.turn_away("slow")
    for door in (gate.admit, gate.turn_away):
        with pytest.raises(TenantSuspended):
            door("bad")
    for _ in range(100):
        gate.admit("other")
    with ledger.begin() as conn:
        standings.restore(conn, "bad", "olga", "ok", clock.now)
    clock.pass_by(2)
    gate.admit("bad")

    assert early.value.retry_after_seconds == pytest.approx(6.0)
    assert (early.value.status, TenantSuspended.status) == (429, 403)


def test_the_gate_looks_seldom(sqlite_ledger: Ledger) -> None:
    """Admitting costs no query while the last look is fresh."""
    clock, looks = Clock(), 0

    class Counting(Ledger):
        def read(self):  # type: ignore[no-untyped-def]
            nonlocal looks
            looks += 1
            return sqlite_ledger.read()

    gate = Gate(Counting.__new__(Counting), FEW, clock)
    for _ in range(500):
        gate.admit("a")
        clock.pass_by(0.01)

    assert looks == 3


def an_intake(fleet: Fleet) -> Intake:
    gate = Gate(fleet.ledger, FEW, fleet.clock)
    return Intake(
        ledger=fleet.ledger,
        planner=a_planner(),
        recipes=NoRecipes(),
        triggers=[Trigger(bucket="uploads", tenant="acme")],
        admit=gate.admit,
        clock=fleet.clock,
    )


def an_event(id: str, prompt: str = "a red mug") -> CloudEvent:
    return CloudEvent(
        specversion="1.0", id=id, source="/s", type=GENERATION_REQUESTED, data={"prompt": prompt}
    )


def test_refused_requests_lead_to_suspension(ledger: Ledger) -> None:
    """Refused prompts are counted and audited by code alone; once suspended nothing new is taken, a repeat is recognised."""
    fleet = Fleet(ledger)
    intake = an_intake(fleet)
    first = intake.accept(an_event("good"), "acme")
    for number in range(6):
        with pytest.raises(PromptRefused):
            intake.accept(an_event(f"bad{number}", f"forbidden canary {number}"), "acme")
    fleet.clock.pass_by(0.5)
    state = judged(fleet)
    fleet.clock.pass_by(2)
    with pytest.raises(TenantSuspended):
        intake.accept(an_event("new"), "acme")
    with pytest.raises(TenantSuspended):
        intake.object_created(ObjectCreated(bucket="uploads", key="a.csv", version="1", size=1), "acme")
    repeated = intake.accept(an_event("good"), "acme")
    with ledger.read() as conn:
        records = list(audit.records(conn))

    assert state == {"acme": "suspended"} and (repeated.id, repeated.duplicate) == (first.id, True)
    assert [one.kind for one in records] == ["prompt.refused"] * 6 + ["tenant.suspended"]
    assert json.loads(records[0].data)["reasons"] == ["prompt.test"]
    assert not any("canary" in one.data for one in records)


def test_one_refusal_suspends_nobody(ledger: Ledger) -> None:
    """Whoever has asked for one thing, and was refused it, goes on."""
    fleet = Fleet(ledger)
    refuse(fleet, 1)

    assert judged(fleet, AbuseParams()) == {}


def test_the_queue_of_a_suspended_tenant_is_called_off(ledger: Ledger) -> None:
    """Its waiting images are canceled with the reason, jobs and batches end, webhooks tell; other tenants go on."""
    fleet = Fleet(ledger)
    hook = {"url": "https://shop.example/hook", "events": ["job.completed"]}
    job = fleet.plan(n=3, webhook=hook).job.id
    other = fleet.plan(tenant="other").job.id
    with ledger.begin() as conn:
        batch = NewBatch(
            id="bat_1", tenant="default", bucket="u", key="k", version="1", created_at=fleet.clock.now
        )
        batches.add(conn, batch)
        tuning = NewFinetune(
            id="fin_1", tenant="default", name="n", model="m", base_digest="a" * 64, spec="{}", created_at=1.0
        )
        finetunes.add(conn, tuning)
        standings.suspend(conn, "default", "olga", "abuse", fleet.clock.now)
    sweeps = ShuttingOut(ledger=ledger, abuse=None)
    done = [sweeps.cancel_queues(fleet.clock.now) for _ in range(2)]
    with ledger.read() as conn:
        rows, others = images.of_job(conn, job), images.of_job(conn, other)
        row = batches.get(conn, tenant="default", id="bat_1")
        tuned = finetunes.get(conn, tenant="default", id="fin_1")
        told = [one.type for one in conn.execute(select(delivery.c.type))]
        last = list(audit.records(conn))[-1]

    assert done == [5, 0] and row is not None
    assert tuned is not None and tuned.state == "canceled"
    assert {one.state for one in rows} == {"canceled"} and [one.state for one in others] == ["planned"]
    assert json.loads(rows[0].result)["failure"]["code"] == "tenant_suspended"
    assert (row.phase, json.loads(row.error)["code"]) == ("planned", "tenant_suspended")
    assert told == ["job.completed"]
    assert (last.kind, json.loads(last.data)) == (
        "tenant.queue_canceled",
        {"images": 3, "batches": 1, "finetunes": 1},
    )


def test_what_workers_block_counts(ledger: Ledger) -> None:
    """Images that a screen blocked count towards their tenant's rate once, whoever reports them twice."""
    fleet = Fleet(ledger)
    fleet.plan(n=4)
    fleet.beat("w1")
    (microbatch,) = next(sent for _ in range(20) if (sent := fleet.tick()))
    refused = verdict(Decision.BLOCK, "output")
    outcomes = [
        ImageBlocked(image=one.image, digest=one.digest, verdict=refused) for one in microbatch.images
    ]
    for _ in range(2):
        fleet.report(finished(microbatch, fleet.clock.now, *outcomes))
    with ledger.read() as conn:
        (tally,) = standing.tallies(conn, since=0, at_least=1)
        kinds = [one.kind for one in audit.records(conn)]

    assert (tally.refused, tally.asked) == (4, 4)
    assert kinds == ["image.blocked"] * 4
