"""`aquatint curate`: raw pictures in, training shards and a report out."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from deploy.environment import load_settings
from schemas.errors import BadSettings
from schemas.settings import Settings

if TYPE_CHECKING:
    from models.curation.report import CurationReport
    from models.curation.run import CurationProgress
    from models.curation.settings import CurationSettings

out = Console(highlight=False, soft_wrap=True)
#: without a terminal one line is printed this often
LINE_SECONDS = 5.0
TITLES = {
    "list": "listing",
    "inspect": "reading",
    "duplicates": "looking for copies",
    "rewrite": "rewriting captions",
    "examine": "looking closely",
    "write": "writing shards",
}


def curate(
    source: Annotated[
        str,
        typer.Argument(
            help="Folder, s3://bucket/prefix, CSV/TSV/JSONL listing of picture and caption, or .tar shard."
        ),
    ],
    dest: Annotated[str, typer.Argument(help="Folder or s3://bucket/prefix for shards and report.")],
    config: Annotated[
        Path | None, typer.Option(help="TOML file with all options; what is given here goes before it.")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Make buckets of about SIZE x SIZE pixels.")] = None,
    bucket: Annotated[
        list[str] | None, typer.Option(help="A bucket as WIDTHxHEIGHT; may be repeated.")
    ] = None,
    fit: Annotated[str | None, typer.Option(help="auto, crop or pad.")] = None,
    max_upscale: Annotated[
        float | None, typer.Option(help="Largest enlargement; pictures that need more are left out.")
    ] = None,
    near: Annotated[
        bool | None, typer.Option("--near/--no-near", help="Look for near copies, not only equal ones.")
    ] = None,
    clip_model: Annotated[str | None, typer.Option(help="open_clip model name, or local-dir:FOLDER.")] = None,
    clip_weights: Annotated[Path | None, typer.Option(help="File with that model's weights.")] = None,
    worst_percent: Annotated[
        float | None, typer.Option(help="Leave out the worst so many percent of each caption source.")
    ] = None,
    min_similarity: Annotated[
        float | None, typer.Option(help="Leave out pairs of picture and caption that score less.")
    ] = None,
    text: Annotated[
        bool | None, typer.Option("--text/--no-text", help="Look for text and watermarks.")
    ] = None,
    rewrite_url: Annotated[
        str | None,
        typer.Option(help="OpenAI-compatible endpoint for better captions; the key is AQUATINT_CAPTION_KEY."),
    ] = None,
    rewrite_model: Annotated[str | None, typer.Option(help="Model at that endpoint.")] = None,
    format: Annotated[str | None, typer.Option(help="jpg, png or webp.")] = None,
    shard_samples: Annotated[int | None, typer.Option(help="Pictures per shard.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; default: one per core.")] = None,
) -> None:
    """Turn raw pictures into training shards: copies, damage, wrong captions and text found, everything accounted for."""
    given: dict[str, dict[str, Any]] = {
        "buckets": {"area_side": size, "sizes": _sizes(bucket), "fit": fit, "max_upscale": max_upscale},
        "duplicates": {"near": near},
        "outliers": {
            "model": clip_model,
            "weights": clip_weights,
            "percentile": worst_percent,
            "threshold": min_similarity,
        },
        "text": {"reader": {True: "rapidocr", False: "none", None: None}[text]},
        "rewrite": {"url": rewrite_url, "model": rewrite_model},
        "shards": {"format": format, "samples": shard_samples},
    }
    settings = load_settings()
    with _plain_errors():
        options = _options(settings, config, given, workers)
        report, place = _curate(settings, source, dest, options)
    _show(report, place)


def _sizes(buckets: list[str] | None) -> list[tuple[int, int]] | None:
    if not buckets:
        return None
    try:
        return [(int(width), int(height)) for width, height in (text.lower().split("x") for text in buckets)]
    except ValueError:
        raise BadSettings("a bucket is WIDTHxHEIGHT, e.g. 256x256", field="--bucket") from None


def _options(
    settings: Settings, config: Path | None, given: dict[str, dict[str, Any]], workers: int | None
) -> CurationSettings:
    """The command line goes before the file, and the file before the installation's own endpoint."""
    from models.curation.settings import check_settings, read_settings

    endpoint = {"rewrite": {"url": settings.caption_url or None, "model": settings.caption_model or None}}
    values: dict[str, Any] = {"workers": os.cpu_count() or 1}
    for layer in (endpoint, read_settings(config) if config else {}, given, {"workers": workers}):
        for section, options in layer.items():
            if isinstance(options, dict) and isinstance(values.get(section, {}), dict):
                said = {name: value for name, value in options.items() if value is not None}
                values[section] = values.get(section, {}) | said
            elif options is not None:
                values[section] = options
    return check_settings(values)


