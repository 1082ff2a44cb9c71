"""`aquatint evaluate`: measure a model, say the figures, write them as JSON and as a page."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, TypeVar, get_args

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from deploy.compose import Parts
from deploy.environment import load_settings
from models.errors import ModelError, ModelUnusable
from models.evaluation.comparison import parse_adapter, parse_reference
from models.evaluation.evaluation import PARTS, Counts, OnProgress, Part, Plan, evaluate
from models.evaluation.judgement import Pixels
from models.evaluation.page import write_page
from models.evaluation.safety_rate import Violates
from models.evaluation.subject import ModelSubject, RenderedTruth, Setting, Subject
from models.evaluation.summary import summarise
from models.runtime import Precision, RuntimeName
from safety.image_screen import checked_scores
from schemas.errors import AquatintError, BadSettings, OutOfRange, ScreenMissing, Unsupported
from schemas.verdict import Decision

ValueT = TypeVar("ValueT")
_RENDERS = "renders"
#: what a runtime runs where nobody says
_PRECISIONS = {"onnx": "int8", "torch": "fp32"}


def evaluate_model(
    model: Annotated[str, typer.Argument(help="Model folder, or 'renders' for the renderer itself.")],
    runtime: Annotated[str, typer.Option(help="onnx or torch.")] = "onnx",
    precision: Annotated[
        str | None, typer.Option(help="int8 or fp32; default: int8, with torch fp32.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps; default: the card's.")] = None,
    guidance: Annotated[float | None, typer.Option(min=0, help="Default: the card's.")] = None,
    adapter: Annotated[
        list[str] | None, typer.Option(help="FOLDER or FOLDER:WEIGHT; may be repeated.")
    ] = None,
    parts: Annotated[str, typer.Option(help="Comma-separated; what to measure.")] = ",".join(PARTS),
    count: Annotated[int | None, typer.Option(min=1, help="At most so many prompts of each list.")] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against", "--reference", help="Compare with: torch:fp32, steps=20, adapters=none, model=DIR."
        ),
    ] = None,
    inception: Annotated[
        Path | None, typer.Option(help="Your Inception weights (.pt or .pth), for FID.")
    ] = None,
    clip: Annotated[
        str | None, typer.Option(help="Your CLIP: a folder, or MODEL:WEIGHTS for open_clip.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="Write the report page here.")] = None,
) -> None:
    """Measure a model: prompt following, sharpness, copying, diversity, safety; exit 1 if a comparison fails."""
    console = Console(stderr=True)
    try:
        with _progress(console) as on_progress:
            setting = Setting(
                folder=Path(model), runtime=_one_of("runtime", runtime, get_args(RuntimeName)),
                precision=_one_of("precision", precision or _PRECISIONS.get(runtime, "int8"), get_args(Precision)), steps=steps, guidance=guidance,
                adapters=tuple(parse_adapter(text) for text in adapter or ()),
            )  # fmt: skip
            plan = Plan(
                parts=_parts(parts, against),
                counts=_counts(count),
                inception=inception,
                clip=clip,
                violates=_screen(),
            )
            reference = ModelSubject.open(parse_reference(against, setting)) if against else None
            result = evaluate(_subject(setting), plan, reference, on_progress)
    except ModelError as error:
        raise _plain(error) from error
    typer.echo(summarise(result))
    if json_file:
        json_file.write_text(json.dumps(result.as_json(), indent=2) + "\n", "utf-8")
    if html_file:
        write_page(result, html_file)
    if result.comparison and not result.comparison.passed:
        raise typer.Exit(1)


@contextmanager
def _progress(console: Console) -> Iterator[OnProgress]:
    """A bar per list of prompts, gone when all is done."""
    with Progress(console=console, transient=True) as progress:
        bars: dict[str, TaskID] = {}

        def on_progress(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=total)
            progress.update(bars[what], completed=done, total=total)

        yield on_progress


def _subject(setting: Setting) -> Subject:
    return RenderedTruth() if str(setting.folder) == _RENDERS else ModelSubject.open(setting)


def _one_of(name: str, value: str, known: tuple[ValueT, ...]) -> ValueT:
    for one in known:
        if one == value:
            return one
    raise OutOfRange(f"must be one of {', '.join(map(str, known))}, not {value!r}", field=name)


def _parts(text: str, against: str | None) -> tuple[Part, ...]:
    """The parts named; a comparison is added where something to compare with is named, and left out where not."""
    named = [_one_of("parts", part.strip(), PARTS) for part in text.split(",") if part.strip()]
    return tuple(
        part
        for part in PARTS
        if (part in named or part == "comparison") and (part != "comparison" or against)
    )


def _counts(most: int | None) -> Counts:
    """The usual counts, each prompt list cut to `most`."""
    usual = Counts()
    if most is None:
        return usual
    limited = {
        name: min(most, getattr(usual, name))
        for name in ("unseen", "handwritten", "seen", "gate", "comparison")
    }
    return replace(usual, **limited)


def _screen() -> Violates | None:
    """The installed classifiers under the policy in force; None where none is installed."""
    parts = Parts(settings=load_settings())
    screens, policy = parts.image_screens, parts.policy
    if not screens:
        return None

    def violates(pixels: Pixels, _prompt: str) -> bool:
        for screen in screens:
            scores = checked_scores(screen.check([pixels]), 1, screen.categories)[0]
            if scores is None:
                raise ScreenMissing(
                    f"{screen.name} gave no usable answer, so that nothing can be said about the rate"
                )
            if any(
                policy.threshold("output", name).decide(score) is Decision.BLOCK
                for name, score in scores.items()
            ):
                return True
        return False

    return violates


def _plain(error: ModelError) -> AquatintError:
    """A model's error as one of the house: the command line says it in a sentence."""
    if isinstance(error, ModelUnusable):
        return BadSettings(f"the model cannot be used: {error}")
    return Unsupported(str(error))


if __name__ == "__main__":
    typer.run(evaluate_model)
