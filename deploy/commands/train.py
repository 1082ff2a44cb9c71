"""`aquatint train`: run a training recipe on the processors or GPUs of this machine, or say what it would need."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from deploy.training_extra import INSTALL, missing_for_training
from schemas.errors import BadSettings

if TYPE_CHECKING:
    from models.training.dry_run import StageNeeds
    from models.training.recipe import Recipe

_WORK = Path(".aquatint/training")
_DRY_RUN_NOTE = (
    "Nothing was allocated. Weights, gradients, AdamW and the weight average count four bytes a number; activations are what "
    "autograd keeps of one batch, without attention scores, which fused kernels recompute."
)


def train(
    config: Annotated[Path, typer.Argument(help="Recipe: models/training/recipes/*.toml or your own.")],
    stage: Annotated[list[str] | None, typer.Option(help="Only this stage; may be repeated.")] = None,
    work: Annotated[
        Path, typer.Option(help="Folder of checkpoints and caches; a run goes on from it.")
    ] = _WORK,
    out: Annotated[Path | None, typer.Option(help="Then write the model folder here.")] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Default: one per GPU, else one per processor core.")
    ] = None,
    sharding: Annotated[str, typer.Option(help="none, fsdp (FSDP2) or zero3 (DeepSpeed).")] = "none",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print parameters, memory and FLOPs of each stage; run nothing.")
    ] = False,
    gpus: Annotated[int, typer.Option(min=1, help="For --dry-run: GPUs that share the work.")] = 1,
    gpu_memory: Annotated[
        float | None, typer.Option(min=0, help="For --dry-run: GiB of one GPU; refuses what does not fit.")
    ] = None,
) -> None:
    """Train the networks of a recipe, stage by stage; started again, it goes on where it stopped."""
    if missing := missing_for_training():
        raise BadSettings(f"training needs {', '.join(missing)}: install the [train] extra, {INSTALL}")
    console = Console()
    recipe = _read(config, console)
    if sharding not in ("none", "fsdp", "zero3"):
        raise typer.BadParameter("none, fsdp or zero3", param_hint="--sharding")
    unknown = set(stage or []) - {known.name for known in recipe.stages}
    if unknown:
        known_names = ", ".join(known.name for known in recipe.stages)
        raise typer.BadParameter(
            f"{', '.join(sorted(unknown))}: the recipe has {known_names}", param_hint="--stage"
        )
    if dry_run:
        raise typer.Exit(_dry_run(recipe, work, gpus, gpu_memory, console))
    _refuse(recipe, work, console)
    raise typer.Exit(_launch(config, stage or [], work, out, processes or _processors(), sharding))


def _read(config: Path, console: Console) -> Recipe:
    from models.training.recipe import Recipe

    try:
        return Recipe.read(config)
    except (OSError, ValidationError, ValueError) as error:
        console.print(f"{config}: {_plain(error)}", style="red")
        raise typer.Exit(2) from error


def _plain(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(
        f"{'.'.join(str(part) for part in one['loc'])}: {one['msg'].removeprefix('Value error, ')}".lstrip(
            ": "
        )
        for one in error.errors()
    )


def _refuse(recipe: Recipe, work: Path, console: Console) -> None:
    from models.training.recipe_check import missing_inputs, problems_of

    problems = [*problems_of(recipe), *missing_inputs(recipe, work)]
    for problem in problems:
        console.print(f"cannot run: {problem}", style="red", soft_wrap=True)
    if problems:
        raise typer.Exit(2)


def _dry_run(recipe: Recipe, work: Path, gpus: int, gpu_memory: float | None, console: Console) -> int:
    """Print what each stage needs; 2 where the recipe could not run on any machine, or not on GPUs of that size."""
    from models.training.dry_run import GIB, needs_of
    from models.training.recipe import TrainedStage
    from models.training.recipe_check import missing_inputs, problems_of

    problems = problems_of(recipe)
    needs = [needs_of(recipe, stage, gpus) for stage in recipe.stages if isinstance(stage, TrainedStage)]
    console.print(_table(needs, gpus))
    console.print(_DRY_RUN_NOTE, soft_wrap=True)
    if gpu_memory is not None:
        problems += [
            f"stage {need.stage} needs {need.total_bytes / GIB:.1f} GiB on each GPU, more than {gpu_memory:g}: use a smaller batch "
            "with `accumulate`, `gradient_checkpointing = true`, or more GPUs"
            for need in needs
            if need.total_bytes > gpu_memory * GIB
        ]
    for missing in missing_inputs(recipe, work):
        console.print(f"missing here: {missing}", style="yellow", soft_wrap=True)
    for problem in problems:
        console.print(f"cannot run: {problem}", style="red", soft_wrap=True)
    return 2 if problems else 0


def _table(needs: list[StageNeeds], gpus: int) -> Table:
    """One column per stage."""
    gib = 2**30
    table = Table(title=f"state sharded over {gpus} GPUs, memory of each" if gpus > 1 else "on one device")
    table.add_column("")
    for need in needs:
        table.add_column(need.stage, justify="right")

    def row(title: str, say: Callable[[StageNeeds], str]) -> None:
        table.add_row(title, *(say(need) for need in needs))

    row("largest picture", lambda need: need.largest_size)
    row("parameters", lambda need: f"{need.parameters / 1e6:,.2f} M")
    row("of them trained", lambda need: f"{need.trained_parameters / 1e6:,.2f} M")
    row("weights, GiB", lambda need: f"{need.weight_bytes / gib:.3f}")
    row("gradients, GiB", lambda need: f"{need.gradient_bytes / gib:.3f}")
    row("AdamW, GiB", lambda need: f"{need.optimiser_bytes / gib:.3f}")
    row("average, GiB", lambda need: f"{need.average_bytes / gib:.3f}")
    row("activations, GiB", lambda need: f"{need.activation_bytes / gib:.3f}")
    row("all memory, GiB", lambda need: f"{need.total_bytes / gib:.3f}")
    row("pictures a step", lambda need: f"{need.pictures_per_step:,}")
    row("TFLOP a step", lambda need: f"{need.step_flops / 1e12:,.4g}")
    row("steps", lambda need: "by the clock" if need.steps is None else f"{need.steps:,}")
    row(
        "EFLOP in all",
        lambda need: "" if need.steps is None else f"{need.step_flops * need.steps / 1e18:,.4g}",
    )
    return table


def _processors() -> int:
    """One process per GPU; without a GPU one per core, since two threads of one process are slower than one."""
    import torch

    return torch.cuda.device_count() or os.cpu_count() or 1


def _launch(
    config: Path, stages: list[str], work: Path, out: Path | None, processes: int, sharding: str
) -> int:
    """Start the processes with torch's own launcher and wait for them."""
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    words += ["-m", "models.training.train", str(config), "--work", str(work), "--sharding", sharding]
    words += [word for name in stages for word in ("--stage", name)]
    words += ["--out", str(out)] if out else []
    quiet = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
    import torch

    if not torch.cuda.is_available():
        quiet["GLOO_SOCKET_IFNAME"] = "lo"  # the processes are all on this machine
    return subprocess.call(words, env={**quiet, **os.environ})  # noqa: S603 - this interpreter, words of our own
