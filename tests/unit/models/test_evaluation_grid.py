"""The sheet judged by eye shows every product equally often, and nothing selected."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from models.catalogue.world import KINDS
from models.errors import RenderFailed
from models.evaluation.grid import draw_sheet, nth_of_each_kind
from models.evaluation.prompts import unseen_prompts
from models.pipeline import FailedImage, RenderedImage, Shot, Timing


class Recorder:
    """A model that draws flat pictures and remembers what it was asked."""

    def __init__(self, sizes: tuple[tuple[int, int], ...], fails: bool = False) -> None:
        span = SimpleNamespace(default=4)
        self.card = SimpleNamespace(sizes=sizes, steps=span, guidance=SimpleNamespace(default=1.0))
        self.shots: list[Shot] = []
        self.fails = fails

    def render(self, shots: list[Shot]) -> list[Any]:
        self.shots += shots
        if self.fails:
            return [FailedImage(shot=shots[0], error=RenderFailed("no"))]
        pixels = np.full((shots[0].height, shots[0].width, 3), 40, np.uint8)
        seconds = Timing(text=0, denoise=0, decode=0)
        return [RenderedImage(shot=shots[0], pixels=pixels, seconds=seconds, unknown_words=())]


def test_every_product_comes_equally_often() -> None:
    """Two rounds of twenty in the first size, ten a row; then one row of the other sizes."""
    model = Recorder(((16, 16), (20, 12), (12, 20)))

    sheet = draw_sheet(model, rounds=2)  # type: ignore[arg-type]

    assert (4 * 16 + 20, 160, 3) == sheet.shape
    assert 2 * len(KINDS) + 10 == len(model.shots)
    known = {prompt.prompt: prompt.scene.kind for prompt in unseen_prompts()}
    assert [known[shot.prompt] for shot in model.shots[:20]] == list(KINDS)


def test_a_model_of_one_size_has_no_last_row() -> None:
    """Nothing is made up for it."""
    assert (32, 160, 3) == draw_sheet(Recorder(((16, 16),)), rounds=1).shape  # type: ignore[arg-type]


def test_prompts_are_taken_in_the_order_of_the_list() -> None:
    """The first round is the first prompt of each product."""
    first = {}
    for prompt in unseen_prompts():
        first.setdefault(prompt.scene.kind, prompt)

    assert [first[kind] for kind in KINDS] == nth_of_each_kind(0)


def test_a_failed_picture_ends_the_sheet() -> None:
    """A sheet with a hole would look like a choice."""
    with pytest.raises(RenderFailed):
        draw_sheet(Recorder(((16, 16),), fails=True), rounds=1)  # type: ignore[arg-type]
