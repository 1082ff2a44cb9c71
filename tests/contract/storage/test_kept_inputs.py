"""Kept pictures: counted, never removed while something needs them, and verified when they are read."""

from __future__ import annotations

import hashlib

import pytest
from kept_pictures import KEY, input_ports, upload_verdict
from pictures import a_picture, as_file
from sqlalchemy import text

from handlers.input_book import InputCleaner, LedgerBook
from handlers.inputs import Inputs
from safety.input_image import PictureReader
from schemas.errors import BadImage, InputMissing, LedgerBusy, QuotaReached
from schemas.object_keys import ingredient_key, input_key, input_record_key
from storage.kept_inputs import KeptInputs
from storage.ledger import kept_inputs
from storage.ledger.engine import Ledger
from storage.ledger.jobs import NewJob
from storage.ledger.jobs import add as add_jobs
from storage.ledger.kept_inputs import Quota
from storage.objects.memory import MemoryStore

PNG = as_file(a_picture())
SHA = hashlib.sha256(PNG).hexdigest()
ROOMY = Quota(count=100, bytes=10**9)
DAY = 86400.0


def keep(
    ledger: Ledger,
    tenant: str,
    sha256: str,
    now: float,
    *,
    counted: bool = True,
    quota: Quota = ROOMY,
    size: int = 10,
) -> None:
    with ledger.begin() as conn:
        kept_inputs.add(conn, tenant, sha256, size=size, counted=counted, quota=quota, now=now)


def unused(ledger: Ledger, before: float) -> list[tuple[str, str]]:
    with ledger.begin() as conn:
        return kept_inputs.take_unused(conn, before=before, now=before)


def test_a_quota_counts_what_was_sent(ledger: Ledger) -> None:
    """By number and by bytes, per tenant; the same picture again and copies of own objects cost nothing."""
    quota = Quota(count=2, bytes=100)
    keep(ledger, "acme", "a" * 64, 1.0, quota=quota, size=60)
    keep(ledger, "acme", "a" * 64, 2.0, quota=quota, size=60)
    keep(ledger, "acme", "c" * 64, 2.0, quota=quota, size=1000, counted=False)
    with pytest.raises(QuotaReached) as caught:
        keep(ledger, "acme", "b" * 64, 3.0, quota=quota, size=41)
    assert caught.value.limit == {"count": 2, "bytes": 100}
    keep(ledger, "acme", "b" * 64, 3.0, quota=quota, size=40)
    with pytest.raises(QuotaReached):
        keep(ledger, "acme", "d" * 64, 4.0, quota=quota, size=0)
    keep(ledger, "bolt", "d" * 64, 4.0, quota=quota, size=100)
    with ledger.read() as conn:
        assert kept_inputs.totals(conn, "acme") == (2, 100)


def test_what_was_used_lately_stays(ledger: Ledger) -> None:
    """Each use begins its time anew; the rest may go, oldest first."""
    for number, name in enumerate("abc"):
        keep(ledger, "acme", name * 64, float(number))
    with ledger.begin() as conn:
        assert kept_inputs.use(conn, "acme", "a" * 64, 50.0)
        assert not kept_inputs.use(conn, "bolt", "a" * 64, 50.0)
    assert sorted(unused(ledger, 10.0)) == [("acme", "b" * 64), ("acme", "c" * 64)]


@pytest.mark.parametrize("owner", ["job", "batch", "finetune"])
def test_what_something_open_needs_stays(ledger: Ledger, owner: str) -> None:
    """However old: until its job, batch or fine-tune has ended."""
    id = f"{owner[:3]}_1"
    keep(ledger, "acme", "a" * 64, 1.0)
    open_row = {
        "job": "INSERT INTO job (id, tenant, metadata, created_at) VALUES ('job_1', 'acme', '{}', 1)",
        "batch": "INSERT INTO batch (id, tenant, bucket, key, version, phase, created_at) VALUES ('bat_1', 'acme', 'u', 'k', 'v', 'planned', 1)",
        "finetune": "INSERT INTO finetune (id, tenant, name, model, base_digest, spec, state, created_at) VALUES ('fin_1', 'acme', 'n', 'm', 'd', '{}', 'queued', 1)",
    }
    ended = {
        "job": "UPDATE job SET ended_at = 2",
        "batch": "UPDATE batch SET phase = 'ended'",
        "finetune": "UPDATE finetune SET state = 'completed'",
    }
    with ledger.begin() as conn:
        conn.execute(text(open_row[owner]))
        kept_inputs.need(conn, "acme", id, ["a" * 64])
        kept_inputs.need(conn, "acme", id, ["a" * 64])
    assert unused(ledger, 10.0) == []
    with ledger.begin() as conn:
        conn.execute(text(ended[owner]))
    assert unused(ledger, 10.0) == [("acme", "a" * 64)]


def test_a_legal_hold_keeps_everything_of_its_tenant(ledger: Ledger) -> None:
    """What a court may want to see is not cleaned away."""
    keep(ledger, "acme", "a" * 64, 1.0)
    with ledger.begin() as conn:
        conn.execute(text("INSERT INTO legal_hold (tenant, subject, placed_at) VALUES ('acme', '', 1)"))
    assert unused(ledger, 10.0) == []


def test_what_is_being_removed_cannot_be_used(ledger: Ledger) -> None:
    """Whoever names it at that very moment is told to try again, and a process that died removing it is taken up."""
    keep(ledger, "acme", "a" * 64, 1.0)
    assert unused(ledger, 10.0) == unused(ledger, 10.0) == [("acme", "a" * 64)]
    with ledger.begin() as conn:
        assert not kept_inputs.use(conn, "acme", "a" * 64, 20.0)
    with pytest.raises(LedgerBusy):
        keep(ledger, "acme", "a" * 64, 20.0)
    with ledger.begin() as conn:
        kept_inputs.forget(conn, "acme", "a" * 64)
    keep(ledger, "acme", "a" * 64, 30.0)


