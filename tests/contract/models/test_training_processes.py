"""The same loop over several processes: plain data parallel, FSDP2 and DeepSpeed ZeRO-3, on the CPU. Needs the [train] extra."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is part of the [train] extra")
pytest.importorskip("diffusers", reason="diffusers is part of the [train] extra")
pytest.importorskip("skia", reason="skia is part of the [train] extra")
pytest.importorskip("accelerate", reason="accelerate is part of the [train] extra")

import torch
from safetensors.torch import load_file

from tests.unit.models.tiny_recipe import write_tiny_recipe

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[3]


def launch(recipe: Path, work: Path, stages: list[str], *options: str, processes: int = 2) -> None:
    """Run stages in processes of their own; what they said is in the failure."""
    words = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={processes}",
    ]
    words += ["-m", "models.training.train", str(recipe), "--work", str(work), *options]
    words += [word for stage in stages for word in ("--stage", stage)]
    quiet = {
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
        "HF_HUB_OFFLINE": "1",
        "DS_ACCELERATOR": "cpu",
    }
    done = subprocess.run(
        words, cwd=ROOT, env={**os.environ, **quiet}, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def position(work: Path, stage: str) -> dict[str, float]:
    """Where the newest checkpoint of a stage stands."""
    newest = sorted((work / stage).glob("step-*"))[-1]
    found: dict[str, float] = json.loads((newest / "position.json").read_text())
    return found


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder in which two processes have trained a transformer in one go, in plain data parallel."""
    work = tmp_path_factory.mktemp("processes")
    write_tiny_recipe(work / "recipe.toml")
    launch(work / "recipe.toml", work, ["autoencoder", "latents", "transformer"])
    return work


@pytest.fixture
def untrained(plain: Path, tmp_path: Path) -> Path:
    """The same folder before its transformer was trained."""
    shutil.copytree(plain, tmp_path / "w", ignore=lambda _, names: {"transformer"} & set(names))
    return tmp_path / "w"


def weights(work: Path, part: str = "transformer") -> dict[str, torch.Tensor]:
    """The published weights of a part."""
    found: dict[str, torch.Tensor] = load_file(work / "transformer" / f"{part}.safetensors")
    return found


def test_two_processes_interrupted_end_with_the_same_weights(plain: Path, untrained: Path) -> None:
    """Four steps, a new start, four more: bit for bit the weights of eight steps in one go."""
    recipe = untrained / "recipe.toml"
    launch(recipe, untrained, ["transformer"], "--stop-at-step", "4")
    launch(recipe, untrained, ["transformer"])

    assert 8 == position(untrained, "transformer")["step"]
    assert 8 * 4 * 2 == position(untrained, "transformer")["pictures"]
    for part in ("transformer", "text_encoder", "statistics"):
        whole, parts = weights(plain, part), weights(untrained, part)
        assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_sharded_training_learns_what_plain_training_learns(plain: Path, untrained: Path) -> None:
    """FSDP2 over two processes takes the losses of plain data parallel, resumes, and publishes whole tensors."""
    recipe = untrained / "recipe.toml"
    launch(recipe, untrained, ["transformer"], "--sharding", "fsdp", "--stop-at-step", "4")
    launch(recipe, untrained, ["transformer"], "--sharding", "fsdp")

    assert {name: value.shape for name, value in weights(plain).items()} == {
        name: value.shape for name, value in weights(untrained).items()
    }
    assert 8 == position(untrained, "transformer")["step"]
    assert position(untrained, "transformer")["loss"] == pytest.approx(
        position(plain, "transformer")["loss"], rel=0.05
    )


@pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed")
def test_deepspeed_takes_the_same_steps(plain: Path, untrained: Path) -> None:
    """ZeRO-3 behind the same launcher: about the loss of plain training, and whole tensors are published."""
    launch(untrained / "recipe.toml", untrained, ["transformer"], "--sharding", "zero3")

    assert {name: value.shape for name, value in weights(plain).items()} == {
        name: value.shape for name, value in weights(untrained).items()
    }
    assert position(untrained, "transformer")["loss"] == pytest.approx(
        position(plain, "transformer")["loss"], rel=0.1
    )
