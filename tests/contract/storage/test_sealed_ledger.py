"""Customers' words in the ledger: sealed at rest, plain to those above, and gone when their time or their key is."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from ledgers import KEYS
from sqlalchemy import func, select, text, update

from schemas.errors import KeyMissing, TenantErased
from schemas.states import ImageState
from storage.ledger import (
    batches,
    deliveries,
    finetunes,
    idempotency,
    images,
    jobs,
    tables,
    tenant_keys,
    words,
)
from storage.ledger.batches import NewBatch, RowError
from storage.ledger.engine import Ledger
from storage.ledger.finetunes import NewFinetune
from storage.ledger.idempotency import Replay, Scope
from storage.ledger.images import Ending, NewImage
from storage.ledger.jobs import NewJob
from storage.sealing import MasterKeys, is_sealed

NOW = 1_800_000_000.0
CANARY = "zanzibar"
SPEC = json.dumps({"prompt": f"a {CANARY} mug", "width": 64, "height": 48})
KEY = "toy@abc/64x48/4"


def new_image(number: int, *, tenant: str = "acme", job: str = "job_1") -> NewImage:
    return NewImage(
        id=f"img_{number}",
        tenant=tenant,
        job=job,
        batch="bat_1",
        lane=1,
        batch_key=KEY,
        digest=f"{number:064x}",
        spec=SPEC,
        alt=f"A {CANARY} mug",
        descriptions=json.dumps([{"alt": CANARY}]),
        created_at=NOW,
    )


def fill(ledger: Ledger, *, tenant: str = "acme") -> None:
    """One row of every kind that holds words of a customer."""
    scope = Scope(tenant=tenant, route="/v1/jobs", key="k")
    with ledger.begin() as conn:
        batches.add(
            conn, NewBatch(id="bat_1", tenant=tenant, bucket="b", key="k", version="1", created_at=NOW)
        )
        jobs.add(
            conn,
            [
                NewJob(
                    id="job_1",
                    tenant=tenant,
                    total=2,
                    batch="bat_1",
                    row=1,
                    row_key=CANARY,
                    metadata=json.dumps({"customer": CANARY}),
                    created_at=NOW,
                )
            ],
        )
        images.add(conn, [new_image(one, tenant=tenant) for one in (1, 2)])
        problem = json.dumps({"detail": CANARY})
        batches.add_row_errors(
            conn, batch_id="bat_1", tenant=tenant, errors=[RowError(row=2, problem=problem)]
        )
        batches.planned(conn, id="bat_1", tenant=tenant, error=problem)
        deliveries.add(
            conn,
            tenant=tenant,
            url="https://example.org/hook",
            type="job.completed",
            about="job_1",
            body=json.dumps({"alt": CANARY}),
            traceparent=None,
            now=NOW,
        )
        idempotency.begin(conn, scope, "f", NOW)
        idempotency.finish(conn, scope, status=202, headers={}, body=json.dumps({"said": CANARY}))
        finetunes.add(
            conn,
            NewFinetune(
                id="fin_1",
                tenant=tenant,
                name="brand",
                model="toy",
                base_digest="d",
                spec=json.dumps({"captions": CANARY}),
                metadata=json.dumps({"who": CANARY}),
                created_at=NOW,
            ),
        )


def end_all(ledger: Ledger, at: float = NOW) -> None:
    with ledger.begin() as conn:
        endings = [
            Ending(f"img_{one}", f"{one:064x}", ImageState.RENDERED, '{"stored": null}') for one in (1, 2)
        ]
        jobs.tally(conn, images.settle(conn, endings, at), at)
        conn.execute(update(tables.batch).values(phase="ended", ended_at=at))
        conn.execute(update(tables.delivery).values(state="delivered", ended_at=at))
        finetunes.end(conn, id="fin_1", state="canceled", result=None, now=at)


def stored_texts(ledger: Ledger) -> Iterator[tuple[str, str]]:
    """Every text of every row as the database holds it, with its column."""
    with ledger.read() as conn:
        for table in tables.metadata.sorted_tables:
            for row in conn.execute(select(table)).mappings():
                yield from (
                    (f"{table.name}.{name}", value) for name, value in row.items() if isinstance(value, str)
                )


def where(ledger: Ledger, word: str = CANARY) -> set[str]:
    return {column for column, value in stored_texts(ledger) if word in value}


def test_no_word_of_a_customer_lies_plain(ledger: Ledger) -> None:
    """No column of any table shows a word that a customer sent, and no index or sequence of equal rows tells them alike."""
    fill(ledger)

    assert where(ledger) == set()
    with ledger.read() as conn:
        specs = conn.execute(select(tables.image.c.spec)).scalars().all()
    assert len(set(specs)) == 2 and all(is_sealed(one) for one in specs)


def test_those_above_read_plain_text(ledger: Ledger) -> None:
    """Every function that hands out words hands them out as they came."""
    fill(ledger)
    with ledger.begin() as conn:
        claimed = images.claim(conn, lane=1, tenant="acme", batch_key=KEY, count=1, microbatch="mb_1")
        (owed,) = deliveries.claim(conn, NOW, 10, 60.0)
        again = idempotency.begin(conn, Scope(tenant="acme", route="/v1/jobs", key="k"), "f", NOW)
    with ledger.read() as conn:
        row = images.get(conn, tenant="acme", id="img_2")
        job = jobs.get(conn, tenant="acme", id="job_1")
        batch = batches.get(conn, tenant="acme", id="bat_1")
        tuned = finetunes.get(conn, tenant="acme", id="fin_1")
        of_batch = images.of_batch(conn, "bat_1")
        (rejected,) = batches.row_errors(conn, "bat_1")

    assert row and job and batch and tuned
    assert (claimed[0].spec, claimed[0].alt, row.spec, row.alt) == (SPEC, f"A {CANARY} mug") * 2
    assert json.loads(job.metadata) == {"customer": CANARY} and job.row_key == CANARY
    assert [one.row_key for one in of_batch] == [CANARY, CANARY]
    assert CANARY in batch.error and CANARY in rejected.problem and CANARY in owed.body
    assert isinstance(again, Replay) and CANARY in again.body
    assert CANARY in tuned.spec and CANARY in tuned.metadata


def test_a_row_that_was_tampered_with_is_claimed_alone(ledger: Ledger) -> None:
    """A spec moved from another row is not rendered, and its neighbour is."""
    fill(ledger)
    with ledger.begin() as conn:
        first = conn.execute(select(tables.image.c.spec).where(tables.image.c.id == "img_1")).scalar_one()
        conn.execute(update(tables.image).where(tables.image.c.id == "img_2").values(spec=first))
        claimed = images.claim(conn, lane=1, tenant="acme", batch_key=KEY, count=9, microbatch="mb_1")

    assert {one.id: bool(one.spec) for one in claimed} == {"img_1": True, "img_2": False}


def test_a_wrong_secret_is_the_operator_s_to_repair(ledger: Ledger, ledger_url: str) -> None:
    """With another secret nothing is read and nothing is lost: an error says which setting is missing."""
    fill(ledger)
    other = Ledger.open(ledger_url, keys=MasterKeys(b"x" * 32))
    with other, pytest.raises(KeyMissing), other.begin() as conn:
        images.claim(conn, lane=1, tenant="acme", batch_key=KEY, count=1, microbatch="mb_1")
    with ledger.begin() as conn:
        assert len(images.claim(conn, lane=1, tenant="acme", batch_key=KEY, count=9, microbatch="mb_1")) == 2


def test_keys_move_to_a_new_secret(ledger: Ledger, ledger_url: str) -> None:
    """After the keys were wrapped anew, the new secret alone reads everything."""
    fill(ledger)
    both = MasterKeys(b"new secret of thirty-two bytes..", b"a secret of thirty-two bytes....")
    with Ledger.open(ledger_url, keys=both) as rotating, rotating.begin() as conn:
        assert tenant_keys.unreadable(conn, MasterKeys(b"new secret of thirty-two bytes..")) == 1
        assert (tenant_keys.wrap_anew(conn, both), tenant_keys.wrap_anew(conn, both)) == (1, 0)
    with (
        Ledger.open(ledger_url, keys=MasterKeys(b"new secret of thirty-two bytes..")) as after,
        after.read() as conn,
    ):
        row = images.get(conn, tenant="acme", id="img_1")
    assert row and row.spec == SPEC


def test_a_dropped_key_leaves_nothing_to_read(ledger: Ledger) -> None:
    """Once a tenant's key is dropped its words are gone from every row at once, and it is refused; others go on."""
    fill(ledger)
    with ledger.begin() as conn:
        jobs.add(conn, [NewJob(id="job_9", tenant="other", total=1, metadata='{"a": "b"}', created_at=NOW)])
        assert tenant_keys.drop(conn, "acme", NOW) == 1
    with ledger.begin() as conn:
        row = images.get(conn, tenant="acme", id="img_1")
        (claimed, *_) = images.claim(conn, lane=1, tenant="acme", batch_key=KEY, count=1, microbatch="mb_1")
        owed = deliveries.claim(conn, NOW, 10, 60.0)
        other = jobs.get(conn, tenant="other", id="job_9")
    with pytest.raises(TenantErased), ledger.begin() as conn:
        jobs.add(conn, [NewJob(id="job_2", tenant="acme", total=1, created_at=NOW)])

    assert row and row.alt == "" and row.erased_at is not None and claimed.spec == "" and owed == []
    assert other and other.metadata == '{"a": "b"}'
    with ledger.begin() as conn:
        assert tenant_keys.is_erased(conn, "acme") and not tenant_keys.is_erased(conn, "other")
        assert tenant_keys.admit(conn, KEYS, "acme", NOW) == 2
    with ledger.begin() as conn:
        jobs.add(conn, [NewJob(id="job_2", tenant="acme", total=1, metadata='{"c": "d"}', created_at=NOW)])
        assert (found := jobs.get(conn, tenant="acme", id="job_2")) and found.metadata == '{"c": "d"}'
        assert (old := images.get(conn, tenant="acme", id="img_1")) and old.alt == ""


