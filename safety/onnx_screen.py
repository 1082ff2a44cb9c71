"""An image classifier in an ONNX file, described by a small JSON card beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, ValidationError, model_validator

from safety import categories as ids
from safety.image_screen import Pixels, ScreenFault
from schemas.base import Frozen
from schemas.errors import ScreenMissing

Vector = NDArray[np.float32]
_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


class Label(Frozen):
    """One output of the classifier and the category it counts for, or none ("neutral")."""

    name: str
    category: str | None = None


class KnownAnswer(Frozen):
    """What the classifier must say about a picture anyone can make: a horizontal ramp between two colours."""

    left: tuple[int, int, int]
    right: tuple[int, int, int]
    outputs: tuple[float, ...]
    tolerance: float = Field(0.01, gt=0, le=0.1)


class ScreenCard(Frozen):
    """How to feed a classifier and how to read it."""

    name: str
    version: str
    licence: str
    #: (height, width) in pixels that the model takes.
    size: tuple[int, int]
    layout: Literal["NHWC", "NCHW"]
    resize: Literal["nearest", "bilinear", "bicubic"] = "bilinear"
    #: A channel value v of 0 to 255 enters as (v / 255 - mean) / std.
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    #: What the model puts out; logits are made probabilities by softmax, scores by sigmoid.
    output: Literal["probabilities", "logits", "scores"]
    labels: tuple[Label, ...] = Field(min_length=2)
    known_answers: tuple[KnownAnswer, ...] = Field(min_length=1)
    #: What is known about how much it finds; shown to the operator.
    recall: str = "unmeasured"

    @model_validator(mode="after")
    def _consistent(self) -> ScreenCard:
        named = [label.category for label in self.labels if label.category is not None]
        unknown = [name for name in named if not ids.is_category(name)]
        if unknown or not named:
            raise ValueError(
                f"{unknown[0]!r} is not a category" if unknown else "no label counts for a category"
            )
        if any(len(answer.outputs) != len(self.labels) for answer in self.known_answers):
            raise ValueError("a known answer has another number of outputs than there are labels")
        if min(self.size) < 1 or min(self.std) <= 0:
            raise ValueError("size and std must be positive")
        return self

    @property
    def categories(self) -> tuple[str, ...]:
        return tuple(sorted({label.category for label in self.labels if label.category is not None}))


class OnnxImageScreen:
    """A classifier run by ONNX Runtime on the CPU; build it with `open_screen`."""

    def __init__(self, *, card: ScreenCard, session: Any, model_sha256: str) -> None:
        self._card, self._session = card, session
        self.name, self.version, self.model_sha256 = card.name, card.version, model_sha256
        self.categories = card.categories

    def self_test(self) -> None:
        """Compares the card's known answers; raises ScreenFault on the first that differs."""
        for number, answer in enumerate(self._card.known_answers, 1):
            found = self._outputs([ramp(answer.left, answer.right, self._card.size)])[0]
            if not np.allclose(
                found, np.asarray(answer.outputs, dtype=np.float32), rtol=0, atol=answer.tolerance
            ):
                raise ScreenFault(f"{self.name}: known answer {number} differs")

    def check(self, images: Sequence[Pixels]) -> list[dict[str, float]]:
        """Scores of each (height, width, 3) picture, in one call of the model."""
        return [self._scores(row) for row in self._outputs(images)] if images else []

    def _scores(self, row: Vector) -> dict[str, float]:
        scores = dict.fromkeys(self.categories, 0.0)
        for label, value in zip(self._card.labels, row, strict=True):
            if label.category is not None:
                # Softmax outputs share one unit of mass, so labels of one category add up; sigmoids do not.
                old = scores[label.category]
                scores[label.category] = (
                    max(old, float(value)) if self._card.output == "scores" else old + float(value)
                )
        return {category: min(score, 1.0) for category, score in scores.items()}

    def _outputs(self, images: Sequence[Pixels]) -> Vector:
        batch = np.stack([_prepare(image, self._card) for image in images])
        (found,) = self._session.run(None, {self._session.get_inputs()[0].name: batch})
        raw = np.asarray(found, dtype=np.float32)
        if raw.shape != (len(images), len(self._card.labels)):
            raise ScreenFault(
                f"{self.name}: output of shape {raw.shape}, expected {(len(images), len(self._card.labels))}"
            )
        values = _ACTIVATIONS[self._card.output](raw)
        if not np.isfinite(values).all() or values.min() < -1e-3 or values.max() > 1 + 1e-3:
            raise ScreenFault(f"{self.name}: outputs are not probabilities")
        return np.asarray(np.clip(values, 0, 1), dtype=np.float32)


def open_screen(model: Path, *, sha256: str, card: Path | None = None, threads: int = 1) -> OnnxImageScreen:
    """Load a classifier after comparing its digest, and run its self-test.

    The card is `model` with the suffix ``.json`` unless given. ScreenMissing, in one sentence, for anything amiss.
    """
    screen_card = _read_card(card or model.with_suffix(".json"))
    data = _read_model(model, sha256)
    try:
        screen = OnnxImageScreen(card=screen_card, session=_session(data, threads), model_sha256=sha256)
        screen.self_test()
    except Exception as error:  # whatever the runtime raises, the screen is not ready
        raise ScreenMissing(
            f"the image screen {model.name} does not work: {error}", field="image_screen"
        ) from error
    return screen


def ramp(left: tuple[int, int, int], right: tuple[int, int, int], size: tuple[int, int]) -> Pixels:
    """A picture that goes from one colour to the other, rounded half to even, without randomness."""
    height, width = size
    position = np.linspace(0, 1, width)[None, :, None]
    start, end = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    line = np.rint(start * (1 - position) + end * position).astype(np.uint8)
    return np.repeat(line, height, axis=0)


def _read_card(path: Path) -> ScreenCard:
    try:
        return ScreenCard.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ScreenMissing(
            f"the card {path} of the image screen cannot be read", field="image_screen"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "it"
        raise ScreenMissing(
            f"the card {path.name} is wrong: {place}: {first['msg']}", field="image_screen"
        ) from error


def _read_model(path: Path, sha256: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ScreenMissing(f"the image screen {path} cannot be read", field="image_screen") from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256.lower():
        raise ScreenMissing(
            f"{path.name} has the digest {found}, not the configured one", field="image_screen", limit=sha256
        )
    return data


def _session(data: bytes, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    # From the bytes that were hashed: a file swapped after the comparison is not the one that runs.
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _prepare(image: Pixels, card: ScreenCard) -> Vector:
    height, width = card.size
    resized = Image.fromarray(image).resize((width, height), _FILTERS[card.resize])
    mean, std = np.asarray(card.mean, dtype=np.float32), np.asarray(card.std, dtype=np.float32)
    scaled = (np.asarray(resized, dtype=np.float32) / 255 - mean) / std
    return np.asarray(scaled if card.layout == "NHWC" else scaled.transpose(2, 0, 1), dtype=np.float32)


def _softmax(logits: Vector) -> Vector:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


def _sigmoid(logits: Vector) -> Vector:
    return np.asarray(0.5 * (1 + np.tanh(logits / 2)), dtype=np.float32)


_ACTIVATIONS: Mapping[str, Any] = {
    "probabilities": lambda values: values,
    "logits": _softmax,
    "scores": _sigmoid,
}
