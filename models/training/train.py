"""`aquatint train` without the command line around it: what each process of a training run executes.

torchrun --nproc-per-node 2 -m models.training.train models/training/recipes/starter.toml --work WORK
"""

import argparse
from pathlib import Path

from accelerate import PartialState

from models.training.recipe import Recipe
from models.training.stages import run_stage


def main() -> None:
    """Run the stages asked for, in the recipe's order, all of them where none is named; then pack if `--out` is given."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder of checkpoints and caches")
    parser.add_argument("--stage", action="append", default=[], help="may be given several times")
    parser.add_argument("--sharding", choices=["none", "fsdp", "zero3"], default="none")
    parser.add_argument("--stop-at-step", type=int, help="stop the stage there, to go on another time")
    parser.add_argument("--out", type=Path, help="model folder to write when the stages are done")
    args = parser.parse_args()
    recipe = Recipe.read(args.recipe)
    for stage in recipe.stages:
        if not args.stage or stage.name in args.stage:
            run_stage(recipe, stage.name, args.work, args.sharding, args.stop_at_step)
    if args.out:
        _pack(recipe, args.work, args.out)
    PartialState().destroy_process_group()


def _pack(recipe: Recipe, work: Path, out: Path) -> None:
    """One process writes the folder; the others have nothing left to do."""
    from models.training.export import export_folder
    from models.training.pack import pack

    if PartialState().is_main_process:
        pack(recipe, work, out)
        export_folder(out)


if __name__ == "__main__":
    main()
