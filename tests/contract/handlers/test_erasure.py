"""Erasing jobs, batches and tenants: everything that must go goes, whatever dies on the way, and nothing that others need."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import func, select

from handlers.erasure import WATCH_SECONDS, Eraser, note_refusal, request_erasure
from handlers.finisher import Finisher
from handlers.notices import image_summary, job_summary
from schemas.errors import LegalHold, NotFound, StoreUnavailable, TenantErased
from schemas.object_keys import image_key, receipt_key
from schemas.states import ImageState
from storage.kept_inputs import KeptInputs
from storage.ledger import (
    audit,
    batches,
    erasures,
    events,
    images,
    jobs,
    legal_holds,
    microbatches,
    tables,
    tenant_keys,
)
from storage.ledger.batches import NewBatch
from storage.ledger.engine import Ledger
from storage.ledger.images import Ending, NewImage
from storage.ledger.jobs import NewJob
from storage.ledger.microbatches import NewMicrobatch
from storage.objects.memory import MemoryStore
from storage.objects.prefixed import PrefixedStore
from storage.objects.store import ObjectStore
from storage.quarantine import Vault

NOW = 1_800_000_000.0
CANARY = "zanzibar"
KEY = "toy@abc/64x48/4"


def digest_of(word: str) -> str:
    return hashlib.sha256(word.encode()).hexdigest()


@dataclass
class Shop:
    """A ledger, stores, and jobs whose images were rendered as a worker would have."""

    ledger: Ledger
    root: MemoryStore = field(default_factory=lambda: MemoryStore(bucket="results"))
    restricted: MemoryStore = field(default_factory=lambda: MemoryStore(bucket="restricted"))

    def results(self, tenant: str) -> ObjectStore:
        return self.root if tenant == "default" else PrefixedStore(self.root, f"tenants/{tenant}")

    @property
    def eraser(self) -> Eraser:
        return Eraser(
            ledger=self.ledger,
            results=self.results,
            inputs=lambda tenant: KeptInputs(store=self.results(tenant), key=b"k"),
            vault=Vault(self.restricted, b"s" * 32),
            restricted=self.restricted,
            rewrite=Finisher(self.ledger, self.results).rewrite,
            default_tenant="default",
        )

    def job(self, id: str, *words: str, tenant: str = "acme", batch: str | None = None, **more: Any) -> None:
        """A job with an image per word; its digest is the word's."""
        with self.ledger.begin() as conn:
            total = len(words)
            jobs.add(
                conn,
                [
                    NewJob(
                        id=id,
                        tenant=tenant,
                        batch=batch,
                        row=1,
                        row_key=CANARY,
                        total=total,
                        webhook_url="https://example.org/h",
                        webhook_events='["job.completed"]',
                        metadata=json.dumps({"for": CANARY}),
                        created_at=NOW,
                    )
                ],
            )
            images.add(
                conn,
                [
                    NewImage(
                        id=f"img_{id}_{word}",
                        tenant=tenant,
                        job=id,
                        batch=batch,
                        lane=1,
                        batch_key=KEY,
                        digest=digest_of(word),
                        spec=json.dumps({"prompt": CANARY, "width": 64, "height": 48}),
                        alt=CANARY,
                        created_at=NOW,
                        **more,
                    )
                    for word in words
                ],
            )

    def store(self, word: str, *, tenant: str = "acme", copy_key: str | None = None) -> None:
        store, data = self.results(tenant), f"pixels of {word}".encode()
        store.put(image_key(digest_of(word), "png"), data)
        store.put(receipt_key(digest_of(word)), b"{}")
        if copy_key:
            store.put(copy_key, data, if_absent=False)

    def render(self, job: str, *words: str, tenant: str = "acme", copy_key: str | None = None) -> None:
        from handlers.notices import account

        endings = []
        for word in words:
            self.store(word, tenant=tenant, copy_key=copy_key)
            stored = {
                "key": image_key(digest_of(word), "png"),
                "receipt_key": receipt_key(digest_of(word)),
                "copy_key": copy_key,
                "sha256": hashlib.sha256(f"pixels of {word}".encode()).hexdigest(),
            }
            id = f"img_{job}_{word}"
            endings.append(Ending(id, digest_of(word), ImageState.RENDERED, json.dumps({"stored": stored})))
        with self.ledger.begin() as conn:
            account(conn, images.settle(conn, endings, NOW), NOW)

    def ask(self, subject: str, tenant: str = "acme") -> str:
        with self.ledger.begin() as conn:
            return request_erasure(conn, tenant=tenant, subject=subject, actor="tenant", now=NOW)

    def run(self, now: float = NOW) -> None:
        while self.eraser.step(now):
            pass

    def erasure(self, id: str, tenant: str = "acme") -> Any:
        with self.ledger.read() as conn:
            return erasures.get(conn, tenant=tenant, id=id)

    def keys(self, tenant: str = "acme") -> list[str]:
        return [one.key for one in self.results(tenant).list()]

    def words_left(self) -> list[str]:
        """Columns that still hold a sealed or plain word."""
        found = []
        with self.ledger.read() as conn:
            for table in tables.metadata.sorted_tables:
                for row in conn.execute(select(table)).mappings():
                    found += [
                        f"{table.name}.{name}"
                        for name, value in row.items()
                        if isinstance(value, str) and (CANARY in value or value.startswith("sealed."))
                    ]
        return found


