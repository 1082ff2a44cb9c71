"""An image classifier in an ONNX file, described by a small JSON card beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from safety.image_screen import Pixels, ScreenFault
from safety.screen_card import ScreenCard
from schemas.errors import ScreenMissing

Vector = NDArray[np.float32]

#: Pictures in one call of the model.
AT_ONCE = 16
_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class ScreenFiles:
    """A classifier as it is kept: the bytes of its model, and its card."""

    model: bytes = field(repr=False)
    card: ScreenCard

    @property
    def model_sha256(self) -> str:
        return hashlib.sha256(self.model).hexdigest()

    def open(self, threads: int = 1) -> OnnxImageScreen:
        """The classifier, self-tested; ScreenMissing when it does not work."""
        name = self.card.name
        try:
            screen = OnnxImageScreen(
                card=self.card, session=run_model(self.model, threads), model_sha256=self.model_sha256
            )
            screen.self_test()
        except Exception as error:  # whatever the runtime raises, the screen is not ready
            raise ScreenMissing(
                f"the image screen {name} does not work: {error}", field="image_screen"
            ) from error
        return screen


class OnnxImageScreen:
    """A classifier run by ONNX Runtime on the CPU; build it with `open_screen`."""

    def __init__(self, *, card: ScreenCard, session: Any, model_sha256: str) -> None:
        self._card, self._session = card, session
        self.name, self.version, self.model_sha256 = card.name, card.version, model_sha256
        self.categories = card.categories

    def self_test(self) -> None:
        """Compares the card's known answers; raises ScreenFault on the first that differs."""
        for number, answer in enumerate(self._card.known_answers, 1):
            found = self.outputs([ramp(answer.left, answer.right, self._card.size)])[0]
            if not np.allclose(
                found, np.asarray(answer.outputs, dtype=np.float32), rtol=0, atol=answer.tolerance
            ):
                raise ScreenFault(f"{self.name}: known answer {number} differs")

    def check(self, images: Sequence[Pixels]) -> list[dict[str, float]]:
        """Scores of each (height, width, 3) picture, in order; NaN where the model's outputs are no probabilities."""
        # In parts, because tiles of large pictures multiply: memory stays bounded, and nothing is lost on a CPU.
        parts = (images[at : at + AT_ONCE] for at in range(0, len(images), AT_ONCE))
        return [self._scores(row) for part in parts for row in self.outputs(part)]

    def _scores(self, row: Vector) -> dict[str, float]:
        scores = dict.fromkeys(self.categories, 0.0)
        for label, value in zip(self._card.labels, row, strict=True):
            if label.category is not None:
                old, new = scores[label.category], float(value) * label.weight
                # Softmax outputs share one unit of mass, so labels of one category add up; sigmoids do not.
                scores[label.category] = max(old, new) if self._card.output == "scores" else old + new
        return {category: min(score, 1.0) for category, score in scores.items()}

    def outputs(self, images: Sequence[Pixels]) -> Vector:
        """What each label scores, one row per picture; a row of NaN where the model gave no probabilities."""
        batch = np.stack([prepare(image, self._card) for image in images])
        (found,) = self._session.run(None, {self._session.get_inputs()[0].name: batch})
        raw = np.asarray(found, dtype=np.float32)
        if raw.shape != (len(images), len(self._card.labels)):
            raise ScreenFault(
                f"{self.name}: output of shape {raw.shape}, expected {(len(images), len(self._card.labels))}"
            )
        values = _ACTIVATIONS[self._card.output](raw)
        usable = (np.isfinite(values) & (values >= -1e-3) & (values <= 1 + 1e-3)).all(axis=1)
        # A picture without a usable answer must not take its neighbours: NaN is what callers refuse.
        return np.where(usable[:, None], np.clip(values, 0, 1), np.float32(np.nan)).astype(np.float32)


def open_screen(model: Path, *, sha256: str, card: Path | None = None, threads: int = 1) -> OnnxImageScreen:
    """Load a classifier after comparing its digest, and run its self-test.

    The card is `model` with the suffix ``.json`` unless given. ScreenMissing, in one sentence, for anything amiss.
    """
    return ScreenFiles(
        model=_read_model(model, sha256), card=_read_card(card or model.with_suffix(".json"))
    ).open(threads)


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


def run_model(data: bytes, threads: int = 1) -> Any:
    """A session of ONNX Runtime on the CPU, from the bytes of a model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    # From the bytes that were hashed: a file swapped after the comparison is not the one that runs.
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def prepare(image: Pixels, card: ScreenCard) -> Vector:
    """One picture as the card wants it: resized, scaled, laid out; float32."""
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
