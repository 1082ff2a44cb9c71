"""A fine-tune from its event to its adapter and webhook, on both databases: every rule seen from outside."""

from __future__ import annotations

from dataclasses import replace

import pytest
from control_plane import MODEL
from finetune_lane import (
    BASE,
    PNG,
    TUNABLE,
    Lane,
    ended,
    failed,
    returned,
    started,
    trained,
    training,
    with_pictures,
)
from sqlalchemy import text

from handlers.cancel import cancel_finetune
from handlers.finetune_releaser import FinetuneReleaser
from handlers.triggers import Trigger
from schemas.errors import AddressRefused, BadInput, InputMissing, NotFound, OutOfRange, Unsupported
from schemas.finetune import MAX_IMAGE_BYTES, MAX_LISTING_BYTES
from schemas.object_event import ObjectCreated
from storage.ledger import adapters
from storage.ledger.engine import Ledger
from storage.objects.store import ObjectInfo


def test_from_event_to_adapter_and_webhook(ledger: Ledger) -> None:
    """Accepted, released to an idle trainer, trained: then the tenant may name the adapter, and is told once."""
    lane = Lane(ledger)
    accepted = lane.ask(metadata={"campaign": "7"}, minutes=5)
    (task,) = lane.release("trn_1")
    assert (accepted.kind, task.finetune, task.tenant, task.trainer) == (
        "finetune",
        accepted.id,
        "default",
        "trn_1",
    )
    assert (task.spec.base_digest, task.spec.trigger, task.spec.minutes) == (BASE, "acme style", 5)

    lane.report(started(task))
    lane.beat("trn_1", run=task.run, progress=training())
    assert lane.row(accepted.id).state == "running"
    assert '"step":10' in lane.row(accepted.id).progress
    lane.report(ended(task, trained()))

    with ledger.read() as conn:
        adapter = adapters.find(conn, "default", "acme")
        assert adapters.find(conn, "other", "acme") is None
    assert adapter is not None
    assert (adapter.digest, adapter.base_digest, adapter.rank, adapter.trigger, adapter.finetune) == (
        "d" * 64,
        BASE,
        8,
        "acme style",
        accepted.id,
    )
    (body,) = lane.told()
    assert (body["finetune"], body["state"], body["metadata"]) == (
        accepted.id,
        "completed",
        {"campaign": "7"},
    )
    assert body["adapter"]["scores"] == {"before": {"brand": 0.1}, "after": {"brand": 0.9}}
    assert body["images"] == {"seen": 5, "kept": 4, "dropped": {"duplicate": 1}}
    assert body["problem"] is None
    assert lane.recorder.counts["finetune_completed"] == 1


def test_an_event_becomes_one_finetune(ledger: Ledger) -> None:
    """Its repeat is recognised, even when its pictures are gone by then; another tenant's event is another."""
    lane = Lane(ledger)
    first = lane.ask()
    for number in range(5):
        lane.uploads.delete(f"brand/{number}.png")
    again = lane.intake.accept(lane.event(), "default")
    other = lane.ask(tenant="other")

    assert (again.id, again.kind, again.duplicate) == (first.id, "finetune", True)
    assert not other.duplicate and other.id != first.id
    with pytest.raises(OutOfRange):
        lane.intake.accept(lane.event("2"), "default")


def test_reports_twice_or_late_change_nothing_more(ledger: Ledger) -> None:
    """Whatever comes again after the end leaves state, adapter and webhooks as they are."""
    lane = Lane(ledger)
    id = lane.ask().id
    (task,) = lane.release("trn_1")
    end = ended(task, trained())
    lane.report(end)  # before its own start
    lane.report(
        end,
        started(task),
        ended(task, trained("e" * 64)),
        ended(task, failed()),
        ended(task, returned("shutdown")),
    )

    assert lane.row(id).state == "completed"
    assert [body["adapter"]["digest"] for body in lane.told()] == ["d" * 64]
    assert lane.release("trn_1") == []


