"""What the ledger says about one batch, for the progress display and the contact sheet."""

from __future__ import annotations

import json
from collections.abc import Iterator

from sqlalchemy import Connection, text

from deploy.contact_entry import Entry
from deploy.progress import Standing
from safety.provenance.reading import read_picture
from safety.provenance.telling import credentials_in_words
from schemas.errors import ObjectMissing
from schemas.outcome import ImageBlocked, ImageFailed, ImageHeld, ImageRendered
from schemas.states import ImageState
from storage.ledger import batches, images
from storage.ledger import held as held_images
from storage.ledger.engine import Ledger
from storage.ledger.sealed import opened
from storage.ledger.sql import AnyRow
from storage.objects.store import ObjectStore

_BATCH = text("SELECT * FROM batch WHERE tenant = :tenant AND bucket = :bucket AND key = :key")
_RELEASED = text("SELECT count(*) FROM image WHERE batch = :batch AND state IN ('released', 'suspect')")
_OWED = text(
    """SELECT count(*) AS owed, coalesce(sum(CASE WHEN d.state = 'delivered' THEN 1 ELSE 0 END), 0) AS delivered,
              coalesce(sum(CASE WHEN d.state = 'pending' THEN 1 ELSE 0 END), 0) AS pending
       FROM delivery AS d JOIN endpoint AS e ON e.id = d.endpoint WHERE e.tenant = :tenant AND e.url = :url"""
)
#: Refused rows that are told of.
_PROBLEMS_MOST = 20


class BatchView:
    """One manifest's batch, found by the upload it came from."""

    def __init__(self, ledger: Ledger, *, tenant: str, bucket: str, key: str, webhook_url: str) -> None:
        self._ledger = ledger
        self._place = {"tenant": tenant, "bucket": bucket, "key": key}
        self._url = {"tenant": tenant, "url": webhook_url}

    def row(self) -> AnyRow | None:
        """The batch; None until the upload has been accepted."""
        with self._ledger.read() as conn:
            return self._row(conn)

    def _row(self, conn: Connection) -> AnyRow | None:
        return next(iter(opened(conn, "batch", conn.execute(_BATCH, self._place))), None)

    def look(self) -> tuple[Standing, bool]:
        """Where everything stands, and whether nothing more will happen."""
        with self._ledger.read() as conn:
            batch = self._row(conn)
            if batch is None:
                return Standing(total=0, queued=0, rendering=0, stored=0, blocked=0, failed=0, delivered=0, owed=0), False
            rendering = conn.execute(_RELEASED, {"batch": batch.id}).scalar_one()
            held = 0 if batch.phase == "ended" else held_images.of_batch(conn, batch.id)
            owed = conn.execute(_OWED, self._url).one()
        failed = batch.failed + batch.expired + batch.canceled
        ended = batch.rendered + batch.blocked + failed
        standing = Standing(
            total=batch.total,
            queued=max(0, batch.total - ended - rendering - held),
            rendering=rendering,
            stored=batch.rendered,
            blocked=batch.blocked,
            failed=failed,
            delivered=owed.delivered,
            owed=owed.owed,
            held=held,
        )
        # What is held may wait for days: nobody is kept waiting for a reviewer.
        only_held = bool(held) and batch.phase == "planned" and ended + held == batch.total
        return standing, (batch.phase == "ended" or only_held) and not owed.pending

    def problems(self) -> list[str]:
        """Why the manifest or rows of it were refused, in sentences."""
        with self._ledger.read() as conn:
            batch = self._row(conn)
            rows = batches.row_errors(conn, batch.id, count=_PROBLEMS_MOST) if batch is not None else []
        told = [batch.error] if batch is not None and batch.error else []
        return [_sentence(json.loads(one)) for one in [*told, *(row.problem for row in rows)]]

    def entries(self, store: ObjectStore) -> Iterator[Entry]:
        """Every image of the batch in the order of the manifest."""
        batch = self.row()
        after = ""
        while batch is not None:
            with self._ledger.read() as conn:
                page = images.of_batch(conn, batch.id, after=after)
            if not page:
                return
            yield from (_entry(row, store) for row in page)
            after = page[-1].id

    def reused(self) -> int:
        """How many images were there already, under their digest."""
        batch, found, after = self.row(), 0, ""
        while batch is not None:
            with self._ledger.read() as conn:
                page = images.of_batch(conn, batch.id, after=after)
            if not page:
                break
            rendered = [row for row in page if row.state == ImageState.RENDERED]
            found += sum(ImageRendered.model_validate_json(row.result).stored.reused for row in rendered)
            after = page[-1].id
        return found


def _sentence(problem: dict[str, object]) -> str:
    place = [f"row {problem['row']}"] if problem.get("row") is not None else []
    place += [str(problem["field"])] if problem.get("field") else []
    return ", ".join(place) + (": " if place else "") + str(problem["detail"])


def _entry(row: AnyRow, store: ObjectStore) -> Entry:
    spec = json.loads(row.spec)
    verdict, picture = _verdict(row), None
    if row.state == ImageState.RENDERED:
        try:
            picture = store.get(ImageRendered.model_validate_json(row.result).stored.key)
        except ObjectMissing:
            verdict = "the picture is no longer in the store"
    facts = read_picture(picture) if picture is not None else None
    return Entry(
        title=f"{row.row_key or row.job} · {spec.get('width')}x{spec.get('height')}",
        prompt=spec.get("prompt", ""),
        alt=row.alt,
        state=row.state,
        verdict=verdict,
        picture=picture,
        digest=row.digest,
        languages={lang: text for lang, text in facts.alt.items() if lang != "x-default"} if facts else {},
        credentials=credentials_in_words(facts) if facts else "",
        intact=facts is not None and facts.says_ai and facts.is_intact,
    )


def _verdict(row: AnyRow) -> str:
    if row.state == ImageState.RENDERED:
        verdict = ImageRendered.model_validate_json(row.result).verdict
        return f"Allowed by policy {verdict.policy} after {_counted(len(verdict.checks), 'check')}"
    if row.state == ImageState.HELD:
        held = ImageHeld.model_validate_json(row.result).verdict
        return f"Held for review by policy {held.policy}: {', '.join(held.found or held.reasons)}"
    if row.state == ImageState.BLOCKED:
        blocked = ImageBlocked.model_validate_json(row.result).verdict
        return f"Blocked by policy {blocked.policy}: {', '.join(blocked.reasons)}"
    if row.state == ImageState.FAILED and row.result:
        failure = ImageFailed.model_validate_json(row.result).failure
        return f"Failed at {failure.stage}: {failure.code}"
    return str(row.state)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