def _curate(
    settings: Settings, source: str, dest: str, options: CurationSettings
) -> tuple[CurationReport, str]:
    """The report, and where it lies."""
    from deploy.curation_place import local_path, open_source, publish
    from deploy.home import prepare_home
    from models.curation.caption_endpoint import CaptionEndpoint
    from models.curation.curate import PAGE_FILE
    from models.curation.curate import curate as run
    from models.curation.run import Tools
    from storage.objects.location import is_s3

    store = {"endpoint_url": settings.s3_endpoint_url, "region": settings.s3_region}
    folder = (
        local_path(dest) if not is_s3(dest) else _scratch(prepare_home(settings).path, source, dest, options)
    )
    with ExitStack() as stack:
        endpoint = None
        if options.rewrite.url:
            key = settings.caption_key.get_secret_value()
            endpoint = stack.enter_context(CaptionEndpoint(options.rewrite, key=key))
        show = stack.enter_context(_Shown(out))
        report = run(
            open_source(source, **store), folder, options, tools=Tools(endpoint=endpoint), on_progress=show
        )
    if is_s3(dest):
        publish(folder, dest, **store)
        return report, f"{dest.rstrip('/')}/{PAGE_FILE}"
    return report, str(folder / PAGE_FILE)


def _scratch(home: Path, source: str, dest: str, options: CurationSettings) -> Path:
    """Where a curation for S3 is made; the same call finds it again."""
    name = hashlib.sha256("\0".join((source, dest, options.digest)).encode()).hexdigest()[:16]
    return home / "curations" / name


@contextmanager
def _plain_errors() -> Iterator[None]:
    """What the room of the models says, as this command line says it."""
    from models.errors import CurationError, ModelUnusable

    try:
        yield
    except (CurationError, ModelUnusable) as error:
        raise BadSettings(str(error)) from error


class _Shown:
    """Progress as a bar that moves on a terminal, as plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (
            TextColumn("{task.description:<20}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._bars = Bars(*columns, console=console, transient=True) if console.is_terminal else None
        self._step, self._last_line = "", float("-inf")
        self._task: Any = None

    def __enter__(self) -> _Shown:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, progress: CurationProgress) -> None:
        title = TITLES.get(progress.step, progress.step)
        if self._bars is not None:
            if progress.step != self._step:
                self._task = self._bars.add_task(title, total=progress.total)
            self._bars.update(self._task, completed=progress.done, total=progress.total)
        elif (
            progress.step != self._step
            or progress.done == progress.total
            or time.monotonic() - self._last_line >= LINE_SECONDS
        ):
            self._last_line = time.monotonic()
            of = "" if progress.total is None else f" of {progress.total}"
            self._console.print(f"{title}: {progress.done}{of}")
        self._step = progress.step


def _show(report: CurationReport, place: str) -> None:
    """What became of everything, in a few lines."""
    out.print(
        f"{report.seen} seen, {report.kept} kept in {len(report.shards)} shards, {report.images_per_second:.1f} inputs/s"
    )
    for reason, count in sorted(report.dropped.items(), key=lambda pair: -pair[1]):
        out.print(f"  {count:>8}  {reason.replace('_', ' ')}")
    for sentence in report.notes.values():
        out.print(f"  note: {sentence}")
    out.print(place)