def test_words_go_when_their_days_are_over(ledger: Ledger) -> None:
    """What ended before the cut loses its words and keeps its state, digest and counts; what is open or newer stays."""
    fill(ledger)
    with ledger.begin() as conn:
        assert not words.drop_expired(conn, NOW + 1, NOW)  # all is open still, or was not owed to anybody
    end_all(ledger, NOW)
    with ledger.begin() as conn:
        assert not words.drop_expired(conn, NOW, NOW)
        dropped = words.drop_expired(conn, NOW + 1, NOW + 2)
        assert not words.drop_expired(conn, NOW + 1, NOW + 2)
    with ledger.read() as conn:
        row = images.get(conn, tenant="acme", id="img_1")
        job = jobs.get(conn, tenant="acme", id="job_1")
        kept = conn.execute(select(func.count()).select_from(tables.row_error)).scalar_one()

    assert dropped == {"image": 2, "batch": 1, "delivery": 1, "finetune": 1}
    assert row and (row.state, row.digest, row.erased_at) == ("rendered", f"{1:064x}", NOW + 2)
    assert json.loads(row.spec) == {"width": 64, "height": 48} and row.alt == "" and row.descriptions == "[]"
    assert job and (job.rendered, job.metadata, job.row_key, job.erased_at) == (2, "{}", None, NOW + 2)
    assert kept == 0
    sealed = {column for column, value in stored_texts(ledger) if is_sealed(value)}
    assert sealed == {"idempotency.body"}  # which lives for a day


