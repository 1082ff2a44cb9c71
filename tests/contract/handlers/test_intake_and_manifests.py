"""Events and manifests become jobs exactly once, on both databases."""

from __future__ import annotations

import json
from typing import Any

import pytest
from control_plane import MODEL, Fleet, WordScreen, a_planner, finished, plan
from ledgers import delivery_bodies
from sqlalchemy import text

from handlers.cancel import cancel_batch
from handlers.finisher import Finisher
from handlers.intake import Intake
from handlers.manifest_planner import ManifestParams, ManifestPlanner
from handlers.triggers import Trigger
from schemas.cloudevent import GENERATION_REQUESTED, OBJECT_CREATED, CloudEvent
from schemas.errors import AddressRefused, BadInput, OutOfRange, PromptRefused, ScreenMissing, Unsupported
from schemas.object_event import ObjectCreated
from schemas.request import Webhook
from storage.ledger.engine import Ledger
from storage.ledger.sealed import opened
from storage.objects.memory import MemoryStore

HOOK = Webhook(url="https://example.org/hook")


class Door:
    """Intake, manifest planner and finisher over a memory store."""

    def __init__(self, ledger: Ledger, chunk_rows: int = 500) -> None:
        self.ledger, self.store = ledger, MemoryStore(bucket="uploads")
        self.fleet = Fleet(ledger)
        planner = a_planner()
        self.intake = Intake(
            ledger=ledger,
            planner=planner,
            recipes=_NoRecipes(),
            triggers=(Trigger(bucket="uploads", webhook=HOOK),),
            clock=self.fleet.clock,
        )
        self.manifests = ManifestPlanner(
            ledger=ledger,
            planner=planner,
            recipes=_NoRecipes(),
            stores={"uploads": self.store},
            params=ManifestParams(chunk_rows=chunk_rows),
            clock=self.fleet.clock,
        )
        self.finisher = Finisher(ledger, lambda _tenant: self.store, clock=self.fleet.clock)

    def upload(self, key: str, data: str | bytes, version: str = "1") -> str:
        raw = data.encode() if isinstance(data, str) else data
        self.store.put(key, raw, if_absent=False)
        accepted = self.intake.object_created(
            ObjectCreated(bucket="uploads", key=key, version=version), "default"
        )
        assert accepted.id is not None
        return accepted.id

    def run(self) -> None:
        """Plan, render and close everything."""
        while self.manifests.step():
            pass
        self.fleet.beat("w1", "w2")
        while sent := self.fleet.tick():
            self.fleet.report(*(finished(one, self.fleet.clock.now) for one in sent))
        while self.finisher.finish_next():
            pass

    def batch(self, id: str) -> Any:
        with self.ledger.read() as conn:
            found = conn.execute(text("SELECT * FROM batch WHERE id = :id"), {"id": id})
            return opened(conn, "batch", found)[0]

    def lines(self, key: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.store.get(key).splitlines()]

    def count(self, table: str) -> int:
        with self.ledger.read() as conn:
            return int(conn.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())

    def told(self) -> list[dict[str, Any]]:
        with self.ledger.read() as conn:
            return [json.loads(body) for body in delivery_bodies(conn)]


class _NoRecipes:
    def get(self, reference: str) -> Any:
        raise AssertionError(reference)


def _event(id: str = "1", **data: object) -> CloudEvent:
    return CloudEvent(
        specversion="1.0",
        id=id,
        source="shop",
        type=GENERATION_REQUESTED,
        data={"prompt": "a red mug", **data},
    )


def test_an_event_is_accepted_once(ledger: Ledger) -> None:
    """The repeat of an event is told what the first became; another tenant's event of that name is its own."""
    door = Door(ledger)
    first, again = door.intake.accept(_event(), "default"), door.intake.accept(_event(), "default")
    other = door.intake.accept(_event(), "other")

    assert (again.id, again.duplicate, first.duplicate) == (first.id, True, False)
    assert other.id != first.id and not other.duplicate
    assert door.count("job") == 2