@pytest.fixture
def shop(ledger: Ledger) -> Shop:
    return Shop(ledger)


def test_a_job_leaves_ids_states_and_counts(shop: Shop) -> None:
    """Pictures, receipts, copies, words, webhook bodies and digests go; ids, states and counts stay, and views say so."""
    shop.job("job_1", "mug", copy_key="shop/mug.png")
    shop.render("job_1", "mug", copy_key="shop/mug.png")
    id = shop.ask("job_1")
    shop.run()

    with shop.ledger.read() as conn:
        (row,) = images.of_job(conn, "job_1")
        job = jobs.get(conn, tenant="acme", id="job_1")
    assert shop.keys() == [] and shop.words_left() == []
    assert (row.state, row.digest, row.result, row.copy_key) == ("rendered", "", None, None)
    shown, summary = image_summary(row), job_summary(job, [row])
    assert (shown.erased, shown.width, shown.alt, shown.key) == (True, 0, "", None)
    assert summary.erased and summary.counts.rendered == 1 and summary.metadata == {}
    done = shop.erasure(id)
    assert done.state == "done" and json.loads(done.removed) == {
        "copies": 1,
        "images": 1,
        "pictures": 1,
        "receipts": 1,
        "webhook_bodies": 1,
    }


def test_what_another_job_needs_stays(shop: Shop) -> None:
    """An object that another image of the tenant has, or is about to have, is left; a copy that another replaced, too."""
    shop.job("job_1", "mug", "cup", "jar", copy_key="shop/a.png")
    shop.render("job_1", "mug", "cup", copy_key="shop/a.png")
    shop.job("job_2", "mug")
    shop.render("job_2", "mug")
    shop.job("job_3", "cup")  # planned: a worker may find the picture and report it
    shop.ask("job_1")
    shop.run()

    left = [digest_of(word) for word in ("mug", "cup")]
    assert set(shop.keys()) == {image_key(one, "png") for one in left} | {receipt_key(one) for one in left}
    shop.job("job_4", "pot", copy_key="shop/a.png")
    shop.render("job_4", "pot", copy_key="shop/a.png")
    shop.job("job_5", "pan", copy_key="shop/a.png")
    shop.render("job_5", "pan", copy_key="shop/a.png")  # takes the place of the first
    shop.ask("job_4")
    shop.run()
    assert shop.results("acme").get("shop/a.png") == b"pixels of pan"


def test_another_tenant_s_equal_picture_is_not_touched(shop: Shop) -> None:
    """Two tenants with the same digest have two objects, and neither can erase the other's."""
    for tenant in ("acme", "other"):
        shop.job(f"job_{tenant}", "mug", tenant=tenant)
        shop.render(f"job_{tenant}", "mug", tenant=tenant)
    with pytest.raises(NotFound):
        shop.ask("job_other", tenant="acme")
    shop.ask("job_acme")
    shop.run()

    assert shop.keys() == [] and len(shop.keys("other")) == 2


