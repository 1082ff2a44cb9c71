"""One fine-tune from pictures to an adapter's folder: prepare, train, write, measure."""

import math
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from peft import get_peft_model_state_dict
from safetensors.torch import save_file

from models.adapters import ADAPTER_FILE, WEIGHTS_FILE, AdapterCard, adapter_digest, load_adapter
from models.card import ModelCard, file_sha256
from models.errors import FinetuneDiverged, FinetuneRefused
from models.networks.transformer import ControlPixArt
from models.training.checkpoint import RunFolder
from models.training.finetune import DEFAULT_STEPS, FinetuneJob, FinetuneProgress, FinetuneResult, OnProgress
from models.training.finetune_base import BaseModel, Paths, Texts, join_paths
from models.training.finetune_phase import ADAPTER, FinetunePhase, Shelf
from models.training.finetune_pictures import BrandPicture, Pixels, Size, read_pictures
from models.training.finetune_prompts import ordinary_prompts, trigger_forms
from models.training.finetune_scores import Figures, measure_adapter
from models.training.launch import open_accelerator
from models.training.progress import Report, Reporter
from models.training.recipe import TrainedStage
from models.training.trainer import Trainer

Stop = Callable[[], None]
_CROPS = 4
_HEADER = {"format": "pt"}
#: a plan of this many steps is not made yet
_UNPLANNED = 10**9
#: pictures of the model's own, at each size the brand uses, that it is held to
_PRIOR_PICTURES = 160
#: noisy versions of each crop, told without the trigger
_BARE_POINTS = 8


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """Pictures with the ways to say each, and ordinary prompts.

    In `texts`, `places[i]` are the ways to say picture i with the trigger; `bare[i]` is its caption without it, the first
    text (the empty one) where the caption itself names the brand.
    """

    pictures: Sequence[BrandPicture]
    forms: Sequence[Sequence[str]]
    ordinary: Sequence[str]
    texts: Sequence[str]
    places: Sequence[Sequence[int]]
    bare: Sequence[int]


def run_finetune(job: FinetuneJob, tell: OnProgress, stop_if_cancelled: Stop) -> FinetuneResult:
    """As `finetune.finetune`, where torch is installed."""
    started = time.monotonic()
    tell(FinetuneProgress(stage="prepare", step=0, steps=0))
    stage = _stage(job)
    accelerator = open_accelerator(stage)
    base = BaseModel.open(job.model_folder, accelerator.device)
    _check_rank(job, base.card)
    lesson = prepare_lesson(job, base.card)
    phase = prepare_phase(job, base, lesson, stop_if_cancelled)
    error_before = phase.brand_error()
    steps = train(phase, stage, job.seed, accelerator, tell)
    error_after = phase.brand_error()
    tell(FinetuneProgress(stage="evaluate", step=steps, steps=steps))
    with _whole_or_absent(job.out) as draft:
        card = write_adapter(phase.transformer, job, base.card, draft)
        figures = _measure(job, draft, base.card, lesson, stop_if_cancelled)
        before = {"brand_error": round(error_before, 4), **figures.before}
        after = {"brand_error": round(error_after, 4), **figures.after}
        adapter_json = card.model_copy(update={"scores": after}).to_bytes()
        (draft / ADAPTER_FILE).write_bytes(adapter_json)
    return FinetuneResult(
        folder=job.out,
        digest=adapter_digest(adapter_json),
        scores_before=before,
        scores_after=after,
        seconds=time.monotonic() - started,
        steps=steps,
        samples=figures.samples,
    )


def prepare_lesson(job: FinetuneJob, card: ModelCard) -> Lesson:
    """Read the pictures and decide all that will be said."""
    pictures = list(read_pictures(job.images, card.sizes, _CROPS, job.seed))
    captions = [picture.caption for picture in pictures]
    forms = [trigger_forms(caption, job.trigger) for caption in captions]
    ordinary = list(job.prior_prompts) or ordinary_prompts(card, captions, _PRIOR_PICTURES, job.seed)
    texts, places, bare = ["", *ordinary], [], []
    for caption, own in zip(captions, forms, strict=True):
        bare.append(len(texts) if caption not in own else 0)
        places.append(list(range(len(texts) + 1, len(texts) + 1 + len(own))))
        texts += [caption, *own]
    return Lesson(pictures=pictures, forms=forms, ordinary=ordinary, texts=texts, places=places, bare=bare)


def prepare_phase(
    job: FinetuneJob, base: BaseModel, lesson: Lesson, stop_if_cancelled: Stop
) -> FinetunePhase:
    """Encode what is to be learnt, record what is to be kept, and put the adapter in."""
    texts = base.encode_texts(lesson.texts, job.trigger)
    sizes = sorted({picture.size for picture in lesson.pictures})
    shelves = {size: _shelve(job, base, lesson, texts, size, stop_if_cancelled) for size in sizes}
    return FinetunePhase(
        base.transformer, texts, shelves, rank=job.rank, batch=job.batch, prior_batch=job.prior_batch,
        flow_shift=base.card.flow.shift, seed=job.seed, before_batch=stop_if_cancelled,
    )  # fmt: skip


