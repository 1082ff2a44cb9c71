"""Erasing a job, a batch or a whole tenant: asked for in one transaction, carried out in slices that may be repeated.

What is erased is canceled first. Its objects go while no other image of the tenant needs them; rows keep ids, states and
counts. A worker may still be drawing: its microbatch is waited for, and what it would store is looked for once more
after it can store no longer. Of a tenant the key goes first, so that from that moment no copy of its words, in backups
too, can be read.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from sqlalchemy import Connection

from handlers.cancel import cancel_batch, cancel_finetune, cancel_job
from schemas.errors import LegalHold, NotFound, ObjectMissing
from schemas.ids import new_id
from schemas.object_keys import image_key, receipt_key
from storage.ledger import batches, erasures, jobs, legal_holds, tenant_keys
from storage.ledger.audit import Entry, append
from storage.ledger.engine import Ledger
from storage.ledger.erasures import NewErasure
from storage.ledger.sql import AnyRow
from storage.objects.store import ObjectStore
from storage.quarantine import Vault, quarantine_key

log = structlog.get_logger(__name__)

#: Images whose objects are removed in one transaction: it keeps others from planning images meanwhile.
_IMAGES_AT_ONCE = 8
#: Rows and objects of a tenant that are dealt with in one slice; nobody has to wait for them.
_TENANT_ROWS_AT_ONCE, _OBJECTS_AT_ONCE = 500, 200
#: By now a worker that was given up for dead has stored what it will ever store.
WATCH_SECONDS = 900.0
#: Where other tenants' objects, and those that no tenant reaches, lie in a store that is not theirs alone.
_NOT_THE_DEFAULT_TENANT_S = ("tenants/", "restricted/")
_EXTENSIONS = ("png", "jpg", "webp", "avif")


class InputShelf(Protocol):
    """A tenant's kept pictures."""

    def remove(self, sha256: str) -> None: ...


def request_erasure(conn: Connection, *, tenant: str, subject: str, actor: str, now: float) -> str:
    """Note that a job or batch, or with an empty subject the tenant, is to be erased; the erasure's id.

    It is canceled in the same transaction; a tenant's keys are dropped in it. Asking again gives the same id. NotFound
    for what is not the tenant's; LegalHold where one lies on it, on its batch or on the tenant.
    """
    owners = _owners(conn, tenant, subject)
    known = erasures.of_subject(conn, tenant=tenant, subject=subject)
    if known is not None and not (subject == "" and _admitted_since(conn, tenant, known)):
        return str(known.id)
    held = set(legal_holds.of_tenant(conn, tenant))
    # A tenant is held as a whole by any hold within it: what is erased with its key cannot be spared.
    if held & {"", *owners} or (not subject and held):
        raise LegalHold
    new = _noted(conn, tenant, subject, now)
    if subject:
        _cancel(conn, tenant, subject, now)
    else:
        erasures.silence(conn, tenant)
        tenant_keys.drop(conn, tenant, now)
    entry = Entry(kind="erasure.requested", actor=actor, tenant=tenant, about=subject or None, data={"id": new.id})
    append(conn, [entry], now)
    log.info("erasure_requested", erasure=new.id, tenant=tenant, subject=subject or None)
    return new.id


def note_refusal(conn: Connection, *, tenant: str, subject: str, actor: str, now: float) -> None:
    """Remember that an erasure was refused because of a legal hold."""
    append(conn, [Entry(kind="erasure.refused", actor=actor, tenant=tenant, about=subject or None)], now)
    log.warning("erasure_refused", tenant=tenant, subject=subject or None, code=LegalHold.code)


def _owners(conn: Connection, tenant: str, subject: str) -> set[str]:
    """The subject, and the batch it belongs to."""
    if not subject:
        return set()
    find = batches.get if subject.startswith("bat_") else jobs.get
    row = find(conn, tenant=tenant, id=subject)
    if row is None:
        raise NotFound("there is no such job or batch", field="id")
    return {subject, row.batch} - {None} if subject.startswith("job_") else {subject}


def _admitted_since(conn: Connection, tenant: str, known: AnyRow) -> bool:
    return known.done_at is not None and not tenant_keys.is_erased(conn, tenant)


def _noted(conn: Connection, tenant: str, subject: str, now: float) -> NewErasure:
    flying = erasures.in_flight(conn, erasures.of(tenant, subject))
    keys = sorted({key for row in flying for key in _keys_of(row)}) if subject else []
    new = NewErasure(
        id=new_id("era"),
        tenant=tenant,
        subject=subject,
        requested_at=now,
        waits_for=json.dumps(sorted({row.microbatch for row in flying})),
        keys=json.dumps(keys),
    )
    erasures.add(conn, new)
    return new


def _cancel(conn: Connection, tenant: str, subject: str, now: float) -> None:
    cancel = cancel_job if subject.startswith("job_") else cancel_batch
    cancel(conn, tenant=tenant, id=subject, now=now)


