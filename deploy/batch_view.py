"""What the ledger says about one batch, for the progress display and the contact sheet."""

from __future__ import annotations

import json
from collections.abc import Iterator

from sqlalchemy import Connection, text

from deploy.contact_sheet import Entry
from deploy.progress import Standing
from schemas.errors import ObjectMissing
from schemas.outcome import ImageBlocked, ImageFailed, ImageRendered
from schemas.render_spec import RenderSpec
from schemas.states import ImageState
from storage.ledger import images
from storage.ledger.engine import Ledger
from storage.ledger.sql import AnyRow
from storage.objects.store import ObjectStore

_BATCH = text("SELECT * FROM batch WHERE tenant = :tenant AND bucket = :bucket AND key = :key")
_RELEASED = text("SELECT count(*) FROM image WHERE batch = :batch AND state IN ('released', 'suspect')")
_OWED = text(
    """SELECT count(*) AS owed, coalesce(sum(CASE WHEN d.state = 'delivered' THEN 1 ELSE 0 END), 0) AS delivered,
              coalesce(sum(CASE WHEN d.state = 'pending' THEN 1 ELSE 0 END), 0) AS pending
       FROM delivery AS d JOIN endpoint AS e ON e.id = d.endpoint WHERE e.tenant = :tenant AND e.url = :url"""
)
_ROW_ERRORS = text("SELECT problem FROM row_error WHERE batch = :batch ORDER BY row LIMIT 20")


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
        return conn.execute(_BATCH, self._place).one_or_none()

    def look(self) -> tuple[Standing, bool]:
        """Where everything stands, and whether nothing more will happen."""
        with self._ledger.read() as conn:
            batch = self._row(conn)
            if batch is None:
                return Standing(total=0, queued=0, rendering=0, stored=0, blocked=0, failed=0, delivered=0, owed=0), False
            rendering = conn.execute(_RELEASED, {"batch": batch.id}).scalar_one()
            owed = conn.execute(_OWED, self._url).one()
        failed = batch.failed + batch.expired + batch.canceled
        ended = batch.rendered + batch.blocked + failed
        standing = Standing(
            total=batch.total,
            queued=max(0, batch.total - ended - rendering),
            rendering=rendering,
            stored=batch.rendered,
            blocked=batch.blocked,
            failed=failed,
            delivered=owed.delivered,
            owed=owed.owed,
        )
        return standing, batch.phase == "ended" and not owed.pending

    def problems(self) -> list[str]:
        """Why the manifest or rows of it were refused, in sentences."""
        with self._ledger.read() as conn:
            batch = self._row(conn)
            rows = conn.execute(_ROW_ERRORS, {"batch": batch.id}).scalars().all() if batch is not None else []
        told = [batch.error] if batch is not None and batch.error else []
        return [_sentence(json.loads(one)) for one in [*told, *rows]]

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
    spec = RenderSpec.model_validate_json(row.spec)
    verdict, picture = _verdict(row), None
    if row.state == ImageState.RENDERED:
        try:
            picture = store.get(ImageRendered.model_validate_json(row.result).stored.key)
        except ObjectMissing:
            verdict = "the picture is no longer in the store"
    title = f"{row.row_key or row.job}  {spec.width}x{spec.height}"
    return Entry(
        title=title, prompt=spec.prompt, alt=row.alt, state=row.state, verdict=verdict, picture=picture, digest=row.digest
    )


def _verdict(row: AnyRow) -> str:
    if row.state == ImageState.RENDERED:
        verdict = ImageRendered.model_validate_json(row.result).verdict
        return f"allowed by policy {verdict.policy}, {len(verdict.checks)} checks"
    if row.state == ImageState.BLOCKED:
        blocked = ImageBlocked.model_validate_json(row.result).verdict
        return f"blocked by policy {blocked.policy}: {', '.join(blocked.reasons)}"
    if row.state == ImageState.FAILED and row.result:
        failure = ImageFailed.model_validate_json(row.result).failure
        return f"failed at {failure.stage}: {failure.code}"
    return str(row.state)
