"""Closes batches whose images have all ended: writes their result files, then tells of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import structlog

from handlers.near_duplicates import LEAST_QUALITY, MOST_COMPARED, near_groups
from handlers.notices import batch_ended, image_summary
from handlers.wording import with_duplicates
from safety.descriptions import duplicates
from schemas.errors import AquatintError
from schemas.webhook import NearDuplicates
from storage.ledger import batches, images, picture_hashes
from storage.ledger.engine import Ledger
from storage.ledger.sql import AnyRow
from storage.objects.store import ObjectStore

log = structlog.get_logger(__name__)

#: The name of the leader lock.
LOCK = "finisher"
_MEDIA_TYPE = "application/x-ndjson"
_PAGE = 500


class Finisher:
    """Writes `batches/{id}/results.jsonl` and `errors.jsonl` to its tenant's store, one line per image or row."""

    def __init__(
        self, ledger: Ledger, stores: Callable[[str], ObjectStore], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._ledger, self._stores, self._clock = ledger, stores, clock

    def finish_next(self) -> bool:
        """Close the oldest complete batch; False when there is none. A crash anywhere is repaired by doing it again."""
        with self._ledger.read() as conn:
            ready = batches.complete(conn, limit=1)
        if not ready:
            return False
        batch = ready[0]
        with self._ledger.begin(wake=False) as conn:
            batches.finishing(conn, batch.id)
        results_key = self._write(batch, "results", list(self._results_lines(batch)))
        errors_key = self._write(batch, "errors", list(self._error_lines(batch)))
        near = self._near_duplicates(batch)
        now = self._clock()
        with self._ledger.begin() as conn:
            # The files are durable; that they exist, that the batch has ended and who must be told commit together.
            row = batches.end(
                conn,
                id=batch.id,
                results_key=results_key,
                errors_key=errors_key,
                near_duplicates=near.model_dump_json() if near else None,
                now=now,
            )
            if row is not None:
                batch_ended(conn, row, now)
        log.info("batch_ended", batch=batch.id)
        return True

    def _near_duplicates(self, batch: AnyRow) -> NearDuplicates | None:
        """A report on the batch's variety; None where no picture could be compared."""
        hashes: dict[str, str] = {}
        after = ""
        while len(hashes) < MOST_COMPARED:
            with self._ledger.read() as conn:
                page = picture_hashes.of_batch(conn, batch.id, after=after)
            if not page:
                break
            hashes |= {image: pdq for image, pdq, quality in page if pdq and quality >= LEAST_QUALITY}
            after = page[-1][0]
        if not hashes:
            return None
        groups = near_groups(hashes)
        key = self._write(batch, "near_duplicates", [json.dumps({"images": group}) for group in groups])
        return NearDuplicates(compared=len(hashes), groups=len(groups), images=sum(map(len, groups)), key=key)

    def rewrite(self, batch: AnyRow) -> None:
        """Write the result files of a batch that has ended anew, from what its rows still say."""
        self._write(batch, "results", list(self._results_lines(batch)))
        self._write(batch, "errors", list(self._error_lines(batch)))

    def _write(self, batch: AnyRow, name: str, lines: Sequence[str]) -> str | None:
        if not lines:
            return None
        key = f"batches/{batch.id}/{name}.jsonl"
        # Replaced on a second try: the content is computed from rows that no longer change.
        self._stores(batch.tenant).put(
            key, "".join(f"{line}\n" for line in lines).encode(), media_type=_MEDIA_TYPE, if_absent=False
        )
        return key

    def _results_lines(self, batch: AnyRow) -> Iterator[str]:
        # Only now are all alt texts known: those that two products share are told to whoever reads the results.
        shared = duplicates((row.row_key or row.job, row.alt) for row in self._images(batch))
        for row in self._images(batch):
            summary = with_duplicates(image_summary(row), shared).model_dump(mode="json")
            yield json.dumps(
                {"row": row.row, "row_key": row.row_key, "job": row.job, **summary}, ensure_ascii=False
            )

    def _images(self, batch: AnyRow) -> Iterator[AnyRow]:
        after = ""
        while True:
            with self._ledger.read() as conn:
                page = images.of_batch(conn, batch.id, after=after, count=_PAGE)
            if not page:
                return
            yield from page
            after = page[-1].id

    def _error_lines(self, batch: AnyRow) -> Iterator[str]:
        if batch.error is not None:
            yield batch.error
        after = 0
        while True:
            with self._ledger.read() as conn:
                page = batches.row_errors(conn, batch.id, after=after, count=_PAGE)
            if not page:
                return
            yield from (row.problem for row in page)
            after = page[-1].row


def run_finisher(finisher: Finisher, ledger: Ledger, stop: threading.Event) -> None:
    """Close batches as they end, until told to stop, while this process holds the leader lock."""
    lock = ledger.lock(LOCK)
    try:
        while not stop.is_set():
            seen = ledger.version()
            try:
                if not lock.acquire():
                    stop.wait(1.0)
                elif not (lock.held() and finisher.finish_next()):
                    ledger.wait_for_change(1.0, since=seen)
                    stop.wait(0.1)  # while a fleet renders, commits never stop, and this look can wait
            except AquatintError as error:
                log.error("finisher_waits", error=error.code, actor=error.actor)
                stop.wait(2.0)
    finally:
        lock.release()
