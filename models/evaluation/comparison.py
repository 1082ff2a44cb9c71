"""Does an optimisation change the pictures? The same prompts and seeds, drawn in two settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from models.errors import InvalidSetting
from models.evaluation.following import Shares
from models.evaluation.judgement import Pictures
from models.evaluation.likeness import psnr, ssim
from models.evaluation.subject import Setting
from models.runtime import Precision, RuntimeName

#: how far any score may fall, in share of pictures right
LARGEST_FALL = 0.02


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A setting beside a reference: likeness picture by picture, and both scores."""

    reference: Mapping[str, Any]
    psnr: Sequence[float]
    ssim: Sequence[float]
    scores: Shares
    reference_scores: Shares
    seconds_per_image: float
    reference_seconds_per_image: float

    @property
    def changes(self) -> dict[str, float]:
        """Score minus the reference's, by attribute; negative is worse."""
        return {name: share.value - self.reference_scores[name].value for name, share in self.scores.items()}

    @property
    def passed(self) -> bool:
        """No score falls by more than two points."""
        return min(self.changes.values()) >= -LARGEST_FALL - 1e-9

    def as_json(self) -> dict[str, Any]:
        """As a report writes it; a PSNR of null is that of equal pictures."""
        finite = [value for value in self.psnr if np.isfinite(value)]
        return {
            "reference": dict(self.reference),
            "count": len(self.psnr),
            "identical": len(self.psnr) - len(finite),
            "psnr_median": round(float(np.median(finite)), 2) if finite else None,
            "psnr_lowest": round(min(finite), 2) if finite else None,
            "ssim_median": round(float(np.median(self.ssim)), 4),
            "ssim_lowest": round(min(self.ssim), 4),
            "scores": {name: round(share.value, 4) for name, share in self.scores.items()},
            "reference_scores": {
                name: round(share.value, 4) for name, share in self.reference_scores.items()
            },
            "changes": {name: round(change, 4) for name, change in self.changes.items()},
            "seconds_per_image": round(self.seconds_per_image, 4),
            "reference_seconds_per_image": round(self.reference_seconds_per_image, 4),
            "largest_fall_allowed": LARGEST_FALL,
            "passed": self.passed,
        }


def likeness(pictures: Pictures, reference: Pictures) -> tuple[list[float], list[float]]:
    """PSNR in dB and SSIM of each picture with its twin."""
    pairs = list(zip(pictures, reference, strict=True))
    return [psnr(a, b) for a, b in pairs], [ssim(a, b) for a, b in pairs]


def parse_reference(text: str, setting: Setting) -> Setting:
    """A setting that differs from `setting` in what a text says.

    Args:
        text: comma-separated: `runtime:precision` (`torch:fp32`), `runtime=`, `precision=`, `steps=`, `guidance=`,
            `model=FOLDER`, `adapters=none` or `adapters=FOLDER:WEIGHT+FOLDER:WEIGHT`.
        setting: what is evaluated.

    Raises:
        InvalidSetting: a part of the text is none of these.
    """
    for part in filter(None, (part.strip() for part in text.split(","))):
        setting = replace(setting, **_change(part))
    return setting


def parse_adapter(text: str) -> tuple[Path, float]:
    """`FOLDER` or `FOLDER:WEIGHT`; the weight is 1 where none is given."""
    folder, colon, weight = text.rpartition(":")
    if not colon:
        return Path(text), 1.0
    try:
        return Path(folder), float(weight)
    except ValueError as error:
        raise InvalidSetting("adapter", "FOLDER or FOLDER:WEIGHT", text) from error


def _change(part: str) -> dict[str, Any]:
    name, equals, value = part.partition("=")
    if not equals:
        runtime, colon, precision = part.partition(":")
        if not colon:
            raise InvalidSetting("against", "runtime:precision or name=value parts", part)
        return {**_change(f"runtime={runtime}"), **_change(f"precision={precision}")}
    try:
        return {_FIELDS[name]: _READERS[name](value)}
    except (KeyError, ValueError) as error:
        raise InvalidSetting("against", f"made of {', '.join(_READERS)}", part) from error


def _one_of(value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(value)
    return value


_FIELDS = {name: name for name in ("runtime", "precision", "steps", "guidance", "adapters")} | {
    "model": "folder"
}
_READERS: dict[str, Any] = {
    "runtime": lambda value: _one_of(value, get_args(RuntimeName)),
    "precision": lambda value: _one_of(value, get_args(Precision)),
    "steps": int,
    "guidance": float,
    "model": Path,
    "adapters": lambda value: () if value == "none" else tuple(parse_adapter(v) for v in value.split("+")),
}
