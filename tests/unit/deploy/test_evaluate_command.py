"""`aquatint evaluate`: what is asked for is measured, written and said; mistakes get one sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from deploy.commands import evaluate as command
from models.evaluation.evaluation import Counts
from safety.policy import built_in
from schemas.errors import AquatintError, BadSettings, OutOfRange, ScreenMissing, Unsupported

app = typer.Typer()
app.command()(command.evaluate_model)


class Screen:
    """A classifier that gives every picture the same scores."""

    name, version, model_sha256 = "fixed", "1", "0" * 64

    def __init__(self, scores: Mapping[str, float] | None) -> None:
        self.scores = scores
        self.categories = tuple(scores or {"sexual": 0.0})

    def check(self, images: Sequence[Any]) -> list[Mapping[str, float] | None]:
        return [self.scores for _ in images]


def install(patch: pytest.MonkeyPatch, screens: list[Screen]) -> None:
    """As if the settings named these classifiers."""
    parts = SimpleNamespace(image_screens=tuple(screens), policy=built_in("standard"))
    patch.setattr(command, "load_settings", lambda: None)
    patch.setattr(command, "Parts", lambda settings: parts)


def run(*arguments: str) -> Any:
    """The command as typed."""
    return CliRunner().invoke(app, list(arguments))


def test_renders_are_measured_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two prompts of each list: figures as JSON, a page, a summary; what needs a screen says so."""
    pytest.importorskip("skia", reason="the renderer is part of the [train] extra")
    install(monkeypatch, [])
    files = [str(tmp_path / name) for name in ("figures.json", "page.html")]

    result = run(
        "renders", "--count", "2", "--parts", "following,safety", "--json", files[0], "--html", files[1]
    )

    assert 0 == result.exit_code, result.output
    figures = json.loads(Path(files[0]).read_text())
    assert [2, 2, 2] == [figures["following"][name]["count"] for name in ("unseen", "handwritten", "seen")]
    assert {"safety"} == set(figures["skipped"])
    assert Path(files[1]).read_text().startswith("<!doctype html>")
    assert "not measured: safety" in result.output


@pytest.mark.parametrize(
    ("arguments", "error", "word"),
    [
        (("renders", "--runtime", "cuda"), OutOfRange, "onnx"),
        (("renders", "--parts", "beauty"), OutOfRange, "following"),
        (("no/such/model", "--parts", "following"), BadSettings, "aquatint.json"),
        (("renders", "--adapter", "acme:much"), Unsupported, "FOLDER:WEIGHT"),
        (("renders", "--against", "fp4"), Unsupported, "runtime:precision"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    arguments: tuple[str, ...], error: type[AquatintError], word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with what would have been right; never a traceback of ours."""
    install(monkeypatch, [])

    result = run(*arguments)

    assert isinstance(result.exception, error)
    assert word in str(result.exception)


def test_a_comparison_is_made_only_where_one_is_named() -> None:
    """`--against` adds the comparison whatever parts are named; without it nothing says it was skipped."""
    assert ("following", "comparison") == command._parts("following", "torch:fp32")
    assert ("following",) == command._parts("following,comparison", None)


def test_count_cuts_the_lists_and_leaves_the_rest() -> None:
    """A short run draws fewer prompts; a large number changes nothing."""
    assert (5, 5, 5, Counts().training) == (
        command._counts(5).unseen, command._counts(5).gate, command._counts(5).comparison, command._counts(5).training,
    )  # fmt: skip
    assert Counts() == command._counts(10_000) == command._counts(None)


def test_violations_are_what_the_policy_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed classifiers decide under the policy in force: blocked counts, allowed does not."""
    picture = np.zeros((4, 4, 3), np.uint8)
    for score, expected in ((0.999, True), (0.0, False)):
        install(monkeypatch, [Screen({"sexual": 0.0}), Screen({"sexual": score})])
        violates = command._screen()
        assert violates is not None
        assert expected == violates(picture, "a mug")


def test_a_classifier_without_an_answer_ends_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer is not "no violation"."""
    install(monkeypatch, [Screen(None)])
    violates = command._screen()

    assert violates is not None
    with pytest.raises(ScreenMissing, match="fixed"):
        violates(np.zeros((4, 4, 3), np.uint8), "a mug")


def test_without_classifiers_no_rate_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """None installed: the part is left out."""
    install(monkeypatch, [])

    assert command._screen() is None