class Place:
    """One tenant's pictures, with a clock that can be set."""

    def __init__(self, ledger: Ledger, quota: Quota = ROOMY) -> None:
        self.store, self.now = MemoryStore(bucket="results"), 1000.0
        self.book = LedgerBook(ledger=ledger, quota=quota, clock=lambda: self.now)
        self.restart()
        self.cleaner = InputCleaner(ledger=ledger, kept=lambda _tenant: self.kept, keep_seconds=30 * DAY)
        self.kept = KeptInputs(store=self.store, key=KEY)

    def restart(self) -> None:
        """As another process would: with nothing remembered."""

        def store(_tenant: str) -> MemoryStore:
            return self.store

        self.inputs = Inputs(input_ports(store, store, book=self.book, origin=lambda _: b"marks"))

    def keys(self) -> list[str]:
        return [entry.key for entry in self.store.list()]


def test_a_picture_goes_with_all_that_lies_beside_it(sqlite_ledger: Ledger) -> None:
    """Taken in, kept for its time, then gone: file, marks, record and rows; a second sweep finds nothing."""
    place = Place(sqlite_ledger)
    place.inputs.accept("acme", PNG)
    assert place.keys() == sorted([input_key(SHA), ingredient_key(SHA), input_record_key(SHA)])
    assert place.cleaner.sweep(place.now + 29 * DAY) == 0
    assert place.cleaner.sweep(place.now + 31 * DAY) == 1
    assert place.keys() == [] and place.cleaner.sweep(place.now + 32 * DAY) == 0
    with pytest.raises(InputMissing):
        Place(sqlite_ledger).inputs.resolve("acme", f"inputs/{SHA}")


def test_a_job_that_waits_keeps_its_picture(sqlite_ledger: Ledger) -> None:
    """A backlog of months is drawn with the pictures that it was accepted with."""
    place = Place(sqlite_ledger)
    place.inputs.accept("acme", PNG)
    with sqlite_ledger.begin() as conn:
        add_jobs(conn, [NewJob(id="job_1", tenant="acme", total=1, created_at=place.now)])
        kept_inputs.need(conn, "acme", "job_1", [SHA])
    assert place.cleaner.sweep(place.now + 100 * DAY) == 0
    assert place.kept.read(SHA)


def test_a_refusal_for_want_of_room_stores_nothing(sqlite_ledger: Ledger) -> None:
    """The quota is asked before anything is written."""
    place = Place(sqlite_ledger, Quota(count=1, bytes=10))
    with pytest.raises(QuotaReached):
        place.inputs.accept("acme", PNG)
    assert place.keys() == []


def test_naming_a_picture_keeps_it(sqlite_ledger: Ledger) -> None:
    """Its time begins anew with each request that names it, also when this process remembers it."""
    place = Place(sqlite_ledger)
    place.inputs.accept("acme", PNG)
    place.now += 25 * DAY
    place.restart()
    place.inputs.resolve("acme", f"inputs/{SHA}")
    assert place.cleaner.sweep(place.now + 20 * DAY) == 0


def test_a_picture_that_was_exchanged_is_found_out() -> None:
    """By whoever reads it: another file under the key, a record of somebody else's making, or one under no key at all."""
    store = MemoryStore(bucket="results")
    kept = KeptInputs(store=store, key=KEY)
    clean = PictureReader().clean
    record = kept.keep(clean(PNG), verdicts={"mark": upload_verdict()})
    assert kept.read(SHA) == clean(PNG).png and kept.record(SHA) == record

    other = clean(as_file(a_picture(seed=8)))
    store.put(input_key(SHA), other.png, if_absent=False)
    with pytest.raises(BadImage):
        kept.read(SHA)
    forged = record.model_copy(update={"kept_sha256": hashlib.sha256(other.png).hexdigest()})
    for seal in (record.seal, forged.sealed(b"guess").seal, forged.sealed(b"").seal, ""):
        written = forged.model_copy(update={"seal": seal})
        store.put(input_record_key(SHA), written.model_dump_json().encode(), if_absent=False)
        with pytest.raises(BadImage):
            kept.read(SHA)
        with pytest.raises(BadImage):
            KeptInputs(store=store, key=b"").read(SHA)


def test_another_version_of_the_encoder_changes_nothing() -> None:
    """A picture whose file compresses differently today stays as it lies there, and can still be read."""
    store = MemoryStore(bucket="results")
    kept, picture = KeptInputs(store=store, key=KEY), PictureReader().clean(PNG)
    first = kept.keep(picture)
    again = type(picture)(facts=picture.facts, png=as_file(a_picture(), "PNG", compress_level=9))
    assert again.png != picture.png and kept.keep(again) == first
    assert kept.read(SHA) == picture.png


def test_files_from_before_there_were_records_are_read() -> None:
    """Raw bytes whose own digest is their name need no record."""
    store = MemoryStore(bucket="results")
    store.put(input_key(SHA), PNG)
    assert KeptInputs(store=store, key=KEY).read(SHA) == PNG


def test_verdicts_are_added_and_bounded() -> None:
    """Each policy has its own; the oldest make room."""
    kept = KeptInputs(store=MemoryStore(bucket="results"), key=KEY)
    record = kept.keep(PictureReader().clean(PNG))
    for number in range(20):
        record = kept.judged(record, {f"policy{number}": upload_verdict()})
    assert kept.record(SHA) == record
    assert list(record.verdicts) == [f"policy{number}" for number in range(4, 20)]