def test_a_running_job_is_canceled_and_its_late_picture_removed(shop: Shop) -> None:
    """Nothing is removed while a worker may report; what it stores after it was given up is removed at the end."""
    shop.job("job_1", "mug", copy_key="a.png")
    with shop.ledger.begin() as conn:
        images.claim(conn, lane=1, tenant="acme", batch_key=KEY, count=1, microbatch="mb_1")
        row = NewMicrobatch(
            id="mb_1",
            worker="w",
            batch_key=KEY,
            images='["img_job_1_mug"]',
            solo=False,
            expected_seconds=1,
            released_at=NOW,
            lease_until=NOW + 9,
            good_until=NOW + 9,
        )
        microbatches.add(conn, [row])
    id = shop.ask("job_1")
    shop.run()
    with shop.ledger.read() as conn:
        (image,) = images.of_job(conn, "job_1")
    assert image.state == "canceled" and shop.erasure(id).state == "waiting"

    with shop.ledger.begin() as conn:
        microbatches.delete(conn, ["mb_1"])  # its lease ran out
    shop.run()
    shop.store("mug", copy_key="a.png")  # the worker was only slow
    shop.run()
    assert shop.erasure(id).state == "watching" and len(shop.keys()) == 3
    shop.run(NOW + WATCH_SECONDS)
    assert shop.erasure(id).state == "done" and shop.keys() == [] and shop.words_left() == []


def test_a_batch_goes_with_its_files_and_a_job_leaves_its_neighbours_lines(shop: Shop) -> None:
    """Erasing one job rewrites the batch's results; erasing the batch removes them and its file name."""
    with shop.ledger.begin() as conn:
        new = NewBatch(
            id="bat_1", tenant="acme", bucket="up", key=f"{CANARY}.csv", version="1", created_at=NOW
        )
        batches.add(conn, new)
        assert batches.advance(conn, id="bat_1", cursor=0, to=2, jobs=2, images=2, rejected=0)
    for job, word in (("job_1", "mug"), ("job_2", "cup")):
        shop.job(job, word, batch="bat_1")
        shop.render(job, word)
    with shop.ledger.begin() as conn:
        batches.planned(conn, id="bat_1", tenant="acme")
    assert Finisher(shop.ledger, shop.results).finish_next()
    results = "batches/bat_1/results.jsonl"
    assert shop.results("acme").get(results).count(CANARY.encode()) == 4

    shop.ask("job_1")
    shop.run()
    lines = [json.loads(line) for line in shop.results("acme").get(results).splitlines()]
    assert [(one["erased"], one["alt"], one["row_key"]) for one in lines] == [
        (True, "", None),
        (False, CANARY, CANARY),
    ]
    shop.ask("bat_1")
    shop.run()
    with shop.ledger.read() as conn:
        batch = batches.get(conn, tenant="acme", id="bat_1")
    assert shop.keys() == [] and shop.words_left() == []
    assert batch and (batch.key, batch.rendered, batch.phase) == ("erased", 2, "ended")


def test_a_tenant_is_unreadable_at_once_and_gone_soon(shop: Shop) -> None:
    """From the request on no word of the tenant can be read and nothing of it is accepted; then all of it goes."""
    for tenant in ("acme", "default", "other"):
        shop.job(f"job_{tenant}", "mug", tenant=tenant)
        shop.render(f"job_{tenant}", "mug", tenant=tenant)
        with shop.ledger.begin() as conn:
            events.remember(conn, tenant=tenant, source=CANARY, id="1", became=f"job_{tenant}", now=NOW)
    shop.job("job_open", "cup")
    shop.restricted.put("quarantine/acme/img_1/picture", b"sealed")
    shop.restricted.put("quarantine/acme-2/img_1/picture", b"sealed")
    id = shop.ask("")
    with shop.ledger.read() as conn:
        job = jobs.get(conn, tenant="acme", id="job_acme")
        assert job and job.metadata == "{}"
    with pytest.raises(TenantErased):
        shop.job("job_new", "jar")
    shop.run()

    with shop.ledger.read() as conn:
        counts = {
            name: conn.execute(
                select(func.count())
                .select_from(tables.metadata.tables[name])
                .where(tables.metadata.tables[name].c.tenant == "acme")
            ).scalar_one()
            for name in ("event", "delivery", "endpoint", "idempotency", "image", "job")
        }
        canceled = jobs.get(conn, tenant="acme", id="job_open")
    assert shop.erasure(id).state == "done" and shop.keys() == []
    assert counts == {"event": 0, "delivery": 0, "endpoint": 0, "idempotency": 0, "image": 2, "job": 2}
    assert canceled and canceled.canceled == 1
    assert [one.key for one in shop.restricted.list()] == ["quarantine/acme-2/img_1/picture"]
    assert (
        len(shop.keys("other")) == 2 and len(shop.keys("default")) == 4
    )  # its own, and the other's below it
    shop.ask("", tenant="default")
    shop.run()
    assert len(shop.keys("other")) == 2 and len(shop.keys("default")) == 2


