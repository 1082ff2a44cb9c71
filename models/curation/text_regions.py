"""Where there is text in a picture: labels stay in it, but are left out of the loss."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from models.curation.buckets import Box
from models.curation.decode import Pixels
from models.curation.settings import TextSettings
from models.errors import ModelNotFound, RuntimeMissing

#: text is looked for at no more than this many pixels on the longer side; a watermark is larger than a pixel
READ_SIDE = 1280
#: different characters that make a text: round things are read as "O", wheels as "0000"
MIN_CHARACTERS = 2
#: a text of fewer characters is believed only up to this share of the picture's shorter side: a guitar is read as "10"
SHORT_TEXT, SHORT_TEXT_HEIGHT = 4, 0.25


class TextReader(Protocol):
    """Finds text; survives pickling where there is more than one process."""

    def boxes(self, pixels: Pixels) -> list[Box]:
        """Boxes around the text that is surely text, in pixels of the picture (H, W, 3)."""
        ...


def text_area(boxes: Sequence[Box], width: int, height: int) -> float:
    """Share of the picture that lies in any of the boxes."""
    covered = np.zeros((height, width), np.bool_)
    for left, top, right, bottom in boxes:
        covered[top:bottom, left:right] = True
    return float(covered.mean())


@dataclass(frozen=True)
class RapidReader:
    """RapidOCR's detector and recogniser on ONNX Runtime; its models come with the package or as local files."""

    engine: Callable[[Pixels], Any]
    min_score: float
    margin: float

    def boxes(self, pixels: Pixels) -> list[Box]:
        result = self.engine(np.ascontiguousarray(pixels[:, :, ::-1]))  # the engine thinks in BGR
        if result is None or result.boxes is None:
            return []
        height, width = pixels.shape[:2]
        found = zip(result.boxes, result.scores or (), result.txts or (), strict=False)
        return [
            _grown(corners, self.margin, width, height)
            for corners, score, text in found
            if score >= self.min_score and is_text(text, corners, min(width, height))
        ]


def is_text(text: str, corners: Any, shorter_side: int) -> bool:
    """Whether what was read is likely to be text rather than a thing that looks like a letter."""
    characters = [character for character in text if character.isalnum()]
    if len({*characters}) < MIN_CHARACTERS:
        return False
    height = float(np.ptp(np.asarray(corners, np.float64), axis=0).min())
    return len(characters) >= SHORT_TEXT or height <= SHORT_TEXT_HEIGHT * shorter_side


@dataclass(frozen=True)
class ReaderHere:
    """Survives pickling: opens RapidOCR in whichever process it is used, once."""

    settings: TextSettings

    def boxes(self, pixels: Pixels) -> list[Box]:
        return open_reader(self.settings).boxes(pixels)


def _grown(corners: Any, margin: float, width: int, height: int) -> Box:
    """The upright box around four corners, grown, inside the picture."""
    points = np.asarray(corners, np.float64)
    (left, top), (right, bottom) = points.min(0), points.max(0)
    more = margin * min(right - left, bottom - top)
    return (
        max(0, math.floor(left - more)),
        max(0, math.floor(top - more)),
        min(width, math.ceil(right + more)),
        min(height, math.ceil(bottom + more)),
    )


@lru_cache(maxsize=1)
def open_reader(settings: TextSettings) -> RapidReader:
    """The reader of this process; raises RuntimeMissing or ModelNotFound saying what to install or to point to.

    Never downloads anything.
    """
    try:
        import rapidocr
    except ImportError as error:
        raise RuntimeMissing(
            f"text regions need the [train] extra ({error.name} is missing): pip install 'aquatint[train]'"
        ) from None
    models = _model_files(settings, Path(rapidocr.__file__).parent / "models")
    logging.getLogger("RapidOCR").setLevel(logging.ERROR)
    params = {
        "Global.log_level": "error",
        # Small pictures are not enlarged first: that finds nothing more and takes three times as long.
        "Det.limit_type": "max",
        "Det.limit_side_len": READ_SIDE,
        "Global.use_cls": False,  # upside-down text is text as well
        "EngineConfig.onnxruntime.intra_op_num_threads": 1,
        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        "Det.model_path": str(models[0]),
        "Rec.model_path": str(models[1]),
    }
    return RapidReader(
        engine=rapidocr.RapidOCR(params=params), min_score=settings.min_score, margin=settings.margin
    )


def _model_files(settings: TextSettings, folder: Path) -> tuple[Path, Path]:
    found = []
    for given, kind in ((settings.detection_model, "det"), (settings.recognition_model, "rec")):
        path = given or next(iter(sorted(folder.glob(f"*_{kind}_*.onnx"))), folder / f"{kind}.onnx")
        if not path.is_file():
            raise ModelNotFound(
                f"{path}: rapidocr's {kind} model is not there; name local files in text.detection_model and text.recognition_model"
            )
        found.append(path)
    return found[0], found[1]
