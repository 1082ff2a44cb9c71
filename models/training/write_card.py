"""Writes `aquatint.json` and `README.md` of a packed and exported starter folder, from what was measured and nothing else.

    python -m models.training.write_card models/starter --recipe models/training/recipes/starter.toml --work WORK \\
        --version 2.0.0 --steps 4 --evaluation steps4.json --evaluation steps20.json

Run it once before the evaluations, so that there is a card to open the model with, and once after them.
"""

import argparse
import json
import shutil
import statistics
from pathlib import Path

from models.adapters import ADAPTER_TARGETS
from models.card import (
    CARD_FILE,
    AdapterSupport,
    Costs,
    Flow,
    GuidanceRange,
    ModelCard,
    StepRange,
    Vocabulary,
    file_sha256,
)
from models.catalogue import world
from models.catalogue.captions import unambiguous_synonyms
from models.evaluation.machine import describe_machine
from models.pipeline import RenderedImage, TextToImage
from models.shot import Shot
from models.training.model_readme import Training, write_readme
from models.training.progress import say
from models.training.recipe import PIXELS_PER_CELL, DistilStage, Recipe

#: files that decide pixels lie in these folders; README, log and pictures may change without a new digest
_COMPONENTS = ("onnx", "scheduler", "text_encoder", "tokenizer", "transformer", "vae")
_INDEX = "model_index.json"
_LOG, _RECIPE = "training.jsonl", "recipe.toml"
_FLOW_SHIFT = 1.5
_PLAIN_GUIDANCE = 2.5
_TIMED_IMAGES = 12


def main() -> None:
    """Write a card with no costs, open the model with it, time it, write the card again; then the README."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument(
        "--work", type=Path, required=True, help="where it was trained: its logs are taken along"
    )
    parser.add_argument("--version", required=True)
    parser.add_argument("--steps", type=int, required=True, help="the default number of steps")
    parser.add_argument(
        "--evaluation", type=Path, action="append", default=[], help="JSON of `aquatint evaluate`; repeatable"
    )
    args = parser.parse_args()
    recipe = Recipe.read(args.recipe)
    unmeasured = Costs(fixed_seconds=0, image_seconds=0, step_seconds=0, measured_on="not measured")
    write_card(args.folder, build_card(args.folder, recipe, args.version, args.steps, unmeasured))
    costs = measure_costs(TextToImage.open(args.folder))
    card = build_card(args.folder, recipe, args.version, args.steps, costs)
    write_card(args.folder, card)
    shutil.copy(args.recipe, args.folder / _RECIPE)
    training = Training.read(args.recipe, recipe, args.work)
    (args.folder / _LOG).write_text(training.log_text(), "utf-8")
    evaluations = [json.loads(path.read_text("utf-8")) for path in args.evaluation]
    write_readme(args.folder, card, training, evaluations)
    say(f"{card.digest}  {costs}")


def build_card(folder: Path, recipe: Recipe, version: str, steps: int, costs: Costs) -> ModelCard:
    """The card of the starter model in its closed domain."""
    networks = recipe.networks
    folded = any(isinstance(stage, DistilStage) for stage in recipe.stages)
    count = _parameters(folder / "transformer") / 1e6
    return ModelCard(
        name="starter",
        version=version,
        family="pixart",
        licence="Apache-2.0",
        description=f"A diffusion transformer of {count:.0f}M parameters that draws catalogue products, trained on this repository's renderer.",
        domain="closed",
        domain_note=_domain_note(),
        sizes=tuple((bucket.width, bucket.height) for bucket in recipe.buckets),
        steps=StepRange(minimum=1, maximum=50, default=steps),
        guidance=GuidanceRange(maximum=10.0, default=1.0 if folded else _PLAIN_GUIDANCE, folded=folded),
        max_prompt_tokens=networks.text_encoder.max_tokens,
        features=("image_to_image", "inpainting", "control:edges", "control:sketch", "adapters"),
        adapters=AdapterSupport(
            targets=ADAPTER_TARGETS, layers=networks.transformer.layers, width=networks.transformer.width
        ),
        flow=Flow(
            channels=networks.autoencoder.latent_channels,
            pixels_per_cell=PIXELS_PER_CELL,
            patch=networks.transformer.patch,
            shift=_FLOW_SHIFT,
            sampler="dpmpp_2m",
            position_width=networks.transformer.width,
            position_span=networks.transformer.size // (PIXELS_PER_CELL * networks.transformer.patch),
        ),
        vocabulary=build_vocabulary(),
        costs=costs,
        files=covered_files(folder),
    )


def build_vocabulary() -> Vocabulary:
    """The words of the catalogue world."""
    return Vocabulary(
        kinds=world.KINDS,
        colours=tuple(world.COLOURS),
        materials=world.MATERIALS,
        backgrounds=tuple(world.BACKGROUNDS),
        layouts=tuple(world.LAYOUTS),
        synonyms=unambiguous_synonyms(),
        default_material=world.DEFAULT_MATERIAL,
        default_background=world.DEFAULT_BACKGROUND,
        default_layout=world.DEFAULT_LAYOUT,
    )


def covered_files(folder: Path) -> dict[str, str]:
    """sha256 of each file that decides pixels, by relative path."""
    found = [path for part in _COMPONENTS for path in sorted((folder / part).rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in [folder / _INDEX, *found]}


def measure_costs(model: TextToImage) -> Costs:
    """Time single images at two step counts; medians, so that a busy moment does not count."""
    default = model.card.steps.default
    full, double = _median_seconds(model, default), _median_seconds(model, 2 * default)
    machine = describe_machine()
    return Costs(
        fixed_seconds=0.0,  # images are rendered one by one: a microbatch costs nothing of its own
        image_seconds=round(full, 4),
        step_seconds=round((double - full) / default, 5),
        measured_on=f"{machine['processor']}, one thread, onnx int8, {default} steps, guidance {model.card.guidance.default:g}",
    )


def write_card(folder: Path, card: ModelCard) -> None:
    """Write the card as indented JSON."""
    (folder / CARD_FILE).write_text(card.model_dump_json(indent=2) + "\n", "utf-8")


def _median_seconds(model: TextToImage, steps: int) -> float:
    width, height = model.card.sizes[0]
    seconds = []
    for seed in range(_TIMED_IMAGES):
        shot = Shot(
            prompt="a red mug on a white background", seed=seed, width=width, height=height, steps=steps,
            guidance=model.card.guidance.default,
        )  # fmt: skip
        result = model.render([shot])[0]
        if isinstance(result, RenderedImage):
            seconds.append(result.seconds.total)
    return statistics.median(seconds)


def _parameters(folder: Path) -> int:
    from safetensors import safe_open

    total = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "np") as weights:
            for name in weights.keys():  # noqa: SIM118 - not a mapping
                size = 1
                for side in weights.get_slice(name).get_shape():
                    size *= side
                total += size
    return total


def _domain_note() -> str:
    return (
        f"Draws one product, or two of the same, on a studio backdrop or in a simple scene: {', '.join(world.KINDS)}; in "
        f"{', '.join(world.COLOURS)}; {', '.join(world.MATERIALS)}; on {', '.join(world.BACKGROUNDS)}; "
        f"{', '.join(world.LAYOUTS)}; lit from the left, the right or the front; with or without shadow. "
        "It knows no people, no writing, no brands and nothing else; words outside its vocabulary are ignored."
    )


if __name__ == "__main__":
    main()