def train(
    phase: FinetunePhase, stage: TrainedStage, seed: int, accelerator: Accelerator, tell: OnProgress
) -> int:
    """Run the training loop; the number of steps taken."""
    trainer = Trainer(phase, stage, seed, _NoCheckpoints(Path()), accelerator, _Teller(tell))
    losses = trainer.run()
    if not math.isfinite(losses[-1]):
        raise FinetuneDiverged("the loss is no longer a number: take a smaller learning rate")
    return len(losses)


def write_adapter(transformer: ControlPixArt, job: FinetuneJob, card: ModelCard, folder: Path) -> AdapterCard:
    """Write the weights in diffusers' format, and an adapter.json without scores."""
    # what `save_lora_adapter` writes, less its second note in the header: notes come in an order of their own each time,
    # and the same job must give the same file
    tensors = get_peft_model_state_dict(transformer, adapter_name=ADAPTER)
    save_file(
        {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, folder / WEIGHTS_FILE, _HEADER
    )
    adapter = AdapterCard(
        name=job.name,
        base_model=f"{card.name} {card.version}",
        base_digest=card.base_digest,
        rank=job.rank,
        alpha=float(job.rank),
        trigger=(job.trigger,) if job.trigger else (),
        weights_sha256=file_sha256(folder / WEIGHTS_FILE),
        licence=job.licence,
    )
    (folder / ADAPTER_FILE).write_bytes(adapter.to_bytes())
    return adapter


def _stage(job: FinetuneJob) -> TrainedStage:
    steps = job.steps if job.steps is not None or job.minutes is not None else DEFAULT_STEPS
    return TrainedStage(
        name="finetune", steps=steps, minutes=job.minutes, batch=job.batch, learning_rate=job.learning_rate,
        schedule="cosine", warmup_steps=20, ema_decay=0.0, weight_decay=0.0, save_steps=10**9,
    )  # fmt: skip


def _check_rank(job: FinetuneJob, card: ModelCard) -> None:
    if card.adapters is not None and job.rank > card.adapters.max_rank:
        raise FinetuneRefused("rank", f"at most {card.adapters.max_rank}", job.rank)


def _shelve(
    job: FinetuneJob, base: BaseModel, lesson: Lesson, texts: Texts, size: Size, stop_if_cancelled: Stop
) -> Shelf:
    """All of one size: every crop with its picture's captions, and the model's own paths where others must be kept."""
    crops: list[Pixels] = []
    captions: list[Sequence[int]] = []
    bare: list[int] = []
    for picture, places, place in zip(lesson.pictures, lesson.places, lesson.bare, strict=True):
        if picture.size == size:
            crops += picture.crops
            captions += [places] * len(picture.crops)
            bare += [place] * len(picture.crops)
    latents = base.encode_pictures(crops).cpu()
    if not (job.trigger and job.prior_batch):
        return Shelf(latents=latents, captions=captions, paths=None)
    recorded = chain(
        base.record_paths(texts, range(len(lesson.ordinary) + 1), size, job.seed, unguided=0),
        base.record_points(latents.repeat(_BARE_POINTS, 1, 1, 1), texts, bare * _BARE_POINTS, job.seed),
    )
    return Shelf(latents=latents, captions=captions, paths=join_paths(_watched(recorded, stop_if_cancelled)))


def _watched(parts: Iterable[Paths], stop_if_cancelled: Stop) -> Iterator[Paths]:
    for part in parts:
        stop_if_cancelled()
        yield part


def _measure(
    job: FinetuneJob, folder: Path, card: ModelCard, lesson: Lesson, stop_if_cancelled: Stop
) -> Figures:
    return measure_adapter(
        job.model_folder,
        load_adapter(folder, card),
        [picture.crops[0] for picture in lesson.pictures],
        [forms[i % len(forms)] for i, forms in enumerate(lesson.forms)],
        lesson.ordinary,
        job.base_checks,
        stop_if_cancelled,
    )


@contextmanager
def _whole_or_absent(folder: Path) -> Iterator[Path]:
    """A folder to write into that takes the place of `folder` at the end, and is gone where that is not reached."""
    draft = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        yield draft
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


class _NoCheckpoints(RunFolder):
    """A fine-tune is shorter than what resuming it would be worth."""

    def save(self, *_: Any, **__: Any) -> Path:
        """Keep nothing."""
        return self.path

    def load(self, *_: Any, **__: Any) -> dict[str, Any] | None:
        """Find nothing."""
        return None

    def publish(self, *_: Any, **__: Any) -> None:
        """Hand on nothing."""


class _Teller(Reporter):
    """Turns the loop's reports into those of a fine-tune."""

    def __init__(self, tell: OnProgress) -> None:
        self._tell = tell

    def start(self, report: Report) -> None:
        """Training begins."""
        self._say(report, None)

    def update(self, report: Report) -> None:
        """Some steps later."""
        if not math.isfinite(report.loss):
            raise FinetuneDiverged("the loss is no longer a number: take a smaller learning rate")
        self._say(report, report.loss)

    def _say(self, report: Report, loss: float | None) -> None:
        known = report.step and report.plan < _UNPLANNED
        left = report.used_seconds / report.step * (report.plan - report.step) if known else None
        steps = report.plan if report.plan < _UNPLANNED else 0
        self._tell(
            FinetuneProgress(stage="train", step=report.step, steps=steps, loss=loss, seconds_left=left)
        )