def test_rows_of_older_installations_are_read_and_sealed(ledger_url: str) -> None:
    """Plain rows work as before, and a sweep that may stop anywhere seals them all, once."""
    with Ledger.open(ledger_url) as plain:
        plain.migrate()
        fill(plain)
        assert len(where(plain)) == 11
    with Ledger.open(ledger_url, keys=KEYS) as ledger:
        with ledger.read() as conn:
            row = images.get(conn, tenant="acme", id="img_1")
            assert row and row.spec == SPEC
        counts, place = [], words.FIRST
        while place is not None:
            with ledger.begin() as conn:
                count, place = words.seal_plain(conn, place, limit=1)
            counts.append(count)
        with ledger.read() as conn:
            row = images.get(conn, tenant="acme", id="img_1")
            (rejected,) = batches.row_errors(conn, "bat_1")
        with ledger.begin() as conn:
            assert words.seal_plain(conn, words.FIRST)[0] == 0

        assert sum(counts) == 7 and where(ledger) == {"idempotency.body"}
        assert row and row.spec == SPEC and CANARY in rejected.problem


def test_a_customer_cannot_send_a_sealed_text(ledger: Ledger) -> None:
    """A text that looks sealed is a text like any other."""
    fill(ledger)
    forged = "sealed.1.1.AAAA"
    with ledger.begin() as conn:
        jobs.add(conn, [NewJob(id="job_2", tenant="acme", total=1, row_key=forged, created_at=NOW)])
    with ledger.read() as conn:
        found = jobs.get(conn, tenant="acme", id="job_2")
        assert found and found.row_key == forged
        assert conn.execute(text("SELECT count(*) FROM tenant_key")).scalar_one() == 1
