"""Comparing two settings: how a reference is named, and when an optimisation passes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.errors import InvalidSetting
from models.evaluation.comparison import Comparison, likeness, parse_adapter, parse_reference
from models.evaluation.intervals import wilson_share
from models.evaluation.subject import Setting

SETTING = Setting(folder=Path("models/starter"), steps=4, adapters=((Path("acme"), 0.8),))


def test_a_reference_is_the_same_setting_but_for_what_is_named() -> None:
    """`torch:fp32` changes runtime and precision and leaves steps and adapters."""
    reference = parse_reference("torch:fp32", SETTING)

    assert ("torch", "fp32") == (reference.runtime, reference.precision)
    assert (4, SETTING.adapters, SETTING.folder) == (reference.steps, reference.adapters, reference.folder)


def test_every_part_of_a_setting_can_be_named() -> None:
    """Several parts are separated by commas; adapters by plus signs."""
    reference = parse_reference("precision=fp32, steps=20,guidance=1.5,model=other,adapters=a:0.5+b", SETTING)

    assert Setting(
        folder=Path("other"), precision="fp32", steps=20, guidance=1.5, adapters=((Path("a"), 0.5), (Path("b"), 1.0)),
    ) == reference  # fmt: skip
    assert () == parse_reference("adapters=none", SETTING).adapters


@pytest.mark.parametrize(
    "text", ["nonsense", "runtime=cuda", "steps=many", "tensorrt:fp8", "colour=red", "adapters=a:b"]
)
def test_what_names_no_setting_is_refused(text: str) -> None:
    """With what was written and what could have been."""
    with pytest.raises(InvalidSetting) as refused:
        parse_reference(text, SETTING)

    assert refused.value.limit


def test_adapter_weights() -> None:
    """Without a weight it is 1."""
    assert [(Path("x/acme"), 1.0), (Path("x/acme"), 0.25)] == [
        parse_adapter("x/acme"),
        parse_adapter("x/acme:0.25"),
    ]


def comparison(right: int, reference: int, material: int = 90) -> Comparison:
    """Two sets of scores out of 100."""
    return Comparison(
        reference={"name": "starter"}, psnr=[30.0, np.inf, 20.0], ssim=[0.9, 1.0, 0.8],
        scores={"joint": wilson_share(right, 100), "material": wilson_share(material, 100)},
        reference_scores={"joint": wilson_share(reference, 100), "material": wilson_share(90, 100)},
        seconds_per_image=0.01, reference_seconds_per_image=0.02,
    )  # fmt: skip


@pytest.mark.parametrize(("right", "passed"), [(95, True), (93, True), (92, False), (99, True)])
def test_two_points_may_be_lost_and_no_more(right: int, passed: bool) -> None:
    """Against 95 of 100: 93 passes, 92 does not; being better always passes."""
    assert passed == comparison(right, 95).passed


def test_the_worst_score_decides() -> None:
    """A better joint score does not pay for a lost material."""
    assert not comparison(99, 95, material=80).passed


def test_equal_pictures_do_not_spoil_the_figures() -> None:
    """An infinite PSNR is counted as identical and kept out of the median, so that the report stays valid JSON."""
    figures = comparison(95, 95).as_json()

    assert (1, 25.0, 20.0, 0.9, 0.8) == (
        figures["identical"], figures["psnr_median"], figures["psnr_lowest"], figures["ssim_median"], figures["ssim_lowest"],
    )  # fmt: skip


def test_likeness_goes_pair_by_pair() -> None:
    """Each picture is laid beside its own twin."""
    pictures = [np.full((16, 16, 3), level, np.uint8) for level in (10, 200)]

    decibels, similarities = likeness(pictures, [pictures[0], pictures[0]])

    assert np.isinf(decibels[0])
    assert decibels[1] < 10
    assert similarities[0] == pytest.approx(1)
