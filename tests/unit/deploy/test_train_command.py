"""`aquatint train`: what it says before it runs anything. Needs the [train] extra, as the command does."""

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is part of the [train] extra")
pytest.importorskip("diffusers", reason="diffusers is part of the [train] extra")

from typer.testing import CliRunner

from deploy.cli import app
from tests.unit.models.tiny_recipe import TINY, write_tiny_recipe

pytestmark = pytest.mark.train

RECIPES = Path(__file__).parents[3] / "models" / "training" / "recipes"


def run(*words: str) -> tuple[int, str]:
    """Exit code and output of `aquatint train`."""
    result = CliRunner(env={"COLUMNS": "160"}).invoke(app, ["train", *words])
    return result.exit_code, result.output


def test_a_dry_run_of_the_large_model_counts_it_without_allocating_it(tmp_path: Path) -> None:
    """DiT-XL/2: 611 M parameters, about 20 TFLOP for forward and backward of a 1024 px picture; missing inputs are named."""
    code, said = run(str(RECIPES / "dit-xl-2.toml"), "--dry-run", "--gpus", "8", "--work", str(tmp_path))

    assert 0 == code
    assert "611.13 M" in said
    assert "1,274" in said  # TFLOP of a step of 64 pictures
    assert "transformer-1024" in said
    assert "aquatint curate" in said
    assert not list(tmp_path.iterdir())


def test_a_dry_run_refuses_what_does_not_fit(tmp_path: Path) -> None:
    """The stage, what it needs and what to change are in the sentence."""
    recipe = write_tiny_recipe(tmp_path / "recipe.toml")

    code, said = run(str(recipe), "--dry-run", "--gpu-memory", "0.0001", "--work", str(tmp_path / "work"))

    assert 2 == code
    assert "transformer needs" in said
    assert "accumulate" in said
    assert not (tmp_path / "work").exists()


def test_a_recipe_with_a_mistake_is_refused_by_name(tmp_path: Path) -> None:
    """The field is named; nothing is run."""
    path = tmp_path / "recipe.toml"
    path.write_text(TINY.format(steps=8).replace("encode_batch", "encode_bach"))

    code, said = run(str(path), "--work", str(tmp_path / "work"))

    assert 2 == code
    assert "encode_bach" in said
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(("recipe", "missing"), [("starter", "first/"), ("starter-first", "starter-1.0.0")])
def test_a_recipe_whose_inputs_are_missing_is_not_started(tmp_path: Path, recipe: str, missing: str) -> None:
    """What a shipped recipe goes on from must be there first."""
    code, said = run(str(RECIPES / f"{recipe}.toml"), "--work", str(tmp_path))

    assert 2 == code
    assert missing in said


def test_an_unknown_stage_is_refused_with_those_there_are(tmp_path: Path) -> None:
    """A misspelt stage does not silently train nothing."""
    code, said = run(str(write_tiny_recipe(tmp_path / "recipe.toml")), "--stage", "transfromer")

    assert 2 == code
    assert "transformer" in said
