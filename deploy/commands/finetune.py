"""`aquatint finetune`: learn a brand's look here and now, without a server."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from deploy.base_parts import DEFAULT_TENANT
from deploy.compose import Parts
from deploy.environment import load_settings
from models.card import ModelCard, load_card
from models.errors import FinetuneRefused, ModelError, ModelUnusable
from models.training.finetune import (
    FinetuneJob,
    FinetuneProgress,
    FinetuneResult,
    OnProgress,
    finetune,
    require_training,
)
from models.training.finetune_readme import write_readme
from schemas.errors import AquatintError, BadInput, BadSettings, OutOfRange
from schemas.finetune import MAX_IMAGE_BYTES, MAX_IMAGES, PICTURE_SUFFIXES, TRIGGER_SLOT

if TYPE_CHECKING:
    from schemas.settings import Settings

Pairs = list[tuple[Path, str]]
_S3 = "s3://"
#: said of pictures nobody described, for a look that comes without a trigger
_NO_CAPTION = "picture"
_LINE_SECONDS = 5.0
_PART_NAMES = {"prepare": "getting ready", "train": "training", "evaluate": "measuring"}


def finetune_brand(
    images: Annotated[
        str, typer.Option(help="Folder, CSV or JSONL listing, .tar, or s3://bucket/prefix of pictures.")
    ],
    name: Annotated[str, typer.Option(help="What requests will call the adapter.")],
    caption: Annotated[
        str,
        typer.Option(
            help="For pictures without a caption of their own (a .txt beside each, or captions.csv)."
        ),
    ] = TRIGGER_SLOT,
    trigger: Annotated[
        str | None, typer.Option(help="Words that call the look up; default: 'NAME style'. Empty: always.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Model folder; default: the one in force.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Instead of steps: as many as fit.")] = None,
    rank: Annotated[int, typer.Option(min=1, max=64, help="Size of the adapter.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Same pictures and seed, same adapter.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; default: adapters/NAME below the home folder.")
    ] = None,
    licence: Annotated[str, typer.Option(help="Written into the adapter.")] = "",
    register: Annotated[bool, typer.Option(help="Let requests name the adapter from now on.")] = True,
) -> None:
    """Learn the look of a few pictures as an adapter that requests can name."""
    console, parts = Console(stderr=True, highlight=False), Parts(settings=load_settings())
    folder, words = model or parts.model_folder, f"{name} style" if trigger is None else trigger.strip()
    try:
        require_training()
        with tempfile.TemporaryDirectory() as scratch, _progress(console) as on_progress:
            job = FinetuneJob(
                model_folder=folder,
                images=_pictures(images, caption, words, Path(scratch), parts.settings, folder, console),
                name=name,
                trigger=words,
                out=out or parts.home.path / "adapters" / name,
                rank=rank,
                steps=steps,
                minutes=minutes,
                seed=seed,
                licence=licence,
            )
            result = finetune(job, on_progress)
            write_readme(job, result, load_card(folder, verify=False))
    except ModelError as error:
        raise _plain(error) from error
    if register:
        from deploy.adapter_book import register_local

        register_local(parts, result.folder, DEFAULT_TENANT)
    _tell(job, result, registered=register)


def _pictures(
    images: str,
    caption: str,
    trigger: str,
    scratch: Path,
    settings: Settings,
    model_folder: Path,
    console: Console,
) -> Pairs:
    """The pictures worth learning from with their captions; says what was left out and why."""
    from models.curation.curate import curate
    from models.curation.samples import read_samples
    from models.curation.settings import check_settings

    source = (
        _fetched(images, scratch / "fetched", settings)
        if images.startswith(_S3)
        else Path(images).expanduser()
    )
    card = load_card(model_folder, verify=False)
    dest = scratch / "curated"
    report = curate(source, dest, check_settings(_light(card)))
    for reason, count in sorted(report.dropped.items()):
        console.print(f"left out  {count}: {reason}")
    pairs = []
    for sample in read_samples(dest):
        # the original where it is a file: it may be larger than the model's sizes, which leaves room for closer crops
        path = source / str(sample.facts["source"])
        if not path.is_file():
            path = scratch / f"{sample.key}.{sample.suffix}"
            path.write_bytes(sample.picture)
        said = (sample.caption or caption).replace(TRIGGER_SLOT, trigger).strip()
        pairs.append((path, said or _NO_CAPTION))
    return pairs


def _light(card: ModelCard) -> dict[str, object]:
    """Options of a curation that only leaves out what cannot be learnt from; every picture of a brand is scarce."""
    return {
        "buckets": {"sizes": [list(size) for size in card.sizes]},
        "captions": {"empty": "keep"},
        "text": {"reader": "none"},
        "outliers": {"encoder": "none"},
        "shards": {"format": "png"},
    }


def _fetched(location: str, folder: Path, settings: Settings) -> Path:
    """Copy the pictures and captions below an S3 prefix into a new folder."""
    from models.curation.caption_tables import SUFFIXES
    from storage.objects.location import open_store

    store = open_store(location, bucket="", endpoint_url=settings.s3_endpoint_url, region=settings.s3_region)
    folder.mkdir()
    taken = 0
    for entry in store.list():
        suffix = Path(entry.key).suffix.lower()
        if suffix not in (*PICTURE_SUFFIXES, *SUFFIXES, ".txt", ".json"):
            continue
        taken += suffix in PICTURE_SUFFIXES
        if taken > MAX_IMAGES or entry.size > MAX_IMAGE_BYTES:
            raise OutOfRange(
                f"{location} holds more than {MAX_IMAGES} pictures or {entry.key} is too large",
                field="images",
            )
        # a flat name: what a key says about folders is not trusted with a path of ours
        (folder / entry.key.replace("/", "_").lstrip(".")).write_bytes(store.get(entry.key))
    return folder


@contextmanager
def _progress(console: Console) -> Iterator[OnProgress]:
    """A bar on a terminal, plain lines elsewhere."""
    if not console.is_terminal:
        yield _Lines(console).tell
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(_PART_NAMES["prepare"], total=None, loss="")

        def tell(progress: FinetuneProgress) -> None:
            loss = "" if progress.loss is None else f"loss {progress.loss:.4f}"
            total = progress.steps or None
            bars.update(
                task, description=_PART_NAMES[progress.stage], completed=progress.step, total=total, loss=loss
            )

        yield tell


class _Lines:
    """One line for each part, and every few seconds while it trains."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._part = ""
        self._last = 0.0

    def tell(self, progress: FinetuneProgress) -> None:
        """Say where it stands, unless that was said a moment ago."""
        now = time.monotonic()
        if progress.stage == self._part and now - self._last < _LINE_SECONDS:
            return
        self._part, self._last = progress.stage, now
        words = [_PART_NAMES[progress.stage]]
        if progress.loss is not None:
            words.append(f"step {progress.step}/{progress.steps or '?'}, loss {progress.loss:.4f}")
        if progress.seconds_left is not None:
            words.append(f"about {progress.seconds_left:.0f} s left")
        self._console.print(", ".join(words))


def _tell(job: FinetuneJob, result: FinetuneResult, registered: bool) -> None:
    """What was made, what it does, and how to use it."""
    typer.echo(f"{result.folder}  {result.steps} steps, {result.seconds:.0f} s")
    typer.echo(f"digest    {result.digest}")
    for name, after in result.scores_after.items():
        typer.echo(f"{name:14} {result.scores_before[name]:g} -> {after:g}")
    if registered:
        words = f", {job.trigger}" if job.trigger else ""
        typer.echo(f'use it    aquatint generate "{job.images[0][1]}{words}" --adapter {job.name}:0.8')


def _plain(error: ModelError) -> AquatintError:
    """A model's error as one of the house: the command line says it in a sentence."""
    if isinstance(error, FinetuneRefused):
        return OutOfRange(f"must be {error.limit}, not {error.value!r}", field=error.field, limit=error.limit)
    if isinstance(error, ModelUnusable):
        return BadSettings(str(error))
    return BadInput(str(error))