def test_a_silent_trainer_s_finetune_is_planned_again(ledger: Ledger) -> None:
    """After a missed lease another trainer gets it under a new run; what the old run still says is stale."""
    lane = Lane(ledger)
    id = lane.ask().id
    (first,) = lane.release("trn_1")
    lane.report(started(first))
    lane.clock.pass_by(10)
    lane.beat("trn_1", run=first.run, progress=training())
    lane.clock.pass_by(17)
    lane.hear()
    assert lane.tick() == []  # within lease and grace
    lane.clock.pass_by(2)
    lane.hear()
    (second,) = lane.release("trn_2")

    assert second.finetune == id and second.run != first.run
    assert lane.row(id).attempts == 1
    lane.report(ended(first, failed()), ended(first, returned("shutdown")), started(first))
    assert (lane.row(id).state, lane.row(id).run) == ("released", second.run)


def test_a_trainer_that_comes_back_is_called_off_or_believed(ledger: Ledger) -> None:
    """One that was given up for dead is told to leave its run; if it brings the adapter first, that counts, once."""
    lane = Lane(ledger)
    id = lane.ask().id
    (first,) = lane.release("trn_1")
    lane.report(started(first))
    lane.clock.pass_by(40)
    lane.hear()
    (second,) = lane.release("trn_2")
    lane.beat("trn_1", run=first.run)
    lane.beat("trn_2", run=second.run)
    assert lane.tick() == []  # trn_1 has its hands full
    assert [(one.run, one.trainer) for one in lane.outbox.stops] == [(first.run, "trn_1")]
    lane.tick()
    assert len(lane.outbox.stops) == 1  # not with every look

    lane.report(ended(first, trained()), ended(second, trained("e" * 64)))
    assert lane.row(id).state == "completed"
    assert [body["adapter"]["digest"] for body in lane.told()] == ["d" * 64]


def test_three_deaths_end_it(ledger: Ledger) -> None:
    """The third trainer that dies with it makes it fail, at the stage it had reached, and its customer is told."""
    lane = Lane(ledger)
    id = lane.ask().id
    for number in range(3):
        (task,) = lane.release(f"trn_{number}")
        lane.report(started(task))
        lane.beat(f"trn_{number}", run=task.run, progress=training())
        lane.clock.pass_by(40)
        lane.hear()
        lane.tick()

    row = lane.row(id)
    assert (row.state, row.attempts) == ("failed", 2)
    (body,) = lane.told()
    assert (body["state"], body["problem"]["code"], body["problem"]["stage"]) == (
        "failed",
        "trainer_died",
        "train",
    )
    assert lane.release("trn_9") == []


def test_a_lost_message_costs_a_lease_and_no_attempt(ledger: Ledger) -> None:
    """Sent but never begun: it is released again, as often as it takes."""
    lane = Lane(ledger)
    id = lane.ask().id
    for _ in range(5):
        assert len(lane.release("trn_1")) == 1
        lane.clock.pass_by(20)
        lane.hear()
        assert lane.release("trn_1") == []  # it may still be on its way
        lane.clock.pass_by(20)
        lane.hear()
    assert (lane.row(id).state, lane.row(id).attempts) == ("released", 0)


def test_nothing_is_lost_while_nobody_listens(ledger: Ledger) -> None:
    """A recorder that was down for an hour looks like no trainer's death."""
    lane = Lane(ledger)
    id = lane.ask().id
    (task,) = lane.release("trn_1")
    lane.report(started(task))
    lane.clock.pass_by(3600)
    assert lane.tick() == []
    lane.listening_since = lane.clock.now
    lane.hear()
    lane.tick()
    assert lane.row(id).state == "running"


@pytest.mark.parametrize("reason", ["shutdown", "stale", "busy", "stopped"])
def test_a_returned_finetune_counts_no_attempt(ledger: Ledger, reason: str) -> None:
    """An orderly stop of a trainer gives its work to the next one."""
    lane = Lane(ledger)
    id = lane.ask().id
    (task,) = lane.release("trn_1")
    lane.report(started(task), ended(task, returned(reason)))
    assert (lane.row(id).state, lane.row(id).attempts) == ("queued", 0)
    assert [one.finetune for one in lane.release("trn_2")] == [id]


