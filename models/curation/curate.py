"""Raw pictures in, training shards and a report out: the whole of a curation, top to bottom."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from models.curation.clip_encoder import require_clip
from models.curation.duplicates import drop_duplicates
from models.curation.encoders import wants_clip
from models.curation.examination import drop_outliers, examine_items
from models.curation.fingerprint import require_hashes
from models.curation.index import Index
from models.curation.inspection import inspect_items
from models.curation.listing import list_source
from models.curation.places import FolderPlace
from models.curation.pool import Pool
from models.curation.reasons import Reason
from models.curation.report import CurationReport, chart_facts, decisions, make_report, measures
from models.curation.report_examples import dropped_examples, kept_examples, masked_examples
from models.curation.report_page import page
from models.curation.rewriting import drop_without_caption, rewrite_captions
from models.curation.run import CurationProgress, Run, Tools
from models.curation.samples import INDEX_FILE
from models.curation.settings import CurationSettings
from models.curation.source import Source
from models.curation.text_regions import open_reader
from models.curation.writing import write_shards
from models.errors import CurationUnusable

REPORT_FILE, PAGE_FILE, DECISIONS_FILE = "report.json", "report.html", "decisions.jsonl"
WORK_FOLDER = ".curation"


def curate(
    source: Source | Path,
    dest: Path,
    settings: CurationSettings,
    *,
    tools: Tools | None = None,
    on_progress: Callable[[CurationProgress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> CurationReport:
    """Writes shards, `index.json`, `decisions.jsonl` and the report into `dest`; returns the report.

    A call that was cut short, by whatever, goes on where it stopped when it is made again, and ends with the same files.
    A folder whose curation is finished gives its report again. Raises CurationUnusable, CurationCancelled, and
    RuntimeMissing or ModelNotFound for a tool that was asked for and is not there; never for what the inputs are.
    """
    source = Source.open(source) if isinstance(source, Path) else source
    dest = dest.expanduser().absolute()
    tools = tools or Tools()
    _check(source, dest, settings, tools)
    finished = finished_report(dest, settings)
    if finished is not None:
        return finished
    with _sole(dest), Index(dest / WORK_FOLDER / "index.sqlite") as index, Pool(settings.workers) as pool:
        run = Run(
            source=source,
            dest=dest,
            settings=settings,
            tools=tools,
            index=index,
            pool=pool,
            on_progress=on_progress,
            cancelled=cancelled,
        )
        _claim(run)
        for step in STEPS:
            step(run)
        report = _write_report(run)
    # Last of all the work folder: a curation is finished when it is gone.
    shutil.rmtree(dest / WORK_FOLDER)
    return report


#: in this order; each leaves its findings in the index and is skipped when they are there
STEPS: tuple[Callable[[Run], None], ...] = (
    list_source,
    inspect_items,
    drop_duplicates,
    rewrite_captions,
    drop_without_caption,
    examine_items,
    drop_outliers,
    write_shards,
)


def finished_report(dest: Path, settings: CurationSettings) -> CurationReport | None:
    """The report of a curation that ended here with these settings; CurationUnusable when it had others."""
    if (dest / WORK_FOLDER).exists() or not (dest / INDEX_FILE).exists():
        return None
    try:
        known = json.loads((dest / REPORT_FILE).read_text(encoding="utf-8"))
        report = CurationReport.model_validate(known["report"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CurationUnusable(
            f"{dest}: its report cannot be read ({type(error).__name__}); choose another folder"
        ) from None
    if report.settings_digest != settings.digest:
        raise CurationUnusable(
            f"{dest} holds a curation with other settings; choose another folder or remove it"
        )
    return report


def _check(source: Source, dest: Path, settings: CurationSettings, tools: Tools) -> None:
    """What would fail after hours fails now."""
    if isinstance(source.place, FolderPlace):
        root = source.place.root.resolve()
        if dest.resolve().is_relative_to(root) and not (source.listing or source.archive):
            raise CurationUnusable(f"{dest} lies inside the source: what is written would be read")
    if dest.exists() and not dest.is_dir():
        raise CurationUnusable(f"{dest} is not a folder")
    if settings.duplicates.near:
        require_hashes()
    if wants_clip(settings.outliers) and tools.encoder is None:
        require_clip(settings.outliers)
    if settings.text.reader == "rapidocr" and tools.reader is None:
        open_reader(settings.text)


@contextmanager
def _sole(dest: Path) -> Iterator[None]:
    """Holds the destination for this process; the kernel lets go of it if we die."""
    try:
        (dest / WORK_FOLDER).mkdir(parents=True, exist_ok=True)
        lock = (dest / ".lock").open("a")
    except OSError as error:
        raise CurationUnusable(f"{dest} cannot be written to ({type(error).__name__})") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CurationUnusable(f"{dest} is being written by another curation") from None
        yield


def _claim(run: Run) -> None:
    """Refuses to go on with what other settings or another source began."""
    mine = {"source": run.source.title, "settings": run.settings.digest}
    begun = run.index.fact("begun")
    if begun not in (None, mine):
        raise CurationUnusable(
            f"{run.dest} holds an unfinished curation of another source or with other settings"
        )
    foreign = [path.name for path in run.dest.iterdir() if not path.name.startswith(".")]
    if begun is None and foreign:
        raise CurationUnusable(f"{run.dest} is not empty")
    run.index.set_fact("begun", mine)


def _write_report(run: Run) -> CurationReport:
    report, charts = make_report(run), measures(run.index)
    examples = {reason: dropped_examples(run, reason) for reason in Reason if reason in report.dropped}
    _replace(
        run.dest / DECISIONS_FILE,
        (json.dumps(line, ensure_ascii=False, sort_keys=True) + "\n" for line in decisions(run.index)),
    )
    text = page(report, charts, examples, kept_examples(run), masked_examples(run))
    _replace(run.dest / PAGE_FILE, [text])
    facts = {
        "report": report.model_dump(mode="json"),
        "charts": chart_facts(charts),
        "settings": run.settings.model_dump(mode="json"),
    }
    _replace(run.dest / REPORT_FILE, [json.dumps(facts, indent=2, ensure_ascii=False) + "\n"])
    _replace(run.dest / INDEX_FILE, [json.dumps(_index(report, run.settings), indent=2) + "\n"])
    return report


def _index(report: CurationReport, settings: CurationSettings) -> dict[str, object]:
    """What a loader needs; equal bytes for equal input and settings."""
    return {
        "format": 1,
        "settings_digest": report.settings_digest,
        "picture_suffix": settings.shards.format,
        "samples": report.kept,
        "dropped": dict(report.dropped),
        "buckets": dict(report.buckets),
        "shards": [shard.model_dump() for shard in report.shards],
    }


def _replace(path: Path, parts: list[str] | Iterator[str]) -> None:
    """The whole file or the one before."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8", errors="backslashreplace") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
