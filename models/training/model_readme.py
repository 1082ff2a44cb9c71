"""The README of a trained model folder: every figure comes from a file that a command wrote."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from models.card import ModelCard
from models.evaluation.machine import describe_machine
from models.training.recipe import Recipe, TrainedStage

_ATTRIBUTES = ("kind", "colour", "background", "layout", "joint", "material", "light", "shadow")
_LISTS = {"unseen": "unseen pairs", "handwritten": "written by hand", "seen": "seen pairs"}
_MIB = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Training:
    """A finished run: its recipe, and the rows its stages logged."""

    recipe_name: str
    recipe: Recipe
    rows: tuple[dict[str, Any], ...]

    @classmethod
    def read(cls, path: Path, recipe: Recipe, work: Path) -> Self:
        """Collect the logs of all stages from a work folder."""
        rows: list[dict[str, Any]] = []
        for stage in recipe.stages:
            log = work / stage.name / "log.jsonl"
            if log.exists():
                rows += [json.loads(line) for line in log.read_text("utf-8").splitlines()]
        return cls(recipe_name=path.name, recipe=recipe, rows=tuple(rows))

    def log_text(self) -> str:
        """All rows as JSON lines."""
        return "".join(json.dumps(row) + "\n" for row in self.rows)

    def last(self, stage: str) -> dict[str, Any] | None:
        """The last row of a stage."""
        return next((row for row in reversed(self.rows) if row["stage"] == stage), None)


def write_readme(
    folder: Path, card: ModelCard, training: Training, evaluations: Sequence[Mapping[str, Any]]
) -> None:
    """Write `README.md` into a model folder."""
    parts = [
        _head(folder, card),
        *(["\n".join(_scores(evaluations))] if evaluations else []),
        *("\n".join(_further(found)) for found in evaluations[:1]),
        "\n".join(_speed(card)),
        "\n".join(_training(training)),
        "\n".join(_files(folder)),
    ]
    (folder / "README.md").write_text("\n\n".join(part for part in parts if part) + "\n", "utf-8")


def _head(folder: Path, card: ModelCard) -> str:
    picture = "\n\n![Samples: prompts of the fixed list with unseen pairs, none selected; last row: the other sizes.](samples.png)"
    return (
        f"# {card.name} {card.version}\n\n{card.description} It was trained in this repository on pictures that the repository "
        f"draws itself; no other data went into it. Licence of weights and code: {card.licence}. Digest `{card.digest}`.\n\n"
        f"{card.domain_note}\n\n"
        f"Sizes: {', '.join(f'{width}x{height}' for width, height in card.sizes)}. It also does: "
        f"{', '.join(card.features).replace('_', ' ')}. Every figure below was written by a command of this repository, on "
        f"{_machine()}." + (picture if (folder / "samples.png").exists() else "")
    )


def _machine() -> str:
    machine = describe_machine()
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in machine.items())


def _scores(evaluations: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """One table over all evaluations, a row for each list of prompts; ceiling and chance from the first."""
    yield "## Scores\n"
    yield (
        "Shares of pictures that show what the prompt says, told by a small classifier trained on renders only. *joint*: kind, "
        "colour, background and layout all right. The ceiling is the same classifier on real renders of the same scenes; chance "
        "is each picture against another prompt. Unseen pairs: no training picture showed this product in this colour.\n"
    )
    yield "| prompts | how | " + " | ".join(_ATTRIBUTES) + " |"
    yield "|---|---|" + "---|" * len(_ATTRIBUTES)
    for found in evaluations:
        for name, title in _LISTS.items():
            if name in found.get("following", {}):
                part = found["following"][name]
                yield _row(f"{part['count']} {title}", _how(found["subject"]), part["meters"]["classifier"])
    for name, part in evaluations[0].get("following", {}).items():
        for line in ("ceiling", "chance"):
            if part.get(line):
                yield _row(f"{part['count']} {_LISTS[name]}", line, part[line]["classifier"])


def _row(title: str, how: str, shares: Mapping[str, Any]) -> str:
    cells = [f"{shares[name]['share']:.3f}" if name in shares else "" for name in _ATTRIBUTES]
    return f"| {title} | {how} | " + " | ".join(cells) + " |"


def _how(subject: Mapping[str, Any]) -> str:
    if "runtime" not in subject:
        return "the renderer itself"
    return f"{subject['runtime']} {subject['precision']}, {subject['steps']} steps, guidance {subject['guidance']:g}"


def _further(found: Mapping[str, Any]) -> Iterator[str]:
    """Shape and sharpness, copying, diversity, features, comparison: what this evaluation holds of them."""
    gate = found.get("gate")
    if gate:
        yield f"Shape and sharpness, {gate['count']} pictures beside as many real renders (the gate asks for 10 %):\n"
        yield "| figure | model | real renders | excess | within |"
        yield "|---|---|---|---|---|"
        for name in ("contour_overlap", "edge_energy", "kernel_distance"):
            one = gate[name]
            yield f"| {name.replace('_', ' ')} | {one['model']:.4g} | {one['real']:.4g} | {one['excess']:.3g} | {'yes' if one['passed'] else 'no'} |"
        yield ""
    copying = found.get("memorisation")
    if copying:
        yield (
            f"Copying: nearest of {copying['training_count']} training renders to each of {copying['count']} pictures, against the "
            f"same for fresh renders: {copying['pixels']['ratio']:.2f} in pixels, {copying['features']['ratio']:.2f} in features "
            f"(below 1 is nearer); copies found: {copying['pixels']['copies']}.\n"
        )
    diversity = found.get("diversity")
    if diversity:
        yield f"Diversity over seeds: {diversity['ratio']:.2f} of that of real renders.\n"
    comparison = found.get("comparison")
    if comparison:
        yield (
            f"Against {_how(comparison['reference'])}: median PSNR {comparison['psnr_median']:.1f} dB over {comparison['count']} "
            "pictures of the same seeds.\n"
        )


def _speed(card: ModelCard) -> Iterator[str]:
    yield "## Speed\n"
    yield (
        f"{card.costs.image_seconds * 1000:.0f} ms an image, {card.costs.step_seconds * 1000:.1f} ms of it for each step "
        f"({card.costs.measured_on})."
    )


def _training(training: Training) -> Iterator[str]:
    yield "## Training\n"
    yield f"    aquatint train models/training/recipes/{training.recipe_name} --work WORK --out models/starter\n"
    yield "| stage | minutes | steps | pictures | images/s | loss at the end | measured |"
    yield "|---|---|---|---|---|---|---|"
    for stage in training.recipe.stages:
        row = training.last(stage.name)
        if row is None:
            continue
        measured = f"PSNR {row['psnr']:.2f} dB on fresh renders" if "psnr" in row else ""
        yield (
            f"| {stage.name} | {row['minutes']:.1f} | {row['step']} | {row['pictures']} | {row['images_per_second']:.0f} | "
            f"{row['loss']:.4f} | {measured} |"
        )
    yield "\nThe recipe as it ran is `recipe.toml`, its log `training.jsonl`; losses of different stages are not comparable."
    starts = [
        (stage.name, start)
        for stage in training.recipe.stages
        if isinstance(stage, TrainedStage)
        for start in stage.start_from
    ]
    for name, start in starts:
        yield f"\nThe stage {name} went on from `{start.file}` ({start.part}, sha256 `{start.sha256}`)."


def _files(folder: Path) -> Iterator[str]:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size > 100_000]
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    yield "## Files\n"
    yield "| file | MB |\n|---|---|"
    for path in paths:
        yield f"| `{path.relative_to(folder).as_posix()}` | {path.stat().st_size / _MIB:.2f} |"
    yield (
        f"\n{total / _MIB:.1f} MB in all. An ordinary diffusers folder plus `onnx/` and `aquatint.json`. Stock diffusers reads the "
        "transformer without its control layer; `models/diffusers_reference.py` shows what the autoencoder needs."
    )