def _keys_of(row: AnyRow) -> list[str]:
    """Every key under which something of an image may lie."""
    made = [image_key(row.digest, extension) for extension in _EXTENSIONS]
    return [*made, receipt_key(row.digest), *([row.copy_key] if row.copy_key else [])]


@dataclass(frozen=True, kw_only=True)
class Eraser:
    """Carries out what was requested. Every step is repeated whole after a crash, and changes nothing then."""

    ledger: Ledger
    #: A tenant's results store.
    results: Callable[[str], ObjectStore]
    #: A tenant's kept input pictures.
    inputs: Callable[[str], InputShelf]
    vault: Vault
    #: Where the vault's objects lie, to find those of one tenant.
    restricted: ObjectStore
    #: Writes a batch's result files anew from its rows.
    rewrite: Callable[[AnyRow], object]
    #: The tenant whose results store is the root of all others'.
    default_tenant: str
    clock: Callable[[], float] = time.time

    def step(self, now: float) -> int:
        """One slice of each unfinished erasure; how many of them moved."""
        with self.ledger.read() as conn:
            waiting = erasures.unfinished(conn)
        return sum(self._advance(row, now) for row in waiting)

    def _advance(self, row: AnyRow, now: float) -> bool:
        if row.state == "waiting":
            return self._begin(row, now)
        if row.state == "watching":
            return self._look_again(row, now)
        return self._remove(row, now) if row.subject else self._remove_tenant(row, now)

    def _begin(self, row: AnyRow, now: float) -> bool:
        """Go on once everything has ended and no worker is expected to report any more."""
        if not row.subject and self._cancel_some(row, now):
            return True
        with self.ledger.begin(wake=False) as conn:
            if erasures.still_out(conn, json.loads(row.waits_for)) or self._is_being_finished(conn, row):
                return False
            erasures.move(conn, row.id, state="removing", now=now)
        return True

    def _cancel_some(self, row: AnyRow, now: float) -> bool:
        tenant = row.tenant
        with self.ledger.begin() as conn:
            for batch in erasures.open_batches(conn, tenant):
                batches.planned(conn, id=batch, tenant=tenant)
            for tuned in erasures.open_finetunes(conn, tenant):
                cancel_finetune(conn, tenant=tenant, id=tuned, now=now)
            left = erasures.open_jobs(conn, tenant)
            for job in left:
                cancel_job(conn, tenant=tenant, id=job, now=now)
        return bool(left)

    def _is_being_finished(self, conn: Connection, row: AnyRow) -> bool:
        """Whether result files are about to be written: what is removed before that would come back."""
        batch = _batch_of(conn, row)
        if batch is None:
            return False
        return bool(batch.phase != "ended" if row.subject == batch.id else batch.phase == "finishing")

    def _remove(self, row: AnyRow, now: float) -> bool:
        removed = self._remove_images(row, now)
        if removed:
            with self.ledger.begin(wake=False) as conn:
                erasures.move(conn, row.id, state="removing", removed=removed, now=now)
            return True
        with self.ledger.begin(wake=False) as conn:
            removed = erasures.blank_about(conn, row.tenant, row.subject, now)
            free = erasures.release_inputs(conn, row.tenant, row.subject, now)
            batch = _batch_of(conn, row)
        if batch is not None:
            removed["result_files"] += self._result_files(row, batch)
        for sha256 in free:
            self.inputs(row.tenant).remove(sha256)
            removed["inputs"] += 1
        self._settle(row, removed, now)
        return True

    def _remove_images(self, row: AnyRow, now: float) -> Counter[str]:
        """The objects and words of a few images, in a transaction in which nobody can come to need the objects."""
        removed: Counter[str] = Counter()
        with self.ledger.begin(wake=False) as conn:
            erasures.lock_images(conn)
            some = erasures.remaining(conn, row.tenant, row.subject, _IMAGES_AT_ONCE)
            if not some:
                return removed
            ids, digests = [one.id for one in some], [one.digest for one in some]
            needed = erasures.needed_elsewhere(conn, row.tenant, digests, ids)
            for one in some:
                removed.update(self._remove_objects(row.tenant, one, shared=one.digest in needed))
            for image in erasures.held_images(conn, row.tenant, ids):
                self.vault.discard(quarantine_key(row.tenant, image))
                removed["quarantined"] += 1
            erasures.blank_images(conn, some, now)
        removed["images"] += len(some)
        return removed

    def _remove_objects(self, tenant: str, row: AnyRow, *, shared: bool) -> Counter[str]:
        store, removed = self.results(tenant), Counter[str]()
        if row.copy_key and self._is_its_copy(store, row):
            store.delete(row.copy_key)
            removed["copies"] += 1
        if shared:
            return removed
        stored = json.loads(row.result or "{}").get("stored")
        if stored:
            removed["pictures"] += 1
            removed["receipts"] += 1
        # The receipt last: while it lies there, so does what it tells of.
        for key in _keys_of(row)[: len(_EXTENSIONS) + 1]:
            store.delete(key)
        return removed

    def _is_its_copy(self, store: ObjectStore, row: AnyRow) -> bool:
        """Whether the customer's key still holds this image: a later one may have taken its place."""
        stored = json.loads(row.result or "{}").get("stored") or {}
        return bool(stored) and _sha256(store, row.copy_key) == stored["sha256"]

    def _result_files(self, row: AnyRow, batch: AnyRow) -> int:
        if batch.phase != "ended":
            return 0  # they will be written from what is left
        if row.subject != batch.id:
            self.rewrite(batch)
            return 1
        store = self.results(row.tenant)
        for name in ("results", "errors"):
            store.delete(f"batches/{batch.id}/{name}.jsonl")
        return 1

    def _settle(self, row: AnyRow, removed: Counter[str], now: float) -> None:
        watched = bool(json.loads(row.waits_for))
        with self.ledger.begin(wake=False) as conn:
            erasures.move(conn, row.id, state="watching" if watched else "done", removed=removed, now=now)
            if not watched:
                self._remember(conn, row, now)

    def _look_again(self, row: AnyRow, now: float) -> bool:
        if now < row.requested_at + WATCH_SECONDS:
            return False
        if not row.subject:
            if self._remove_some_objects(row.tenant):
                return True
        else:
            self._remove_late(row)
        with self.ledger.begin(wake=False) as conn:
            erasures.move(conn, row.id, state="done", now=now)
            self._remember(conn, row, now)
        return True

    def _remove_late(self, row: AnyRow) -> None:
        """What a worker stored that had been given up, unless another image has come to need it."""
        store = self.results(row.tenant)
        with self.ledger.begin(wake=False) as conn:
            erasures.lock_images(conn)
            keys = json.loads(row.keys)
            digests = {digest for key in keys if (digest := _digest_in(key))}
            needed = erasures.needed_elsewhere(conn, row.tenant, sorted(digests), [])
            ours = [key for key in keys if (digest := _digest_in(key)) and digest not in needed]
            late = {_sha256(store, key) for key in ours} - {None}
            theirs = [key for key in keys if not _digest_in(key) and _sha256(store, key) in late]
            for key in [*theirs, *ours]:
                store.delete(key)

    def _remember(self, conn: Connection, row: AnyRow, now: float) -> None:
        entry = Entry(
            kind="erasure.done", actor="system", tenant=row.tenant, about=row.subject or None, data={"id": row.id}
        )
        append(conn, [entry], now)
        log.info("erased", erasure=row.id, tenant=row.tenant, subject=row.subject or None)

    def _remove_tenant(self, row: AnyRow, now: float) -> bool:
        objects = self._remove_some_objects(row.tenant)
        if objects:
            with self.ledger.begin(wake=False) as conn:
                erasures.move(conn, row.id, state="removing", removed={"objects": objects}, now=now)
            return True
        with self.ledger.begin(wake=False) as conn:
            some = erasures.remaining(conn, row.tenant, "", _TENANT_ROWS_AT_ONCE)
            if some:
                erasures.blank_images(conn, some, now)
                erasures.move(conn, row.id, state="removing", removed={"images": len(some)}, now=now)
                return True
            removed = erasures.clear_tenant(conn, row.tenant, now)
        self._settle(row, removed, now)
        return True

    def _remove_some_objects(self, tenant: str) -> int:
        return self._sweep_store(tenant) or self._sweep_quarantine(tenant)

    def _sweep_store(self, tenant: str) -> int:
        store = self.results(tenant)
        spared = _NOT_THE_DEFAULT_TENANT_S if tenant == self.default_tenant else ()
        keys = _first((one.key for one in store.list()), lambda key: not key.startswith(spared) if spared else True)
        for key in keys:
            store.delete(key)
        return len(keys)

    def _sweep_quarantine(self, tenant: str) -> int:
        keys = _first((one.key for one in self.restricted.list(f"quarantine/{tenant}/")), lambda _key: True)
        for key in keys:
            self.restricted.delete(key)
        return len(keys)


def _sha256(store: ObjectStore, key: str) -> str | None:
    """Of an object's bytes; None when it is not there."""
    try:
        return hashlib.sha256(store.get(key)).hexdigest()
    except ObjectMissing:
        return None


def _first(keys: Iterable[str], wanted: Callable[[str], bool]) -> Sequence[str]:
    found: list[str] = []
    for key in keys:
        if wanted(key):
            found.append(key)
        if len(found) == _OBJECTS_AT_ONCE:
            break
    return found


def _digest_in(key: str) -> str | None:
    """The digest that names an object of ours; None for a customer's own key."""
    name = key.rpartition("/")[2].partition(".")[0]
    return name if key.startswith(("images/", "receipts/")) else None


def _batch_of(conn: Connection, row: AnyRow) -> AnyRow | None:
    if row.subject.startswith("bat_"):
        return batches.get(conn, tenant=row.tenant, id=row.subject)
    job = jobs.get(conn, tenant=row.tenant, id=row.subject) if row.subject else None
    return batches.get(conn, tenant=row.tenant, id=job.batch) if job is not None and job.batch else None