def test_a_repeat_stays_accepted_though_it_would_be_refused_today(ledger: Ledger) -> None:
    """The same event after its deadline is still a duplicate, not an error."""
    door = Door(ledger)
    event = _event(start_by="2027-06-01T00:00:00Z")
    first = door.intake.accept(event, "default")
    door.fleet.clock.now = 2_000_000_000.0

    assert door.intake.accept(event, "default").id == first.id
    with pytest.raises(OutOfRange):
        door.intake.accept(event.model_copy(update={"id": "2"}), "default")


@pytest.mark.parametrize(
    ("data", "error", "field"),
    [
        ({"prompt": ""}, BadInput, "prompt"),
        ({"colour": "red"}, BadInput, "colour"),
        ({"n": "three"}, BadInput, "n"),
        ({"model": "nothing"}, Unsupported, "model"),
        ({"size": "640x640"}, OutOfRange, "size"),
        ({"steps": 99}, OutOfRange, "steps"),
        ({"adapters": [{"name": "style"}]}, Unsupported, "adapters"),
        ({"policy": "lax"}, Unsupported, "policy"),
        ({"start_by": "2001-01-01T00:00:00Z"}, OutOfRange, "start_by"),
        ({"n": 2, "output": {"key": "a.png"}}, OutOfRange, "output.key"),
        ({"prompt": "forbidden fruit"}, PromptRefused, "prompt"),
        ({"prompt": "broken screen"}, ScreenMissing, "prompt"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(
    sqlite_ledger: Ledger, data: dict[str, Any], error: type[Exception], field: str
) -> None:
    """Each fault is typed, names its field, and no row is written, so that the corrected event is new."""
    door = Door(sqlite_ledger)
    with pytest.raises(error) as refused:
        door.intake.accept(_event(**data), "default")

    assert refused.value.field == field  # type: ignore[attr-defined]
    assert "fruit" not in str(refused.value)
    assert [door.count(table) for table in ("job", "image", "event")] == [0, 0, 0]


def test_a_webhook_address_is_checked_before_anything_is_written(sqlite_ledger: Ledger) -> None:
    """An address inside our network is refused with the request."""

    def refuse(_: str) -> None:
        raise AddressRefused("no", field="webhook.url")

    with pytest.raises(AddressRefused):
        plan(sqlite_ledger, 1.0, planner=a_planner(check_webhook=refuse), webhook={"url": "http://10.0.0.1/"})


def test_seeds_sizes_and_digests(sqlite_ledger: Ledger) -> None:
    """n pictures differ by their seed; a re-run names the same images; another tenant or row names others."""
    planner = a_planner()
    first = plan(sqlite_ledger, 1.0, planner=planner, n=3, size=["128x128", "160x96"])
    again = plan(sqlite_ledger, 1.0, planner=planner, n=3, size=["128x128", "160x96"])
    other = plan(sqlite_ledger, 1.0, planner=planner, n=3, tenant="other")
    given = plan(sqlite_ledger, 1.0, planner=planner, n=2, seed=5)
    seeds = [json.loads(one.spec)["seed"] for one in first.images]

    assert len(first.images) == 6 and len({one.digest for one in first.images}) == 6
    assert seeds[:3] == seeds[3:] and len(set(seeds)) == 3
    assert [one.digest for one in again.images] == [one.digest for one in first.images]
    assert not {one.digest for one in other.images} & {one.digest for one in first.images}
    assert [json.loads(one.spec)["seed"] for one in given.images] == [5, 6]
    assert sorted(one.id for one in first.images) == [one.id for one in first.images]


def test_what_was_rendered_is_not_rendered_again(ledger: Ledger) -> None:
    """The same request again ends at once with the stored pictures; with a copy under a new key it goes to a worker."""
    door = Door(ledger)
    door.fleet.plan(n=2)
    door.run()
    webhook = {"url": HOOK.url, "events": ["job.completed", "image.rendered"]}
    again = door.fleet.plan(n=2, webhook=webhook)
    copied = door.fleet.plan(n=1, output={"key": "mine.png"})
    mixed = door.fleet.plan(n=3)

    assert again.job.rendered == 2 and again.job.ended_at is not None
    assert {body["type"] for body in door.told()} == {"job.completed", "image.rendered"} and len(
        door.told()
    ) == 3
    assert (copied.job.rendered, mixed.job.rendered, mixed.job.ended_at) == (0, 2, None)
    assert json.loads(again.images[0].result or "")["stored"]["reused"] is True
    assert json.loads(again.images[0].result or "")["image"] == again.images[0].id


MANIFEST = "prompt,count,seed\na red mug,2,1\nbad row,x,1\n\na forbidden mug,1,1\nshort\na blue mug,1,9\n"


def test_a_manifest_from_upload_to_webhook(ledger: Ledger) -> None:
    """Good rows are rendered, bad ones reported, a refused prompt is a blocked image; the batch ends as partial."""
    door = Door(ledger)
    id = door.upload("rows.csv", MANIFEST)
    door.run()
    row = door.batch(id)

    assert (row.phase, row.jobs, row.total, row.rendered, row.blocked, row.rejected_rows) == (
        "ended",
        3,
        4,
        3,
        1,
        2,
    )
    results, errors = door.lines(row.results_key), door.lines(row.errors_key)
    assert [(line["row"], line["state"]) for line in results] == [
        (1, "rendered"),
        (1, "rendered"),
        (4, "blocked"),
        (6, "rendered"),
    ]
    assert [(line["row"], line["field"], line["code"]) for line in errors] == [
        (2, "count", "wrong_type"),
        (5, None, "wrong_type"),
    ]
    (body,) = door.told()
    assert body["type"] == "batch.completed"
    assert (body["data"]["state"], body["data"]["counts"]["rejected_rows"]) == ("partial", 2)
    assert body["data"]["results_key"] == row.results_key


@pytest.mark.parametrize(
    ("key", "data", "code", "made"),
    [
        ("empty.csv", b"", "bad_manifest", 0),
        ("header.csv", b"prompt\n", "bad_manifest", 0),
        ("latin.csv", "prompt\nein Löffel\n".encode("latin-1"), "bad_manifest", 0),
        ("late.csv", b"prompt\na mug\n" + "Löffel\n".encode("latin-1"), "bad_manifest", 0),
        ("columns.csv", b"prompt,price\na mug,5\n", "bad_manifest", 0),
    ],
)
def test_a_manifest_that_cannot_be_read_ends_its_batch(
    sqlite_ledger: Ledger, key: str, data: bytes, code: str, made: int
) -> None:
    """The batch ends as failed with a typed error in its error file and its webhook, and holds up nobody."""
    door = Door(sqlite_ledger)
    id = door.upload(key, data)
    good = door.upload("good.csv", "prompt\na mug\n")
    door.run()
    row = door.batch(id)

    assert (row.phase, row.total) == ("ended", made)
    assert [line["code"] for line in door.lines(row.errors_key)] == [code]
    assert door.batch(good).rendered == 1
    assert {body["data"]["batch"]: body["data"]["state"] for body in door.told()} == {
        id: "failed",
        good: "completed",
    }


def test_a_manifest_that_is_gone(sqlite_ledger: Ledger) -> None:
    """An event for an object that was removed before it was read ends as a typed failure."""
    door = Door(sqlite_ledger)
    id = door.upload("gone.csv", "prompt\na mug\n")
    door.store.delete("gone.csv")
    door.run()

    assert json.loads(door.batch(id).error)["code"] == "object_missing"


def test_uploads_are_recognised_by_key_and_version(sqlite_ledger: Ledger) -> None:
    """A repeated notification is a duplicate, a new version is a new batch, and what no trigger wants is ignored."""
    door = Door(sqlite_ledger)
    first = door.upload("a.csv", "prompt\na mug\n")
    data = {"bucket": "uploads", "key": "a.csv", "version": "1"}
    event = CloudEvent(specversion="1.0", id="other", source="s3", type=OBJECT_CREATED, data=data)

    assert door.intake.accept(event, "default").id == first
    assert door.upload("a.csv", "prompt\na cup\n", version="2") != first
    ignored = door.intake.object_created(ObjectCreated(bucket="uploads", key="a.png", version="1"), "default")
    assert (ignored.id, ignored.kind) == (None, "ignored")


def test_a_rerun_renders_only_the_rows_that_changed(ledger: Ledger) -> None:
    """The second version of a manifest sends only its new row to the workers."""
    door = Door(ledger)
    door.upload("a.csv", "prompt,seed\nmug,1\ncup,1\n")
    door.run()
    id = door.upload("a.csv", "prompt,seed\nmug,1\nbowl,1\ncup,1\n", version="2")
    while door.manifests.step():
        pass

    assert (door.batch(id).total, door.batch(id).rendered) == (3, 2)
    door.fleet.beat("w1", "w2")
    (sent,) = door.fleet.tick()
    assert [task.spec.prompt for task in sent.images] == ["bowl"]
    door.fleet.report(finished(sent, door.fleet.clock.now))
    door.run()
    assert door.batch(id).phase == "ended"


def test_a_planner_goes_on_where_another_stopped(ledger: Ledger) -> None:
    """Rows are planned once, whoever plans them: the cursor moves with the rows it has passed."""
    door = Door(ledger, chunk_rows=7)
    id = door.upload("a.csv", "prompt,seed\n" + "".join(f"mug,{row}\n" for row in range(50)))
    door.manifests.step()
    other = Door(ledger, chunk_rows=7)
    other.store = door.store
    other.manifests._stores = {"uploads": door.store}
    other.manifests.step()
    while door.manifests.step() or other.manifests.step():
        pass

    assert (door.batch(id).cursor, door.batch(id).jobs, door.count("job"), door.count("image")) == (
        50,
        50,
        50,
        50,
    )
    with ledger.read() as conn:
        rows = [row[0] for row in conn.execute(text("SELECT row FROM job ORDER BY row"))]
    assert rows == list(range(1, 51))


def test_a_long_manifest_does_not_hold_up_a_short_one(sqlite_ledger: Ledger) -> None:
    """Manifests are planned in turns."""
    door = Door(sqlite_ledger, chunk_rows=10)
    door.upload("long.csv", "prompt\n" + "mug\n" * 1000)
    short = door.upload("short.csv", "prompt\ncup\n")
    for _ in range(4):
        door.manifests.step()

    assert door.batch(short).phase == "planned"


def test_a_screen_that_fails_makes_the_manifest_wait(sqlite_ledger: Ledger) -> None:
    """A broken screen blocks nobody's image for good: the batch goes on when the screen is back."""
    door = Door(sqlite_ledger)
    id = door.upload("a.csv", "prompt\na broken mug\n")
    assert door.manifests.step()
    assert not door.manifests.step()
    assert door.batch(id).phase == "planning"
    door.fleet.clock.pass_by(10)
    WordScreen.check, check = (lambda self, prompt, negative="": check(self, "fine")), WordScreen.check  # type: ignore[method-assign]
    try:
        door.run()
    finally:
        WordScreen.check = check  # type: ignore[method-assign]

    assert door.batch(id).rendered == 1


def test_cancelling_a_batch_stops_its_planner(ledger: Ledger) -> None:
    """What is planned is canceled, what is not planned never will be, and the batch ends."""
    door = Door(ledger, chunk_rows=5)
    id = door.upload("a.csv", "prompt\n" + "mug\n" * 20)
    door.manifests.step()
    with ledger.begin() as conn:
        assert cancel_batch(conn, tenant="default", id=id, now=door.fleet.clock.now) == 5
    door.run()

    assert (door.batch(id).phase, door.batch(id).canceled, door.count("image")) == ("ended", 5, 5)
    assert door.told()[-1]["data"]["state"] == "canceled"


def test_a_model_is_the_default_when_none_is_named(sqlite_ledger: Ledger) -> None:
    """Defaults come from the offer and are written into the spec."""
    made = json.loads(plan(sqlite_ledger, 1.0, output={"format": "webp"}).images[0].spec)

    assert (made["model"], made["model_digest"]) == (MODEL.name, MODEL.digest)
    assert (made["steps"], made["guidance"], made["width"], made["quality"]) == (8, 3.0, 128, 90)
