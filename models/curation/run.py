"""One curation while it runs: what every step needs, and how it says how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from models.curation.caption_endpoint import CaptionEndpoint
from models.curation.encoders import Encoder
from models.curation.index import Index
from models.curation.pool import Pool
from models.curation.settings import CurationSettings
from models.curation.source import Source
from models.curation.text_regions import TextReader
from models.errors import CurationCancelled


@dataclass(frozen=True, kw_only=True)
class CurationProgress:
    """How far a step is; `total` is None where it is not known yet."""

    step: str
    done: int
    total: int | None


@dataclass(frozen=True, kw_only=True)
class Tools:
    """Parts that a caller may bring; encoder and reader are opened from the settings where they are left out."""

    encoder: Encoder | None = None
    reader: TextReader | None = None
    endpoint: CaptionEndpoint | None = None


@dataclass(kw_only=True)
class Run:
    """The parts of one curation, and where it stands."""

    source: Source
    dest: Path
    settings: CurationSettings
    tools: Tools
    index: Index
    pool: Pool
    on_progress: Callable[[CurationProgress], None] | None = None
    cancelled: Callable[[], bool] | None = None

    @property
    def work(self) -> Path:
        return self.dest / ".curation"

    def at(self, step: str, done: int, total: int | None = None) -> None:
        """Reports progress; raises CurationCancelled when the caller asked to stop."""
        if self.cancelled is not None and self.cancelled():
            raise CurationCancelled("the curation was stopped; the same call goes on from here")
        if self.on_progress is not None:
            self.on_progress(CurationProgress(step=step, done=done, total=total))

    def note(self, step: str, sentence: str) -> None:
        """Says plainly that a step did not run, or not as asked; goes into the report."""
        notes = self.index.fact("notes") or {}
        self.index.set_fact("notes", notes | {step: sentence})

    @contextmanager
    def step(self, name: str) -> Iterator[bool]:
        """Whether the step is still to be done; its time is added up over interruptions."""
        if self.index.fact(f"done:{name}"):
            yield False
            return
        started = time.perf_counter()
        try:
            yield True
            self.index.set_fact(f"done:{name}", True)
        finally:
            spent = (self.index.fact(f"seconds:{name}") or 0.0) + time.perf_counter() - started
            self.index.set_fact(f"seconds:{name}", round(spent, 3))
