"""Fairness over a whole manifest: slices, restarts and re-runs agree, and everything is told."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from control_plane import Fleet, a_planner, finished

from handlers.finisher import Finisher
from handlers.intake import Intake
from handlers.manifest_planner import ManifestParams, ManifestPlanner
from handlers.triggers import Trigger
from handlers.turns import Turns
from handlers.variations import Variations
from safety.fairness.assigned import Seen, report
from schemas.fairness import Rules, Variation
from schemas.object_event import ObjectCreated
from schemas.states import ImageState
from storage.ledger import images
from storage.ledger.engine import Ledger
from storage.objects.memory import MemoryStore

RULES = Rules(mode="diversify")
ROWS = 120


class Desk:
    """Intake, manifest planner and finisher of a tenant that turned fairness on."""

    def __init__(self, ledger: Ledger, *, chunk_rows: int) -> None:
        self.ledger, self.store, self.fleet = ledger, MemoryStore(bucket="uploads"), Fleet(ledger)
        planner = replace(
            a_planner(), variations=Variations(rules={"default": RULES}, turns=Turns(ledger, b"k"))
        )
        clock = self.fleet.clock
        self.intake = Intake(
            ledger=ledger,
            planner=planner,
            recipes=_NoRecipes(),
            triggers=(Trigger(bucket="uploads"),),
            clock=clock,
        )
        self.manifests = ManifestPlanner(
            ledger=ledger, planner=planner, recipes=_NoRecipes(), stores={"uploads": self.store},
            params=ManifestParams(chunk_rows=chunk_rows), clock=clock,
        )  # fmt: skip
        self.finisher = Finisher(ledger, lambda _tenant: self.store, clock=clock)

    def upload(self, key: str, text: str) -> str:
        self.store.put(key, text.encode(), if_absent=False)
        accepted = self.intake.object_created(
            ObjectCreated(bucket="uploads", key=key, version="1"), "default"
        )
        assert accepted.id is not None
        return accepted.id

    def rows(self, batch: str) -> list[Any]:
        with self.ledger.read() as conn:
            return list(images.of_batch(conn, batch, count=1000))


class _NoRecipes:
    def get(self, reference: str) -> Any:
        raise AssertionError(reference)


def a_manifest(rows: int) -> str:
    """Every third row is a product; each SKU has two views."""
    lines = ["prompt,row_key,count"]
    lines += [f"{'a red mug' if row % 3 == 0 else 'a nurse in a kitchen'},sku-{row},2" for row in range(rows)]
    return "\n".join(lines) + "\n"


def people(rows: list[Any]) -> dict[str, Variation]:
    """The variation of each row key, which must be one for all its views."""
    found: dict[str, set[str]] = {}
    for row in rows:
        if row.fairness:
            found.setdefault(row.row_key, set()).add(row.fairness)
    assert all(len(one) == 1 for one in found.values())
    return {key: Variation.model_validate_json(next(iter(one))) for key, one in found.items()}


def test_slices_restarts_and_re_runs_name_the_same_images(ledger: Ledger) -> None:
    """Planned in slices with a new planner after each, then again with rows put before: the same people, the same digests."""
    key = "list.csv"
    batch = Desk(ledger, chunk_rows=500).upload(key, a_manifest(ROWS))
    store: MemoryStore | None = None
    for _ in range(ROWS // 7 + 2):
        desk = Desk(ledger, chunk_rows=7)  # a process that planned one slice and died
        desk.store.put(key, a_manifest(ROWS).encode(), if_absent=False)
        desk.manifests.step()
        store = desk.store
    first = desk.rows(batch)
    assert store is not None

    longer = a_manifest(ROWS).replace("count\n", "count\na nurse in a kitchen,new-sku,2\n")
    desk = Desk(ledger, chunk_rows=500)
    again = desk.upload("longer.csv", longer)
    while desk.manifests.step():
        pass
    second = desk.rows(again)

    assert len(first) == 2 * ROWS and len(second) == 2 * ROWS + 2
    assert {row.digest for row in first} < {row.digest for row in second}
    assert people(second).items() > people(first).items()


def test_a_batch_hits_its_target_and_tells_everything(ledger: Ledger) -> None:
    """Among rows of products, people still hold their shares; the results file has both prompts and every change."""
    desk = Desk(ledger, chunk_rows=50)
    batch = desk.upload("list.csv", a_manifest(150))
    while desk.manifests.step():
        pass
    desk.fleet.beat("w1", "w2")
    while sent := desk.fleet.tick():
        desk.fleet.report(*(finished(one, desk.fleet.clock.now) for one in sent))
    while desk.finisher.finish_next():
        pass
    lines = [json.loads(line) for line in desk.store.get(f"batches/{batch}/results.jsonl").splitlines()]
    told = [line["fairness"] for line in lines if line["fairness"]]
    found = report(
        (Seen(variation=Variation.model_validate_json(row.fairness) if row.fairness else None, state=ImageState(row.state)) for row in desk.rows(batch)),
        RULES,
    )  # fmt: skip

    assert (len(lines), len(told), found.people) == (300, 200, 100)
    assert {note["original_prompt"] for note in told} == {"a nurse in a kitchen"}
    assert all(note["effective_prompt"].startswith("a nurse, ") and note["changes"] for note in told)
    for shares in found.shares.values():
        assert all(abs(one.assigned.right - 100 * one.target) < 1 for one in shares)
    assert Counter(line["descriptions"][0]["lang"] for line in lines) == {"en": 300}


@pytest.mark.parametrize("column", ["off", "report"])
def test_a_row_may_opt_out(ledger: Ledger, column: str) -> None:
    """A column asks for less, and the prompt of that row is drawn as it was written."""
    desk = Desk(ledger, chunk_rows=50)
    batch = desk.upload("list.csv", f"prompt,fairness\na nurse in a kitchen,{column}\n")
    while desk.manifests.step():
        pass
    (row,) = desk.rows(batch)

    assert json.loads(row.spec)["prompt"] == "a nurse in a kitchen"
    assert (row.fairness is None) == (column == "off")
