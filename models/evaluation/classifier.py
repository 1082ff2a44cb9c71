"""The meter's eye: a small CNN trained on renders only, run by ONNX Runtime so that scoring needs no torch.

It has seen held-out (kind, colour) pairs in its own training; otherwise it would be biased against exactly what it is
to judge. `python -m models.training.train_meter` makes its file anew in three minutes.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.errors import ModelNotFound
from models.evaluation.judgement import ATTRIBUTES, Judgement

CLASSIFIER_FILE = Path(__file__).with_name("classifier.onnx")
#: pixels a side at which pictures of every shape are judged
JUDGED_SIZE = 64


def classifier_input(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Picture (H, W, 3) squeezed into a square by box averaging; float32 (3, 64, 64) in [-1, 1]."""
    small = Image.fromarray(pixels).resize((JUDGED_SIZE, JUDGED_SIZE), Image.Resampling.BOX)
    return np.asarray(small, np.float32).transpose(2, 0, 1) / 127.5 - 1  # (3, 64, 64)


class Classifier:
    """Names the kind, colour, material, background and layout of a picture."""

    def __init__(self, path: Path = CLASSIFIER_FILE) -> None:
        import onnxruntime

        if not path.exists():
            raise ModelNotFound(
                f"{path}: no classifier, make it with `python -m models.training.train_meter`"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def judge(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> list[Judgement]:
        """Judge pictures (H, W, 3) of any sizes."""
        batch = np.stack([classifier_input(picture) for picture in pictures])  # (B, 3, 64, 64)
        logits = self._session.run(None, {"pictures": batch})[0]  # (B, all classes)
        ends = np.cumsum([len(classes) for classes in ATTRIBUTES.values()])[:-1]
        best = [part.argmax(1) for part in np.split(logits, ends, axis=1)]
        return [
            Judgement(
                {name: ATTRIBUTES[name][column[i]] for name, column in zip(ATTRIBUTES, best, strict=True)}
            )
            for i in range(len(batch))
        ]