def test_a_passing_failure_is_tried_three_times(ledger: Ledger) -> None:
    """What may pass is tried again; what will not ends it at once, with its stage and field."""
    lane = Lane(ledger)
    passing, lasting = lane.ask("1", name="one").id, lane.ask("2", name="two").id
    for attempt in range(3):
        (task,) = [one for one in lane.release("trn_1", "trn_2") if one.finetune == passing] or lane.release(
            "trn_1"
        )
        lane.report(started(task), ended(task, failed(retryable=True)))
        assert lane.row(passing).state == ("queued" if attempt < 2 else "failed")
        for other in lane.outbox.take():
            lane.report(ended(other, failed()))
    lane.report(*(ended(one, failed()) for one in lane.release("trn_3")))

    assert lane.row(lasting).state == "failed"
    problems = {body["name"]: body["problem"] for body in lane.told()}
    assert set(problems) == {"one", "two"}
    assert (problems["two"]["stage"], problems["two"]["field"]) == ("fetch", "images.0")


def test_a_canceled_finetune_ends_at_once_and_its_trainer_is_told(ledger: Ledger) -> None:
    """Cancel wins over whatever its trainer brings later; canceling twice is no error; a stranger cannot."""
    lane = Lane(ledger)
    id = lane.ask().id
    assert id is not None
    (task,) = lane.release("trn_1")
    lane.report(started(task))
    lane.beat("trn_1", run=task.run)
    with ledger.begin() as conn:
        with pytest.raises(NotFound):
            cancel_finetune(conn, tenant="other", id=id, now=lane.clock.now)
        assert cancel_finetune(conn, tenant="default", id=id, now=lane.clock.now)
        assert not cancel_finetune(conn, tenant="default", id=id, now=lane.clock.now)
    lane.tick()
    assert [one.run for one in lane.outbox.stops] == [task.run]
    lane.clock.pass_by(6)
    lane.beat("trn_1", run=task.run)
    lane.tick()
    assert len(lane.outbox.stops) == 2  # the word may have been lost

    lane.report(ended(task, trained()))
    with ledger.read() as conn:
        assert adapters.find(conn, "default", "acme") is None
    assert [body["state"] for body in lane.told()] == ["canceled"]
    lane.ask("2")
    assert len(lane.release("trn_1")) == 1  # it has let go


def test_one_at_a_time_and_tenants_in_turn(ledger: Ledger) -> None:
    """A trainer holds one fine-tune; a tenant with many waits for others after each of its own."""
    lane = Lane(ledger)
    mine = [lane.ask(str(number), name=f"n{number}").id for number in range(3)]
    other = lane.ask("9", tenant="other").id
    order = []
    for _ in range(4):
        (task,) = lane.release("trn_1")
        assert lane.release("trn_1") == []
        order.append(task.finetune)
        lane.report(started(task), ended(task, trained()))

    assert order == [mine[0], other, mine[1], mine[2]]


def test_only_fitting_living_trainers_are_sent_work(ledger: Ledger) -> None:
    """Not one with other weights, nor one that stops, nor one that fell silent, nor one whose queue is gone."""
    lane = Lane(ledger, offer=TUNABLE.model_copy(update={"base_digest": "6" * 64}))
    lane.ask()
    assert lane.release("trn_1") == []
    lane.clock.pass_by(60)
    lane = Lane(ledger, clock=lane.clock)
    lane.ask("2", name="two")
    lane.beat("trn_2", accepting=False)
    assert lane.tick() == []
    lane.beat("trn_3")
    lane.clock.pass_by(60)
    assert lane.tick() == []
    lane.outbox.missing = {"trn_4"}
    assert lane.release("trn_4") == []
    lane.outbox.missing = set()
    assert lane.tick() == []  # until it is heard of again
    assert [one.spec.name for one in lane.release("trn_4")] == ["two"]


