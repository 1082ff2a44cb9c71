"""The watched folder: a file that somebody drops in is an upload once it is complete.

Complete means that name, size and time of change have been still for a moment; hidden files are somebody's work in
progress. Nothing is written down: after a restart every file is announced again, and the ledger, which knows key and
content, drops what it has seen.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
import watchfiles

from schemas.errors import AquatintError, ObjectMissing, StoreUnfit
from schemas.object_event import ObjectCreated
from storage.objects.directory import DirectoryStore
from storage.objects.reader import BLOCK_BYTES, open_object
from storage.objects.store import ObjectEntry
from storage.upload_source import UploadMessage

#: A folder of millions of files still gives its first messages soon.
MAX_MESSAGES = 32
#: How soon a wait notices that it was closed or that a file has settled, in milliseconds.
WAKE_MS = 200
#: A file that cannot be read is tried again after this long.
UNREADABLE_PAUSE_SECONDS = 30.0

log = structlog.get_logger(__name__)


@dataclass(kw_only=True)
class _Tracked:
    """A file as it was last seen; `due` is when it may be announced (again), never when it is acknowledged."""

    etag: str
    due: float | None


class DirectoryWatch:
    """New and changed files of a folder store; the version of an upload is the SHA-256 of its content."""

    def __init__(
        self,
        store: DirectoryStore,
        *,
        settle_seconds: float = 0.5,
        redelivery_seconds: float = 60.0,
        rescan_seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`rescan_seconds`: how often to look where the file system sends no news (network shares)."""
        self._store, self._settle, self._clock = store, settle_seconds, clock
        self._redelivery, self._rescan = redelivery_seconds, rescan_seconds
        self._tracked: dict[str, _Tracked] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._changes: Generator[Any, None, None] | None = None
        self._polls = False

    def receive(self, timeout_seconds: float) -> list[UploadMessage]:
        deadline = self._clock() + timeout_seconds
        # News of changes must flow before the first look, or a file that lands between the two is seen late.
        self._start_watching()
        while True:
            messages = self._announce(self._due_entries())
            left = deadline - self._clock()
            if messages or left <= 0 or self._closed.is_set():
                return messages
            self._wait(min(left, self._rescan, self._until_due()))

    def close(self) -> None:
        """Ends a `receive` that waits in another thread soon; the next one returns at once."""
        self._closed.set()

    def _start_watching(self) -> None:
        if self._changes is None and not self._polls:
            self._changes = watchfiles.watch(
                self._store.root,
                watch_filter=None,
                debounce=200,
                step=20,
                stop_event=self._closed,
                rust_timeout=WAKE_MS,
                yield_on_timeout=True,
                ignore_permission_denied=True,
            )
            # The first step registers the watch.
            self._next_change()

    def _next_change(self) -> bool:
        """Waits at most WAKE_MS; whether something changed."""
        try:
            changes = next(self._changes, None) if self._changes is not None else None
        except OSError as error:
            log.warning("upload_watch_polls", reason=type(error).__name__)
            changes = None
        if changes is None:
            # No watches left, or a file system without them: looking every rescan_seconds still works.
            self._changes, self._polls = None, True
            self._closed.wait(WAKE_MS / 1000)
        return bool(changes)

    def _wait(self, seconds: float) -> None:
        until = self._clock() + seconds
        while self._clock() < until and not self._closed.is_set():
            if self._next_change():
                return

    def _until_due(self) -> float:
        with self._lock:
            dues = [tracked.due for tracked in self._tracked.values() if tracked.due is not None]
        return max(min(dues, default=float("inf")) - self._clock(), 0.0)

    def _due_entries(self) -> list[ObjectEntry]:
        if not self._store.root.is_dir():
            raise StoreUnfit(f"the watched folder {self._store.root} does not exist")
        entries = {entry.key: entry for entry in self._store.list()}
        now = self._clock()
        with self._lock:
            for key in self._tracked.keys() - entries.keys():
                del self._tracked[key]
            for key, entry in entries.items():
                tracked = self._tracked.get(key)
                if tracked is None or tracked.etag != entry.etag:
                    self._tracked[key] = _Tracked(etag=entry.etag, due=now + self._unsettled(entry))
            due = [(tracked.due, key) for key, tracked in self._tracked.items() if tracked.due is not None]
        return [entries[key] for moment, key in sorted(due) if moment <= now][:MAX_MESSAGES]

    def _unsettled(self, entry: ObjectEntry) -> float:
        """Seconds to wait: none for a file that was at rest before it was seen, e.g. one that was moved in."""
        age = (datetime.now(UTC) - entry.modified).total_seconds()
        return 0.0 if age >= self._settle else self._settle

    def _announce(self, entries: list[ObjectEntry]) -> list[UploadMessage]:
        found = [(entry, self._version(entry)) for entry in entries]
        return [self._message(entry, version) for entry, version in found if version is not None]

    def _version(self, entry: ObjectEntry) -> str | None:
        digest = hashlib.sha256()
        try:
            with open_object(self._store, entry.key) as file:
                while block := file.read(BLOCK_BYTES):
                    digest.update(block)
        except ObjectMissing:
            # Changed or removed while it was read: the next look sees it as it is then.
            self._postpone(entry, 0.0)
            return None
        except AquatintError as error:
            log.warning("upload_unreadable", key=entry.key, code=error.code)
            self._postpone(entry, UNREADABLE_PAUSE_SECONDS)
            return None
        return digest.hexdigest()

    def _message(self, entry: ObjectEntry, version: str) -> UploadMessage:
        self._postpone(entry, self._redelivery)
        created = ObjectCreated(
            bucket=self._store.bucket, key=entry.key, version=version, size=entry.size, dialect="directory"
        )
        return UploadMessage(
            id=f"{entry.key}@{entry.etag}",
            events=(created,),
            ack=lambda: self._settle_due(entry, None),
            retry_later=lambda seconds: self._postpone(entry, seconds),
        )

    def _postpone(self, entry: ObjectEntry, seconds: float) -> None:
        self._settle_due(entry, self._clock() + seconds)

    def _settle_due(self, entry: ObjectEntry, due: float | None) -> None:
        with self._lock, contextlib.suppress(KeyError):
            # What was said about an older content does not hold for the one that is there now.
            if self._tracked[entry.key].etag == entry.etag:
                self._tracked[entry.key].due = due
