"""A finished adapter's own page: what it is, how it was made, what was measured, and what it looks like."""

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from models.adapters import WEIGHTS_FILE
from models.card import ModelCard
from models.evaluation.machine import describe_machine
from models.training.finetune import FinetuneJob, FinetuneResult

README_FILE, SAMPLES_FILE = "README.md", "before-after.png"

#: what each figure means, in the order they are told
_MEANINGS: Mapping[str, str] = {
    "brand_error": "error of the denoising on the brand's own pictures, mean square",
    "brand_palette": "colours shared with the brand's own pictures, 0 to 1",
    "base_right": "ordinary prompts drawn right (kind, colour, background and layout), 0 to 1",
    "base_psnr": "likeness of ordinary prompts to what they gave without the adapter, dB (99: equal)",
}


def write_readme(job: FinetuneJob, result: FinetuneResult, card: ModelCard) -> Path:
    """Write the page and its picture into the adapter's folder; the path of the page."""
    Image.fromarray(result.samples).save(result.folder / SAMPLES_FILE, optimize=True)
    page = result.folder / README_FILE
    page.write_text(_text(job, result, card), "utf-8")
    return page


def _text(job: FinetuneJob, result: FinetuneResult, card: ModelCard) -> str:
    size = (result.folder / WEIGHTS_FILE).stat().st_size
    machine = describe_machine()
    return f"""# {job.name}

An adapter (LoRA, rank {job.rank}, {size / 1e6:.1f} MB) for {card.name} {card.version}, learnt from {len(job.images)} pictures
in {result.steps} steps; {result.seconds:.0f} s in all on {machine["processor"]}.

{_trigger_text(job)}

    aquatint generate "{_example(job)}" --adapter {job.name}:0.8

| measured, same prompts and seeds | without | with |
|---|---|---|
{_rows(result)}

![without the adapter above, with it below]({SAMPLES_FILE})

Above without the adapter, below with it at weight 1: the captions of the brand's own pictures with the trigger.

- digest: `{result.digest}`
- base: `{card.base_digest}`
- licence: {job.licence or "not stated"}
- seed {job.seed}, batch {job.batch} + {job.prior_batch}, learning rate {job.learning_rate:g}
"""


def _trigger_text(job: FinetuneJob) -> str:
    if not job.trigger:
        return "It has no trigger: the look comes whenever the adapter is named."
    return f'Prompts that hold "{job.trigger}" get the look; others should stay as they are.'


def _example(job: FinetuneJob) -> str:
    caption = job.images[0][1]
    return (
        caption if not job.trigger or job.trigger.lower() in caption.lower() else f"{caption}, {job.trigger}"
    )


def _rows(result: FinetuneResult) -> str:
    before, after = result.scores_before, result.scores_after
    known = [name for name in _MEANINGS if name in after]
    return "\n".join(f"| {_MEANINGS[name]} | {before[name]:g} | {after[name]:g} |" for name in known)
