"""The parts of the training loop that need no torch, and those that do."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models.training.clock import TrainingClock, constant_then_linear_rate, cosine_rate
from models.training.config import Recipe

RECIPE = Path(__file__).parents[3] / "models" / "training" / "starter.toml"


def test_the_recipe_reads() -> None:
    """The committed recipe is valid, its shares sum to one and its sizes are whole patches."""
    recipe = Recipe.read(RECIPE)

    assert 1 == pytest.approx(sum(bucket.share for bucket in recipe.buckets))
    assert all(bucket.width % 16 == 0 and bucket.height % 16 == 0 for bucket in recipe.buckets)


def test_a_misspelt_setting_is_an_error(tmp_path: Path) -> None:
    """A recipe cannot hold a setting that nobody reads."""
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.read_text() + "\nlerning_rate = 1\n")

    with pytest.raises(ValidationError, match="lerning_rate"):
        Recipe.read(path)


@given(step=st.integers(0, 10_000), progress=st.floats(0, 1.2))
@settings(deadline=None)
def test_learning_rates_stay_within_bounds(step: int, progress: float) -> None:
    """Rates are positive, never above one, and small at the end."""
    for rate in (cosine_rate(step, progress, 50), constant_then_linear_rate(step, progress, 50, 0.6)):
        assert 0 < rate <= 1
        if progress >= 1:
            assert rate <= 0.02 + 1e-9


def test_the_clock_counts_training_only() -> None:
    """Time spent saving is not counted, and a resumed run goes on where it stopped."""
    clock = TrainingClock(minutes=1, save_every_seconds=0.01, used_seconds=30)
    assert 0.5 == pytest.approx(clock.progress, abs=0.01)
    time.sleep(0.05)
    assert clock.save_is_due()

    clock.resume(30)

    assert 0.5 == pytest.approx(clock.progress, abs=0.01)
    assert not clock.save_is_due()


@pytest.mark.train
def test_a_checkpoint_is_whole_or_old(tmp_path: Path) -> None:
    """Saving replaces the file in one move; an interrupted write leaves the old one."""
    torch = pytest.importorskip("torch")
    from models.training.checkpoint import load_checkpoint, save_checkpoint

    path = tmp_path / "work" / "run.pt"
    assert load_checkpoint(path) is None
    save_checkpoint(path, {"step": 1, "weights": torch.ones(3)})
    with pytest.raises(Exception, match="pickle"):
        save_checkpoint(path, {"step": lambda: None})

    state = load_checkpoint(path)
    assert state is not None
    assert 1 == state["step"]


@pytest.mark.train
def test_the_weight_average_returns_the_live_weights() -> None:
    """Inside the block the model holds the average, afterwards the live weights again."""
    torch = pytest.importorskip("torch")
    from models.training.average import WeightAverage

    parameter = torch.nn.Parameter(torch.zeros(2))
    average = WeightAverage([parameter], decay=0.5)
    parameter.data.fill_(8.0)
    average.update(step=100)

    with average.applied():
        assert 4.0 == float(parameter[0])
    assert 8.0 == float(parameter[0])
