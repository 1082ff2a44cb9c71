"""The parts of training that need no torch: recipes, what is wrong with them, schedules."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.training.recipe import Recipe, TransformerStage
from models.training.recipe_check import missing_inputs, problems_of
from models.training.schedule import Plan, rate_factor
from tests.unit.models.tiny_recipe import TINY, tiny_recipe

RECIPES = sorted((Path(__file__).parents[3] / "models" / "training" / "recipes").glob("*.toml"))


def stage(**settings: object) -> TransformerStage:
    """A stage with these settings."""
    return TransformerStage.model_validate({"kind": "transformer", "steps": 100, **settings})


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_could_run(path: Path) -> None:
    """The committed recipes are valid, and nothing in them is wrong by itself."""
    assert problems_of(Recipe.read(path)) == []


def test_there_are_recipes_for_a_laptop_a_large_gpu_and_many_gpus() -> None:
    """The starter on two cores, the starter on one GPU, DiT-XL/2 on many."""
    assert {"starter", "starter-256", "dit-xl-2"} <= {path.stem for path in RECIPES}


def test_a_misspelt_setting_is_an_error(tmp_path: Path) -> None:
    """A recipe cannot hold a setting that nobody reads."""
    path = tmp_path / "recipe.toml"
    path.write_text(TINY.format(steps=8) + "\nlerning_rate = 1\n")

    with pytest.raises(ValidationError, match="lerning_rate"):
        Recipe.read(path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("share = 0.7", "share = 0.6", "sum to 1"),
        ("width = 48", "width = 40", "multiples of 16"),
        ("head_width = 16", "head_width = 24", "multiple of head_width"),
        ('kind = "decoder"', 'kind = "decoder"\nname = "distil"', "same name"),
        ("steps = 8\nwarmup", "steps = 8\nminutes = 2\nwarmup", "either steps or minutes"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused(old: str, new: str, said: str) -> None:
    """The error says in words what does not fit."""
    import tomllib

    text = TINY.format(steps=8)
    assert old in text

    with pytest.raises(ValidationError, match=said):
        Recipe.model_validate(tomllib.loads(text.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("count = 40\n", "", "no end"),
        (
            'kind = "latents"\ncount = 40',
            'kind = "decoder"\nname = "d"\nsteps = 9',
            "no stage above it encodes",
        ),
        ("widths = [8, 16]", "widths = [8, 16, 16]", "two widths"),
        ("steps = 8\nwarmup_steps = 2\nbatch = 2", "steps = 8\nwarmup_steps = 20\nbatch = 2", "warm-up"),
    ],
)
def test_what_cannot_run_is_said_in_plain_words(old: str, new: str, said: str) -> None:
    """Problems that only show between stages are found before anything is allocated."""
    import tomllib

    text = TINY.format(steps=8).replace(old, new, 1)
    if 'kind = "decoder"\nname = "d"' in text:
        text = text.replace("encode_batch = 10\nshard_rows = 16\n", "")
    recipe = Recipe.model_validate(tomllib.loads(text))

    assert any(said in problem for problem in problems_of(recipe)), problems_of(recipe)


def test_missing_inputs_are_named(tmp_path: Path) -> None:
    """What the large recipe needs and this folder lacks is listed file by file."""
    recipe = Recipe.read(next(path for path in RECIPES if path.stem == "dit-xl-2"))

    found = " ".join(missing_inputs(recipe, tmp_path))

    assert "vae" in found
    assert "text_encoder" in found
    assert "aquatint curate" in found
    assert missing_inputs(tiny_recipe(), tmp_path) == []


@given(
    step=st.integers(0, 10_000),
    total=st.integers(1, 10_000),
    schedule=st.sampled_from(["cosine", "constant_then_linear"]),
)
def test_learning_rates_stay_within_bounds(step: int, total: int, schedule: str) -> None:
    """Rates are positive, never above one, and small at the end."""
    settings = stage(schedule=schedule, warmup_steps=50)
    factor = rate_factor(settings, step, total)

    assert 0 < factor <= 1
    if step >= total:
        assert factor <= settings.final_share + 1e-9


@given(schedule=st.sampled_from(["cosine", "constant_then_linear"]))
def test_after_the_warm_up_rates_only_fall(schedule: str) -> None:
    """No schedule rises again."""
    settings = stage(schedule=schedule, warmup_steps=10)
    factors = [rate_factor(settings, step, 200) for step in range(10, 220)]

    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(factors))


def test_a_plan_in_steps_does_not_move() -> None:
    """Where the recipe counts steps, the speed of the machine changes nothing."""
    plan = Plan(stage())
    plan.revise(10, used_seconds=1000, recent_step_seconds=100)

    assert plan.total_steps == 100


def test_a_plan_in_minutes_follows_the_speed() -> None:
    """Twice as fast, twice as many steps; out of time, no more steps."""
    settings = stage(steps=None, minutes=1)
    slow, fast = Plan(settings), Plan(settings)
    slow.revise(10, used_seconds=20, recent_step_seconds=2)
    fast.revise(10, used_seconds=20, recent_step_seconds=1)
    assert (10 + 20, 10 + 40) == (slow.total_steps, fast.total_steps)

    fast.revise(60, used_seconds=61, recent_step_seconds=1)

    assert fast.total_steps == 60
