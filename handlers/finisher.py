"""Closes batches whose images have all ended: writes their result files, then tells of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import structlog

from handlers.notices import batch_ended, image_summary
from schemas.errors import AquatintError
from storage.ledger import batches, images
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
        now = self._clock()
        with self._ledger.begin() as conn:
            # The files are durable; that they exist, that the batch has ended and who must be told commit together.
            row = batches.end(conn, id=batch.id, results_key=results_key, errors_key=errors_key, now=now)
            if row is not None:
                batch_ended(conn, row, now)
        log.info("batch_ended", batch=batch.id)
        return True

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
        after = ""
        while True:
            with self._ledger.read() as conn:
                page = images.of_batch(conn, batch.id, after=after, count=_PAGE)
            if not page:
                return
            for row in page:
                summary = image_summary(row).model_dump(mode="json")
                yield json.dumps(
                    {"row": row.row, "row_key": row.row_key, "job": row.job, **summary}, ensure_ascii=False
                )
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
