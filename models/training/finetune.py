"""Fine-tune a served model for a brand: a small adapter (LoRA, Hu et al. 2021, arXiv:2106.09685) from a few pictures.

The look is learnt for prompts that hold the trigger, a short phrase such as "acme style"; all others should stay as they
were. The phrase may be of words the model does not know: it reaches the model as tokens of its own (`models.triggers`).
"""

import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from models.adapters import ADAPTER_FILE
from models.errors import FinetuneCancelled, FinetuneRefused, RuntimeMissing

FinetuneStageName = Literal["prepare", "train", "evaluate"]
LARGEST_RANK = 64
MOST_STEPS = 100_000
DEFAULT_STEPS = 2400
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NEEDED = ("torch", "diffusers", "transformers", "accelerate", "peft", "safetensors")


@dataclass(frozen=True, kw_only=True)
class FinetuneJob:
    """What to learn from which pictures; either `steps` or `minutes` of training, `DEFAULT_STEPS` where neither is given.

    `images` are files with captions that need not name the brand: the trigger is added to them. With an empty trigger the
    look comes whenever the adapter is named, and nothing is done to keep other prompts as they were. `out` is the folder
    to write; it is replaced as a whole, or not at all. The same job gives the same adapter on one machine, except under
    `minutes`, which take as many steps as fit.
    """

    model_folder: Path
    images: Sequence[tuple[Path, str]]
    name: str
    trigger: str
    out: Path
    rank: int = 8
    steps: int | None = None
    minutes: float | None = None
    seed: int = 0
    batch: int = 12
    learning_rate: float = 8e-3
    prior_batch: int = 4
    prior_prompts: Sequence[str] = ()
    base_checks: int = 96
    licence: str = ""


@dataclass(frozen=True, kw_only=True)
class FinetuneProgress:
    """Where a fine-tune stands; `loss` is smoothed, both figures are None where there is nothing to say."""

    stage: FinetuneStageName
    step: int
    steps: int
    loss: float | None = None
    seconds_left: float | None = None


@dataclass(frozen=True, kw_only=True)
class FinetuneResult:
    """A finished adapter: its folder, the digest that names it, and figures without and with it.

    `samples` shows brand prompts, without the adapter above and with it below, uint8 (H, W, 3).
    """

    folder: Path
    digest: str
    scores_before: Mapping[str, float]
    scores_after: Mapping[str, float]
    seconds: float
    steps: int
    samples: npt.NDArray[np.uint8]


OnProgress = Callable[[FinetuneProgress], None]
Cancelled = Callable[[], bool]


def finetune(
    job: FinetuneJob, on_progress: OnProgress | None = None, cancelled: Cancelled | None = None
) -> FinetuneResult:
    """Learn, measure and write an adapter.

    Args:
        job: what to do.
        on_progress: called at the start of each part and every few steps.
        cancelled: asked before each step.

    Raises:
        FinetuneRefused: an option, a picture or a caption is wrong, or the model takes no adapters.
        FinetuneCancelled: `cancelled` said so; nothing was written.
        FinetuneDiverged: the loss is no longer a number.
        ModelUnusable: the model cannot be opened, or the [train] extra is not installed.
        PromptTooLong: a caption has more words than the model reads.
    """
    _check(job)
    require_training()
    from models.training.finetune_run import run_finetune

    def stop_if_cancelled() -> None:
        if cancelled is not None and cancelled():
            raise FinetuneCancelled("the fine-tune was cancelled")

    return run_finetune(job, on_progress or _silent, stop_if_cancelled)


def require_training() -> None:
    """Raise `RuntimeMissing` where the [train] extra is not installed."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise RuntimeMissing(
            f'fine-tuning needs {", ".join(missing)}: install the [train] extra, pip install "aquatint[train]"'
        )


def _check(job: FinetuneJob) -> None:
    ranges: Sequence[tuple[str, float, float, float]] = (
        ("rank", job.rank, 1, LARGEST_RANK),
        ("steps", job.steps if job.steps is not None else 1, 1, MOST_STEPS),
        ("minutes", job.minutes if job.minutes is not None else 1, 0.01, 24 * 60),
        ("batch", job.batch, 1, 1024),
        ("prior_batch", job.prior_batch, 0, 1024),
        ("learning_rate", job.learning_rate, 1e-7, 1),
    )
    for field, value, low, high in ranges:
        if not low <= value <= high:
            raise FinetuneRefused(field, f"{low:g} to {high:g}", value)
    if job.steps is not None and job.minutes is not None:
        raise FinetuneRefused("minutes", "left out where steps are given", job.minutes)
    if not _NAME.fullmatch(job.name):
        raise FinetuneRefused("name", "letters, digits, dots, dashes and underscores, at most 64", job.name)
    if job.out.exists() and not (job.out / ADAPTER_FILE).is_file() and any(job.out.iterdir()):
        raise FinetuneRefused("out", "a new folder, or that of an adapter to be replaced", str(job.out))


def _silent(_: FinetuneProgress) -> None:
    return None