def test_a_legal_hold_refuses_and_is_remembered(shop: Shop) -> None:
    """What is held is neither erased nor dropped with time; once the hold is lifted it can be."""
    from storage.ledger import words

    shop.job("job_1", "mug")
    shop.render("job_1", "mug")
    for subject in ("job_1", ""):
        with shop.ledger.begin() as conn:
            legal_holds.place(conn, tenant="acme", subject=subject, now=NOW)
        for asked in ("job_1", ""):
            with pytest.raises(LegalHold):
                shop.ask(asked)
        with shop.ledger.begin() as conn:
            assert not words.drop_expired(conn, NOW + 1, NOW)["image"]
            note_refusal(conn, tenant="acme", subject="job_1", actor="tenant", now=NOW)
            legal_holds.lift(conn, tenant="acme", subject=subject)
    assert len(shop.keys()) == 2
    shop.ask("job_1")
    shop.run()
    with shop.ledger.read() as conn:
        kinds = [one.kind for one in audit.records(conn)]
        assert audit.verify(conn) is None
    assert kinds == ["erasure.refused", "erasure.refused", "erasure.requested", "erasure.done"]


def test_asking_again_is_the_same_erasure(shop: Shop) -> None:
    """Twice, before and after it is done, gives one id and one receipt."""
    shop.job("job_1", "mug")
    first = shop.ask("job_1")
    assert shop.ask("job_1") == first
    shop.run()
    assert shop.ask("job_1") == first and shop.erasure(first).state == "done"


class _Dying(MemoryStore):
    """A store that fails at its nth deletion."""

    left = 10**9

    def delete(self, key: str) -> None:
        if self.left == 0:
            raise StoreUnavailable
        self.left -= 1
        super().delete(key)


@pytest.mark.parametrize("subject", ["job_1", ""])
def test_a_death_anywhere_only_delays_it(sqlite_ledger: Ledger, subject: str) -> None:
    """Wherever the process dies between two removals, doing it again ends in the same place."""

    def world() -> tuple[Shop, _Dying]:
        store = _Dying(bucket="results")
        return Shop(sqlite_ledger, root=store), store

    tenant, store = "t0", None
    for allowed in range(12):
        shop, store = world()
        tenant = f"t{allowed}"
        job = f"job_{allowed}"
        shop.job(job, "mug", "cup", tenant=tenant)
        shop.render(job, "mug", "cup", tenant=tenant)
        id = shop.ask(job if subject else "", tenant=tenant)
        store.left = allowed
        try:
            shop.run()
        except StoreUnavailable:
            store.left = 10**9
            shop.run()
        assert shop.erasure(id, tenant).state == "done" and shop.keys(tenant) == []


def test_an_admitted_tenant_can_be_erased_again(shop: Shop) -> None:
    """A tenant that came back starts with nothing, and may be erased a second time."""
    from ledgers import KEYS

    shop.job("job_1", "mug")
    first = shop.ask("")
    shop.run()
    assert shop.ask("") == first
    with shop.ledger.begin() as conn:
        tenant_keys.admit(conn, KEYS, "acme", NOW)
    shop.job("job_2", "mug")
    second = shop.ask("")
    shop.run()
    assert second != first and shop.erasure(second).state == "done" and shop.words_left() == []