def test_a_broker_that_is_away_loses_nothing(ledger: Ledger) -> None:
    """What could not be sent waits in the ledger for the next look, by whichever releaser."""
    lane = Lane(ledger)
    id = lane.ask().id
    lane.outbox.down = True
    assert lane.release("trn_1") == []
    assert lane.row(id).state == "queued"
    lane.outbox.down = False
    lane.releaser = FinetuneReleaser(ledger, lane.outbox, clock=lane.clock)
    assert [one.finetune for one in lane.release("trn_1")] == [id]


def test_a_name_trained_again_stands_for_the_newest(ledger: Ledger) -> None:
    """The adapter that is there later is the one that requests get."""
    lane = Lane(ledger)
    for id, digest in (("1", "d" * 64), ("2", "e" * 64)):
        lane.ask(id)
        (task,) = lane.release("trn_1")
        lane.report(ended(task, trained(digest)))
    with ledger.read() as conn:
        found = adapters.find(conn, "default", "acme")
    assert found is not None and found.digest == "e" * 64


def _refused(lane: Lane, **fields: object) -> BadInput:
    with pytest.raises(BadInput) as refused:
        lane.intake.accept(lane.event(**fields), "default")
    with lane.ledger.read() as conn:
        assert conn.execute(text("SELECT count(*) FROM finetune")).scalar_one() == 0
        assert conn.execute(text("SELECT count(*) FROM event")).scalar_one() == 0
    return refused.value


def test_what_cannot_be_done_is_refused_before_it_is_kept(sqlite_ledger: Ledger) -> None:
    """Each refusal names field and limit, and leaves nothing behind, so that the event may come again."""
    lane = Lane(sqlite_ledger)
    with_pictures(lane.uploads)
    assert _refused(lane, images="uploads/empty/").field == "images"
    assert _refused(lane, model="grand").limit == [MODEL.name]
    missing = _refused(lane, captions="uploads/brand/captions.csv")
    assert isinstance(missing, InputMissing) and missing.field == "captions"
    lane.uploads.put("brand/captions.csv", bytes(MAX_LISTING_BYTES + 1))
    assert _refused(lane, captions="uploads/brand/captions.csv").limit == MAX_LISTING_BYTES
    assert _refused(lane, rank=65).limit == 64
    assert _refused(lane, unheard_of=1).field == "unheard_of"
    lane.uploads.put("big/0.png", PNG)
    lane.uploads._objects["big/0.png"] = replace(
        lane.uploads._objects["big/0.png"],
        info=_with_size(lane.uploads.head("big/0.png"), MAX_IMAGE_BYTES + 1),
    )
    too_big = _refused(lane, images="uploads/big/")
    assert isinstance(too_big, OutOfRange) and too_big.limit in (MAX_IMAGE_BYTES, [4, 2000])

    def no_address(url: str) -> None:
        raise AddressRefused(field="webhook.url")

    assert _refused(Lane(sqlite_ledger, check_webhook=no_address)).field == "webhook.url"
    assert isinstance(_refused(Lane(sqlite_ledger, offer=MODEL)), Unsupported)
    told = _refused(Lane(sqlite_ledger, unavailable="install the [train] extra"))
    assert isinstance(told, Unsupported) and "[train]" in told.detail


def _with_size(info: ObjectInfo | None, size: int) -> ObjectInfo:
    assert info is not None
    return replace(info, size=size)


def test_another_tenant_s_pictures_cannot_be_named(sqlite_ledger: Ledger) -> None:
    """Not by key, not by folder, and not by naming the whole store that holds the others' folders."""
    lane = Lane(sqlite_ledger)
    with_pictures(lane.uploads_of("other"))
    for images in (
        "uploads/tenants/other/brand/",
        "uploads/tenants/",
        "uploads/",
        [f"uploads/tenants/other/brand/{number}.png" for number in range(5)],
    ):
        assert str(_refused(lane, images=images).field).startswith("images")


def test_a_file_of_captions_is_no_product_list() -> None:
    """What lies beside a brand's pictures starts no batch."""
    trigger = Trigger(bucket="uploads")
    for name, wanted in (("captions.csv", False), ("Captions.JSONL", False), ("my-captions.csv", True)):
        created = ObjectCreated(bucket="uploads", key=f"brand/{name}", version="1")
        assert trigger.fits(created) is wanted
