"""Likeness of two pictures and of their outlines."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from models.evaluation.contours import best_shift, contour_overlap, edge_energy, outline, shift, widen
from models.evaluation.likeness import psnr, ssim


def checks(size: int = 48, period: int = 12, offset: int = 0) -> np.ndarray:
    """A coloured chequer, moved by `offset` pixels."""
    y, x = np.mgrid[:size, :size] + offset
    light = ((y // period + x // period) % 2)[..., None]
    return np.where(light, np.array([200, 120, 60]), np.array([40, 50, 90])).astype(np.uint8)


def test_psnr_by_hand() -> None:
    """Everywhere off by 5 levels: 10 log10(255^2 / 25); equal pictures: infinite."""
    picture = checks()

    assert psnr(picture, picture + 5) == pytest.approx(10 * np.log10(255**2 / 25))
    assert np.inf == psnr(picture, picture)


def test_psnr_does_not_wrap_round_at_zero() -> None:
    """Bytes are not subtracted as bytes."""
    assert psnr(np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)) == pytest.approx(0)


def plain_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004, equation 13, window by window."""
    weights = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(weights, weights) / weights.sum() ** 2
    luma = np.array([0.299, 0.587, 0.114])
    x, y, values = a @ luma, b @ luma, []
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            p, q = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            mp, mq = (window * p).sum(), (window * q).sum()
            vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
            cov = (window * (p - mp) * (q - mq)).sum()
            c1, c2 = 6.5025, 58.5225
            values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return float(np.mean(values))


def test_ssim_is_the_papers() -> None:
    """The same as the definition taken window by window; 1 for equal pictures; falls as noise grows."""
    rng, picture = np.random.default_rng(0), checks(24, 5)
    spoilt = [(picture + rng.normal(0, s, picture.shape)).clip(0, 255).astype(np.uint8) for s in (5, 20, 60)]

    for other in spoilt:
        assert ssim(picture, other) == pytest.approx(plain_ssim(picture, other), rel=1e-9)
    assert ssim(picture, picture) == pytest.approx(1)
    assert [ssim(picture, p) for p in spoilt] == sorted((ssim(picture, p) for p in spoilt), reverse=True)


def disc(centre: tuple[int, int], radius: int, size: int = 96) -> np.ndarray:
    """A red disc on light gray."""
    y, x = np.mgrid[:size, :size]
    inside = (((y - centre[0]) ** 2 + (x - centre[1]) ** 2) < radius**2)[..., None]
    return np.where(inside, np.array([200, 40, 40]), np.array([225, 225, 225])).astype(np.uint8)


def test_an_outline_agrees_with_itself_and_with_itself_moved() -> None:
    """Where a product stands is not what this judges."""
    here, moved = outline(disc((48, 48), 24)), outline(disc((52, 43), 24))

    assert contour_overlap(here, here) == pytest.approx(1)
    assert contour_overlap(here, moved) > 0.97


def test_another_shape_agrees_less() -> None:
    """A lump on the outline costs, a wholly different outline costs more."""
    whole, square = disc((48, 48), 24), np.full((96, 96, 3), 225, np.uint8)
    square[20:76, 38:58] = (200, 40, 40)
    lumpy = whole.copy()
    lumpy[20:40, 60:80] = (200, 40, 40)
    reference = outline(whole)

    overlaps = [contour_overlap(outline(picture), reference) for picture in (whole, lumpy, square)]

    assert overlaps == sorted(overlaps, reverse=True)
    assert overlaps[1] < 0.95
    assert overlaps[2] < 0.6


def test_pictures_without_edges() -> None:
    """Two blank pictures agree; a blank and a drawn one do not."""
    blank, drawn = np.zeros((32, 32), bool), outline(disc((16, 16), 8, 32))

    assert 1.0 == contour_overlap(blank, blank)
    assert 0.0 == contour_overlap(blank, drawn) == contour_overlap(drawn, blank)


@pytest.mark.parametrize("move", [(0, 0), (3, -2), (-4, 4), (5, 0)])
def test_the_best_shift_is_found(move: tuple[int, int]) -> None:
    """A pattern moved by so much is moved back by as much, and never by more than allowed."""
    marks = np.random.default_rng(0).random((40, 50)) < 0.1
    marks[:8] = marks[-8:] = False
    marks[:, :8] = marks[:, -8:] = False

    assert (-move[0], -move[1]) == best_shift(marks, shift(marks, *move), 6)


def test_widening_covers_the_neighbourhood() -> None:
    """One mark becomes a square around it, cut off at the border."""
    marks = np.zeros((6, 6), bool)
    marks[0, 2] = True

    assert 6 == widen(marks, 1).sum()
    assert widen(marks, 1)[:2, 1:4].all()


def test_edge_energy_falls_as_a_picture_softens() -> None:
    """Blur takes edges away; a flat picture has none."""
    sharp = checks()
    soft = [np.asarray(Image.fromarray(sharp).filter(ImageFilter.GaussianBlur(r))) for r in (0.5, 1, 2)]

    energies = [edge_energy(picture) for picture in (sharp, *soft)]

    assert energies == sorted(energies, reverse=True)
    assert 0 == edge_energy(np.full((8, 8, 3), 77, np.uint8))
