"""The meter's eye: a small CNN trained on renders only, run by ONNX Runtime so that scoring needs no torch.

It has seen held-out (kind, colour) pairs in its own training; otherwise it would be biased against exactly what it is
to judge. `python -m models.training.train_meter` makes its file anew in a few minutes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.card import file_sha256
from models.errors import ModelNotFound
from models.evaluation.distances import Floats
from models.evaluation.judgement import ATTRIBUTES, Judgement, Pictures, Pixels

CLASSIFIER_FILE = Path(__file__).with_name("classifier.onnx")
#: pixels a side at which pictures of every shape are judged: the starter model's own size, so that no texture is lost
JUDGED_SIZE = 128
_BATCH = 32


def squared(pixels: Pixels) -> Pixels:
    """Picture (H, W, 3) squeezed into the square that is judged; uint8 (128, 128, 3)."""
    if pixels.shape[:2] == (JUDGED_SIZE, JUDGED_SIZE):
        return pixels
    picture = Image.fromarray(pixels)
    return np.asarray(picture.resize((JUDGED_SIZE, JUDGED_SIZE), Image.Resampling.BILINEAR))


def classifier_input(pixels: Pixels) -> npt.NDArray[np.float32]:
    """Picture (H, W, 3) as the net takes it; float32 (3, 128, 128) in [-1, 1]."""
    return squared(pixels).astype(np.float32).transpose(2, 0, 1) / 127.5 - 1  # (3, 128, 128)


@dataclass(frozen=True)
class Look:
    """What the net made of N pictures: judgements, standardised features (N, F), probabilities of the kinds (N, kinds)."""

    judgements: list[Judgement]
    features: Floats
    kinds: Floats


class Classifier:
    """Names what a picture shows, attribute by attribute, and gives the features it saw it by."""

    def __init__(self, path: Path = CLASSIFIER_FILE) -> None:
        import onnxruntime

        if not path.exists():
            raise ModelNotFound(
                f"{path}: no classifier, make it with `python -m models.training.train_meter`"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.digest = file_sha256(path)

    def judge(self, pictures: Pictures) -> list[Judgement]:
        """Judge pictures (H, W, 3) of any sizes."""
        return self.look(pictures).judgements

    def features(self, pictures: Pictures) -> Floats:
        """Features (N, F), standardised over renders: texture statistics first, then the embedding of the whole."""
        return self.look(pictures).features

    def look(self, pictures: Pictures) -> Look:
        """All it sees in one pass; at least one picture."""
        parts = [self._run(part) for part in _batches(pictures)]
        logits, features = (np.concatenate(column).astype(np.float64) for column in zip(*parts, strict=True))
        ends = np.cumsum([len(classes) for classes in ATTRIBUTES.values()])[:-1]
        by_attribute = dict(zip(ATTRIBUTES, np.split(logits, ends, axis=1), strict=True))
        return Look(_name_classes(by_attribute), features, _softmax(by_attribute["kind"]))

    def _run(self, pictures: Sequence[Pixels]) -> tuple[Floats, Floats]:
        batch = np.stack([classifier_input(picture) for picture in pictures])  # (B, 3, 128, 128)
        logits, features = self._session.run(["logits", "features"], {"pictures": batch})
        return logits, features  # (B, classes), (B, F)


def _name_classes(logits: Mapping[str, Floats]) -> list[Judgement]:
    best = {name: part.argmax(1) for name, part in logits.items()}
    return [
        Judgement({name: ATTRIBUTES[name][column[i]] for name, column in best.items()})
        for i in range(len(best["kind"]))
    ]


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def _batches(pictures: Pictures) -> Iterator[Sequence[Pixels]]:
    for start in range(0, len(pictures), _BATCH):
        yield pictures[start : start + _BATCH]
