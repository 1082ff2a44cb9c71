"""Large pictures are looked at whole and in parts."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safety.image_screen import ImageScreen, Pixels, ScreenFault
from safety.screens.tiles import TiledScreen, views_of


class Brightest:
    """Scores a picture by its brightest pixel, and one category by a constant."""

    name, version, model_sha256, categories = "brightest", "1", "a" * 64, ("sexual", "self_harm")

    def __init__(self, answers: int | None = None) -> None:
        self.calls: list[int] = []
        self._answers = answers

    def self_test(self) -> None:
        raise ScreenFault("tested")

    def check(self, images: Sequence[Pixels]) -> Sequence[Mapping[str, float]]:
        self.calls.append(len(images))
        return [{"sexual": float(image.mean()) / 255, "self_harm": 0.25} for image in images][: self._answers]


def black(height: int, width: int) -> np.ndarray:
    return np.zeros((height, width, 3), dtype=np.uint8)


def test_one_call_and_the_highest_score() -> None:
    """A microbatch is one call, in order; a bright corner of a large picture scores as its own quarter does."""
    large, small = black(1400, 1400), black(64, 64)
    large[-200:, -200:] = 255
    screen = Brightest()

    of_large, of_small, again = TiledScreen(screen).check([large, small, large])

    assert screen.calls == [5 + 1 + 5]
    quarter = views_of(large)[-1].mean() / 255
    assert of_large == again == {"self_harm": 0.25, "sexual": pytest.approx(quarter)}
    assert quarter > 3 * large.mean() / 255
    assert of_small == {"self_harm": 0.25, "sexual": 0.0}


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_parts_cover_everything_and_overlap(height: int, width: int) -> None:
    """Up to 1.5 megapixels and 2:1 a picture is looked at once; beyond, every pixel lies in a part, borders in two."""
    view, *parts = views_of(np.broadcast_to(np.uint8(0), (height, width, 3)))
    assert view.shape == (height, width, 3)
    if height * width <= 1_500_000 and max(height, width) < 2 * min(height, width):
        assert parts == []
        return
    assert len(parts) == 4
    rows, columns = {part.shape[0] for part in parts}, {part.shape[1] for part in parts}
    assert len(rows) == len(columns) == 1
    total = sum(part.shape[0] * part.shape[1] for part in parts)
    assert height * width <= total <= 4 * height * width


@pytest.mark.parametrize(("height", "width"), [(1500, 1500), (300, 1800), (1800, 300), (1225, 1225)])
def test_no_pixel_is_missed(height: int, width: int) -> None:
    """The parts, laid back where they were taken from, leave no hole."""
    picture = black(height, width)
    _, *parts = views_of(picture)
    for part in parts:
        np.add(part, 1, out=part)

    assert picture.min() >= 1


def test_a_part_without_an_answer_spoils_the_picture() -> None:
    """NaN about one part is NaN about the picture: the other parts cannot vouch for it."""

    class Unsure(Brightest):
        def check(self, images: Sequence[Pixels]) -> Sequence[Mapping[str, float]]:
            return [
                {"sexual": float("nan") if number == 2 else 1.0, "self_harm": 0.0}
                for number in range(len(images))
            ]

    (scores,) = TiledScreen(Unsure()).check([black(1500, 1500)])
    assert np.isnan(scores["sexual"])


@pytest.mark.parametrize("answers", [0, 4, 6])
def test_the_wrong_number_of_answers_is_a_fault(answers: int) -> None:
    """Answers that cannot be told apart by part are refused."""

    class Wrong(Brightest):
        def check(self, images: Sequence[Pixels]) -> Sequence[Mapping[str, float]]:
            return [{"sexual": 0.0, "self_harm": 0.0}] * answers

    with pytest.raises(ScreenFault):
        TiledScreen(Wrong()).check([black(1500, 1500)])


def test_it_is_the_screen_it_wraps() -> None:
    """Name, version, digest, categories and self-test are the classifier's own."""
    tiled = TiledScreen(Brightest())

    assert isinstance(tiled, ImageScreen)
    assert (tiled.name, tiled.version, tiled.model_sha256) == ("brightest", "1", "a" * 64)
    assert tiled.categories == ("sexual", "self_harm")
    with pytest.raises(ScreenFault, match="tested"):
        tiled.self_test()
