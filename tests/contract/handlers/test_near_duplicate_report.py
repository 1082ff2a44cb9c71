"""A batch that has ended says how many of its images look nearly alike."""

from __future__ import annotations

import json

from control_plane import Fleet, a_planner, finished, rendered
from ledgers import delivery_bodies

from handlers.finisher import Finisher
from handlers.intake import Intake
from handlers.manifest_planner import ManifestPlanner
from handlers.triggers import Trigger
from schemas.microbatch import ImageTask
from schemas.object_event import ObjectCreated
from schemas.outcome import ImageRendered
from schemas.request import Webhook
from storage.ledger.engine import Ledger
from storage.objects.memory import MemoryStore

A, NEAR_A, B = "0f" * 32, "0e" + "0f" * 31, "35" * 32
#: By prompt: hash and quality; "plain" shows too little to be compared.
HASHES = {"one": (A, 90), "two": (NEAR_A, 80), "three": (B, 70), "plain": (A, 20), "old": (None, None)}


def looking_like_its_prompt(task: ImageTask) -> ImageRendered:
    made = rendered(task)
    pdq, quality = HASHES[task.spec.prompt]
    return made.model_copy(
        update={"stored": made.stored.model_copy(update={"pdq": pdq, "pdq_quality": quality})}
    )


def closed(ledger: Ledger, prompts: list[str]) -> tuple[dict[str, object], MemoryStore]:
    """The batch as its webhook tells of it, and the store with its files."""
    fleet, store = Fleet(ledger), MemoryStore(bucket="uploads")
    planner, clock = a_planner(), fleet.clock
    webhook = Webhook(url="https://example.org/hook", events=("batch.completed",))
    triggers = (Trigger(bucket="uploads", webhook=webhook),)
    intake = Intake(ledger=ledger, planner=planner, recipes=None, triggers=triggers, clock=clock)  # type: ignore[arg-type]
    manifests = ManifestPlanner(
        ledger=ledger,
        planner=planner,
        recipes=None,  # type: ignore[arg-type]
        stores={"uploads": store},
        clock=clock,
    )
    store.put("list.csv", "\n".join(["prompt", *prompts]).encode())
    intake.object_created(ObjectCreated(bucket="uploads", key="list.csv", version="1"), "default")
    while manifests.step():
        pass
    fleet.beat("w1")
    while sent := fleet.tick():
        for one in sent:
            fleet.report(finished(one, clock.now, *map(looking_like_its_prompt, one.images)))
    finisher = Finisher(ledger, lambda _tenant: store, clock=clock)
    while finisher.finish_next():
        pass
    with ledger.read() as conn:
        (body,) = map(json.loads, delivery_bodies(conn))
    return body["data"], store


def test_images_that_look_alike_are_counted(ledger: Ledger) -> None:
    """In the webhook the numbers, in a file the groups; pictures that show too little are left out."""
    told, store = closed(ledger, list(HASHES))
    key = f"batches/{told['batch']}/near_duplicates.jsonl"
    assert told["near_duplicates"] == {"compared": 3, "groups": 1, "images": 2, "key": key}
    (group,) = map(json.loads, store.get(key).splitlines())
    assert len(group["images"]) == 2 and all(one.startswith("img_") for one in group["images"])


def test_a_varied_batch_has_no_file(sqlite_ledger: Ledger) -> None:
    """Nothing alike is said in numbers alone."""
    told, store = closed(sqlite_ledger, ["one", "three"])
    assert told["near_duplicates"] == {"compared": 2, "groups": 0, "images": 0, "key": None}
    assert not any("near" in entry.key for entry in store.list())


def test_a_batch_without_hashes_says_nothing(sqlite_ledger: Ledger) -> None:
    """Where no picture could be compared, nothing is claimed."""
    told, _ = closed(sqlite_ledger, ["plain", "old"])
    assert told["near_duplicates"] is None
