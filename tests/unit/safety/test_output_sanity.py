"""Pictures that are none: typed reasons."""

import numpy as np
import pytest

from safety.output_sanity import inspect

RNG = np.random.default_rng(7)
GOOD = RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8)


def spotted(pixels: int) -> np.ndarray:
    """A grey picture of 200 x 200 with a few black pixels."""
    picture = np.full((200, 200, 3), 128, dtype=np.uint8)
    picture[0, :pixels] = 0
    return picture


def test_a_picture_passes() -> None:
    """An ordinary picture has no fault."""
    assert inspect(GOOD, width=64, height=48) == ()


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (None, "output.not_an_array"),
        ([[1, 2, 3]], "output.not_an_array"),
        (np.full((48, 64, 3), np.nan, dtype=np.float32), "output.not_finite"),
        (np.where(GOOD == GOOD[0, 0, 0], np.inf, GOOD / 255), "output.not_finite"),
        (GOOD.astype(np.float32) / 255, "output.wrong_dtype"),
        (GOOD.astype(np.int64), "output.wrong_dtype"),
        (GOOD[:, :, 0], "output.wrong_shape"),
        (GOOD[None], "output.wrong_shape"),
        (np.concatenate([GOOD, GOOD[:, :, :1]], axis=2), "output.wrong_shape"),
        (GOOD[:-1], "output.wrong_size"),
        (GOOD.transpose(1, 0, 2), "output.wrong_size"),
        (np.zeros((48, 64, 3), dtype=np.uint8), "output.blank"),
        (np.full((48, 64, 3), 255, dtype=np.uint8), "output.blank"),
        (128 + GOOD % 4, "output.near_constant"),
    ],
)
def test_faults(pixels: object, reason: str) -> None:
    """Each kind of broken picture has its own reason code."""
    assert inspect(pixels, width=64, height=48) == (reason,)


def test_little_content_is_content() -> None:
    """A small object on a plain ground is a picture; a few stray pixels are not."""
    assert inspect(spotted(100), width=200, height=200) == ()
    assert inspect(spotted(5), width=200, height=200) == ("output.near_constant",)


def test_a_white_object_on_white_is_a_picture() -> None:
    """Faint shading over a good part of the picture is enough."""
    picture = np.full((128, 128, 3), 244, dtype=np.uint8)
    picture[40:80, 40:80] = np.linspace(220, 242, 40, dtype=np.uint8)[:, None, None]

    assert inspect(picture, width=128, height=128) == ()
