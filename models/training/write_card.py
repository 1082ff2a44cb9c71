"""Write `aquatint.json` for a packed and exported starter folder: measure its costs, list the sha256 of its files.

python -m models.training.write_card models/starter --config models/training/starter.toml --version 1.0.0
"""

import argparse
import statistics
from pathlib import Path

from models.card import CARD_FILE, Costs, Flow, GuidanceRange, ModelCard, StepRange, Vocabulary, file_sha256
from models.catalogue import world
from models.catalogue.captions import unambiguous_synonyms
from models.evaluation.machine import describe_machine
from models.pipeline import RenderedImage, Shot, TextToImage
from models.training.config import Recipe
from models.training.progress import say

#: files that decide pixels; README and pictures may change without a new digest
_COVERED = {".json", ".safetensors", ".onnx", ".txt"}
_DEFAULT_STEPS = 8
_DEFAULT_GUIDANCE = 3.0
_FLOW_SHIFT = 1.5
_MAX_TOKENS = 48
_TIMED_IMAGES = 12


def main() -> None:
    """Write a card with no costs, open the model with it, time it, write the card again."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--version", required=True)
    args = parser.parse_args()
    recipe = Recipe.read(args.config)
    unmeasured = Costs(fixed_seconds=0, image_seconds=0, step_seconds=0, measured_on="not measured")
    write_card(args.folder, build_card(args.folder, recipe, args.version, unmeasured))
    costs = measure_costs(TextToImage.open(args.folder))
    card = build_card(args.folder, recipe, args.version, costs)
    write_card(args.folder, card)
    say(f"{card.digest}  {costs}")


def build_card(folder: Path, recipe: Recipe, version: str, costs: Costs) -> ModelCard:
    """The card of the starter model in its closed domain."""
    return ModelCard(
        name="starter",
        version=version,
        family="pixart",
        licence="Apache-2.0",
        description="A 4M-parameter diffusion transformer that draws catalogue products, trained on this repository's renderer.",
        domain="closed",
        domain_note=_domain_note(),
        sizes=tuple((bucket.width, bucket.height) for bucket in recipe.buckets),
        steps=StepRange(minimum=1, maximum=50, default=_DEFAULT_STEPS),
        guidance=GuidanceRange(maximum=10.0, default=_DEFAULT_GUIDANCE),
        max_prompt_tokens=_MAX_TOKENS,
        flow=Flow(
            channels=recipe.autoencoder.latent_channels,
            pixels_per_cell=8,
            patch=recipe.transformer.patch,
            shift=_FLOW_SHIFT,
            sampler="dpmpp_2m",
            position_width=recipe.transformer.width,
            position_span=recipe.buckets[0].height // (8 * recipe.transformer.patch),
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
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix in _COVERED and path.name != CARD_FILE]
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in paths}


def measure_costs(model: TextToImage) -> Costs:
    """Time single images at two step counts; medians, so that a busy moment does not count."""
    default, few = model.card.steps.default, 2
    full, short = _median_seconds(model, default), _median_seconds(model, few)
    machine = describe_machine()
    return Costs(
        fixed_seconds=0.0,  # images are rendered one by one: a microbatch costs nothing of its own
        image_seconds=round(full, 4),
        step_seconds=round((full - short) / (default - few), 5),
        measured_on=f"{machine['processor']}, one thread, onnx int8, {default} steps, guidance {_DEFAULT_GUIDANCE:g}",
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
            guidance=_DEFAULT_GUIDANCE,
        )  # fmt: skip
        result = model.render([shot])[0]
        if isinstance(result, RenderedImage):
            seconds.append(result.seconds.total)
    return statistics.median(seconds)


def _domain_note() -> str:
    return (
        f"Draws one product on a plain studio backdrop: {', '.join(world.KINDS)}; in {', '.join(world.COLOURS)}; "
        f"{', '.join(world.MATERIALS)}; on {', '.join(world.BACKGROUNDS)}; {', '.join(world.LAYOUTS)}. "
        "It knows no people, no writing, no brands and nothing else; words outside its vocabulary are ignored."
    )


if __name__ == "__main__":
    main()
