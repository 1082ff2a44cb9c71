"""ONNX classifiers: loaded by digest, tested at start, read by their card."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from safety.image_screen import ImageScreen, ScreenFault, checked_scores
from safety.onnx_screen import open_screen, ramp
from safety.output_screen import OutputScreen
from safety.policy import STANDARD
from schemas.errors import ScreenMissing
from schemas.render_spec import RenderSpec
from schemas.verdict import Decision


@pytest.fixture(scope="module")
def tiny() -> ModuleType:
    path = Path(__file__).parents[2] / "fixtures" / "safety" / "make_tiny_classifier.py"
    spec = importlib.util.spec_from_file_location("make_tiny_classifier", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault("make_tiny_classifier", module)
    spec.loader.exec_module(module)
    return module


RED, GREEN, BLUE = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


def plain(colour: tuple[int, int, int], height: int = 20, width: int = 30) -> np.ndarray:
    return np.full((height, width, 3), colour, dtype=np.uint8)


def test_scores_per_category(tiny: ModuleType, tmp_path: Path) -> None:
    """Labels count for their categories, the neutral one for none; one call answers about several sizes in order."""
    path, sha256 = tiny.write_screen(tmp_path)
    screen = open_screen(path, sha256=sha256)

    red, green, blue = screen.check([plain(RED), plain(GREEN, 64, 8), plain(BLUE)])

    assert isinstance(screen, ImageScreen)
    assert screen.categories == ("sexual", "violence_graphic")
    assert red["sexual"] > 0.99 > 0.01 > red["violence_graphic"]
    assert green["violence_graphic"] > 0.99
    assert max(blue.values()) < 0.01
    assert screen.check([]) == []


def test_a_real_classifier_decides(tiny: ModuleType, tmp_path: Path) -> None:
    """From file to verdict: what the classifier finds is blocked, its digest stands in the verdict."""
    path, sha256 = tiny.write_screen(tmp_path)
    screen = OutputScreen(policy=STANDARD, screens=[open_screen(path, sha256=sha256)], domain="open")
    spec = RenderSpec(
        model="m", model_digest="b" * 64, prompt="a mug", seed=1, width=64, height=64, steps=8, guidance=1,
        policy_digest=STANDARD.digest,
    )  # fmt: skip

    reddish, bluish = ramp((200, 0, 0), (255, 0, 0), (64, 64)), ramp((0, 0, 200), (0, 0, 255), (64, 64))
    blocked, allowed = screen.check([reddish, bluish], [spec, spec])

    assert (blocked.decision, allowed.decision) == (Decision.BLOCK, Decision.ALLOW)
    assert sha256 in {check.model_sha256 for check in allowed.checks}


def test_labels_of_one_category_add_up(tiny: ModuleType, tmp_path: Path) -> None:
    """Two softmax labels of one category share its probability."""
    labels = [
        {"name": "red", "category": "sexual"},
        {"name": "green", "category": "sexual"},
        {"name": "blue"},
    ]
    path, sha256 = tiny.write_screen(tmp_path, labels=labels)

    (half_half,) = open_screen(path, sha256=sha256).check([plain((255, 255, 0))])

    assert half_half["sexual"] > 0.99


def test_sigmoid_scores(tiny: ModuleType, tmp_path: Path) -> None:
    """Independent labels go through a sigmoid, and the highest of a category counts."""
    answers = [{"left": RED, "right": RED, "outputs": [1 / (1 + np.exp(-tiny.GAIN)), 0.5, 0.5]}]
    path, sha256 = tiny.write_screen(tmp_path, output="scores", known_answers=answers)

    (scores,) = open_screen(path, sha256=sha256).check([plain(GREEN)])

    assert scores == pytest.approx({"sexual": 0.5, "violence_graphic": 1.0}, abs=0.001)


def test_normalisation_and_layout(tiny: ModuleType, tmp_path: Path) -> None:
    """Mean and deviation of the card are applied before the model sees the picture."""
    centred = np.exp([tiny.GAIN, -tiny.GAIN, -tiny.GAIN]) / np.exp([tiny.GAIN, -tiny.GAIN, -tiny.GAIN]).sum()
    answers = [{"left": RED, "right": RED, "outputs": centred.tolist()}]
    path, sha256 = tiny.write_screen(tmp_path, mean=[0.5] * 3, std=[0.5] * 3, known_answers=answers)

    open_screen(path, sha256=sha256).self_test()


def test_another_file_is_refused(tiny: ModuleType, tmp_path: Path) -> None:
    """A model whose digest differs from the configured one is never run."""
    path, sha256 = tiny.write_screen(tmp_path)
    path.write_bytes(tiny.tiny_model(bias=1.0))

    with pytest.raises(ScreenMissing, match="digest"):
        open_screen(path, sha256=sha256)


@pytest.mark.parametrize(
    "card",
    [
        {"labels": [{"name": "red", "category": "nonsense"}, {"name": "green"}, {"name": "blue"}]},
        {"labels": [{"name": "red"}, {"name": "green"}, {"name": "blue"}]},
        {"labels": [{"name": "red", "category": "sexual"}, {"name": "blue"}]},
        {"known_answers": []},
        {"known_answers": [{"left": RED, "right": RED, "outputs": [0.2, 0.3, 0.5]}]},
        {"size": [0, 8]},
        {"std": [1, 1, 0]},
        {"surprise": 1},
        {"layout": "NCHW"},
        {"size": [4, 4]},
    ],
    ids=str,
)
def test_a_wrong_card_is_refused(card: dict[str, object], tiny: ModuleType, tmp_path: Path) -> None:
    """A card with an unknown category, wrong shapes or wrong known answers is a screen that is not there."""
    path, sha256 = tiny.write_screen(tmp_path, **card)

    with pytest.raises(ScreenMissing):
        open_screen(path, sha256=sha256)


def test_missing_files(tiny: ModuleType, tmp_path: Path) -> None:
    """No model, no card, or bytes that are no model: one sentence each."""
    path, sha256 = tiny.write_screen(tmp_path)
    with pytest.raises(ScreenMissing, match="cannot be read"):
        open_screen(tmp_path / "other.onnx", sha256=sha256, card=path.with_suffix(".json"))
    with pytest.raises(ScreenMissing, match="card"):
        open_screen(path, sha256=sha256, card=tmp_path / "other.json")
    path, sha256 = tiny.write_screen(tmp_path, model=b"not a model")
    with pytest.raises(ScreenMissing, match="does not work"):
        open_screen(path, sha256=sha256)


@pytest.mark.parametrize("model", [{"bias": float("nan")}, {"outputs": 2}, {"outputs": 5}], ids=str)
def test_models_that_answer_wrongly(model: dict[str, float], tiny: ModuleType, tmp_path: Path) -> None:
    """NaN and another number of outputs than the card has labels fail the self-test."""
    path, sha256 = tiny.write_screen(tmp_path, model=tiny.tiny_model(**model))

    with pytest.raises(ScreenMissing):
        open_screen(path, sha256=sha256)


def test_the_ramp_is_exact() -> None:
    """The known-answer picture is the same everywhere."""
    picture = ramp((0, 0, 0), (255, 128, 0), (2, 3))

    assert picture.tolist() == [[[0, 0, 0], [128, 64, 0], [255, 128, 0]]] * 2


@pytest.mark.parametrize(
    "answer",
    [
        {"sexual": float("nan")},
        {"sexual": 1.5},
        {"sexual": -0.1},
        {},
        {"sexual": 0.1, "surprise": 0.1},
        {"nonsense": 0.1},
        None,
        0.5,
    ],
    ids=str,
)
def test_unusable_scores(answer: object) -> None:
    """NaN, out of range, missing and unknown categories are no scores; the neighbour's stay."""
    assert checked_scores([answer, {"sexual": 0.2}], 2, ["sexual"]) == [None, {"sexual": 0.2}]


@pytest.mark.parametrize("answer", [None, [], [{"sexual": 0.1}] * 3])
def test_the_wrong_number_of_answers(answer: object) -> None:
    """Answers that cannot be told apart by picture are refused as a whole."""
    with pytest.raises(ScreenFault):
        checked_scores(answer, 2, ["sexual"])
