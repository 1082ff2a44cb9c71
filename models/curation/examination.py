"""Fifth step: what remains is looked at closely, for text in the picture and for captions that do not belong to it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass

import numpy as np
from PIL import Image

from models.curation.buckets import Box
from models.curation.decode import Pixels, decode
from models.curation.encoders import Cut, Encoder, chosen_cut, open_encoder, wants_clip
from models.curation.index import Item
from models.curation.inspection import read_picture
from models.curation.outliers import knows, limits
from models.curation.places import Place
from models.curation.pool import Crashed
from models.curation.reasons import Reason, Refused
from models.curation.run import Run
from models.curation.settings import ReadSettings
from models.curation.text_regions import READ_SIDE, ReaderHere, TextReader, open_reader, text_area
from models.errors import ModelUnusable

STEP, CUT_STEP = "examine", "outliers"
#: pictures that are shown to the encoder, and committed, together
BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What a worker saw: a refusal, or text boxes and the picture at the encoder's size."""

    reason: Reason | None = None
    detail: str = ""
    boxes: tuple[Box, ...] = ()
    text_area: float = 0.0
    small: Pixels | None = None


@dataclass(frozen=True, kw_only=True)
class Examiner:
    """Looks at one item; runs in any process."""

    place: Place
    read: ReadSettings
    reader: TextReader | None
    #: shorter side of the picture that the encoder wants to see
    side: int | None

    def __call__(self, item: Item) -> Looked:
        try:
            data = read_picture(self.place, item.piece, self.read.max_bytes)
            pixels = decode(data, item.name, self.read).pixels
        except Refused as refused:
            return Looked(reason=Reason.SOURCE_CHANGED, detail=str(refused))
        boxes = () if self.reader is None else _read(self.reader, pixels)
        area = text_area(boxes, pixels.shape[1], pixels.shape[0]) if boxes else 0.0
        small = None if self.side is None else _with_shorter_side(pixels, self.side)
        return Looked(boxes=boxes, text_area=area, small=small)


def _read(reader: TextReader, pixels: Pixels) -> tuple[Box, ...]:
    """Boxes in pixels of the whole picture."""
    height, width = pixels.shape[:2]
    scale = max(1.0, max(width, height) / READ_SIDE)
    if scale > 1:
        pixels = _resized(pixels, round(width / scale), round(height / scale))
    return tuple(
        (
            math.floor(left * scale),
            math.floor(top * scale),
            min(width, math.ceil(right * scale)),
            min(height, math.ceil(bottom * scale)),
        )
        for left, top, right, bottom in reader.boxes(pixels)
    )


def _with_shorter_side(pixels: Pixels, side: int) -> Pixels:
    height, width = pixels.shape[:2]
    scale = side / min(height, width)
    return pixels if scale >= 1 else _resized(pixels, round(width * scale), round(height * scale))


def _resized(pixels: Pixels, width: int, height: int) -> Pixels:
    picture = Image.fromarray(pixels).resize((max(1, width), max(1, height)), Image.Resampling.BOX)
    return np.asarray(picture, np.uint8)


def examine_items(run: Run) -> None:
    """Text and scores of every item that is still in; what cannot run says so in the report."""
    with run.step(STEP) as needed:
        if not needed:
            return
        encoder, reader = _encoder(run), _reader(run)
        if encoder is not None:
            run.index.set_fact("encoder", encoder.name)
            run.index.set_fact("cut", asdict(chosen_cut(run.settings.outliers, encoder)))
        if encoder is None and reader is None:
            return
        total = run.index.one("SELECT count(*) FROM item WHERE reason IS NULL")
        done = run.index.one("SELECT count(*) FROM item WHERE reason IS NULL AND step = 'examined'")
        examiner = Examiner(
            place=run.source.place,
            read=run.settings.read,
            reader=reader,
            side=None if encoder is None else encoder.side,
        )
        batch: list[tuple[Item, Looked]] = []
        for item, result in run.pool.map(examiner, run.index.items("reason IS NULL AND step = 'inspected'")):
            looked = Looked(reason=Reason.DECODER_CRASHED) if isinstance(result, Crashed) else result
            batch.append((item, looked))
            done += 1
            if len(batch) >= BATCH:
                _record(run, encoder, batch)
                batch = []
            run.at(STEP, done, total)
        _record(run, encoder, batch)


def _encoder(run: Run) -> Encoder | None:
    if run.tools.encoder is not None:
        return run.tools.encoder
    if run.settings.outliers.encoder == "none":
        run.note(CUT_STEP, "Not checked whether captions belong to their pictures: switched off.")
        return None
    try:
        return open_encoder(run.settings.outliers)
    except ModelUnusable as error:
        if run.settings.outliers.encoder != "auto" or wants_clip(run.settings.outliers):
            raise
        run.note(CUT_STEP, f"Not checked whether captions belong to their pictures: {error}.")
        return None


def _reader(run: Run) -> TextReader | None:
    if run.tools.reader is not None:
        return run.tools.reader
    if run.settings.text.reader == "none":
        run.note("text", "Text in pictures was not looked for: switched off.")
        return None
    try:
        open_reader(run.settings.text)
    except ModelUnusable as error:
        if run.settings.text.reader != "auto":
            raise
        run.note("text", f"Text in pictures was not looked for: {error}.")
        return None
    return ReaderHere(run.settings.text)


def _record(run: Run, encoder: Encoder | None, batch: list[tuple[Item, Looked]]) -> None:
    scores = _scores(encoder, batch)
    with run.index.transaction():
        for item, looked in batch:
            if looked.reason is not None:
                run.index.drop(item.id, looked.reason, looked.detail)
            elif looked.text_area > run.settings.text.max_area:
                run.index.drop(item.id, Reason.MOSTLY_TEXT, f"{looked.text_area:.0%}")
            run.index.execute(
                "UPDATE item SET step = 'examined', boxes = ?, score = ? WHERE id = ?",
                (json.dumps(looked.boxes), scores.get(item.id), item.id),
            )


def _scores(encoder: Encoder | None, batch: list[tuple[Item, Looked]]) -> dict[int, float]:
    """Only of pairs that the encoder can judge."""
    pairs = [(item, looked.small) for item, looked in batch if looked.small is not None and item.caption]
    if encoder is None or not pairs:
        return {}
    values = encoder.similarity([small for _, small in pairs], [item.caption for item, _ in pairs])
    return {
        item.id: float(value) for (item, _), value in zip(pairs, values, strict=True) if np.isfinite(value)
    }


def drop_outliers(run: Run) -> None:
    """Leaves out the pairs that score too low; every score stays on record."""
    with run.step(CUT_STEP) as needed:
        if not needed or run.index.fact("encoder") is None:
            return
        cut = Cut(**run.index.fact("cut"))
        counts = {
            "judged": run.index.one(_COUNT_JUDGED),
            "left": run.index.one("SELECT count(*) FROM item WHERE reason IS NULL"),
        }
        run.index.set_fact("outliers", counts)
        name = run.index.fact("encoder")
        if not knows((row[0] for row in run.index.rows(_ALL_SCORES)), cut):
            run.note(
                CUT_STEP,
                f"Not checked whether captions belong to their pictures: {name} does not know this kind of picture.",
            )
            return
        sources = [row[0] for row in run.index.rows(_SOURCES)]
        scores = {source: (row[0] for row in run.index.rows(_SCORES, (source,))) for source in sources}
        found = limits(scores, cut, min_group=run.settings.outliers.min_group)
        finite = {source: limit for source, limit in found.items() if math.isfinite(limit)}
        for source, limit in finite.items():
            run.index.execute(_DROP, (Reason.CAPTION_MISMATCH.value, limit, source, limit))
        run.index.set_fact("limits", finite)
        if counts["judged"] < counts["left"]:
            unjudged = counts["left"] - counts["judged"]
            name = run.index.fact("encoder")
            run.note(
                CUT_STEP, f"{unjudged} of {counts['left']} pairs could not be judged by {name} and were kept."
            )


_COUNT_JUDGED = "SELECT count(*) FROM item WHERE reason IS NULL AND score IS NOT NULL"
_ALL_SCORES = "SELECT score FROM item WHERE reason IS NULL AND score IS NOT NULL"
_SOURCES = "SELECT DISTINCT caption_source FROM item WHERE reason IS NULL AND score IS NOT NULL ORDER BY 1"
_SCORES = "SELECT score FROM item WHERE reason IS NULL AND score IS NOT NULL AND caption_source = ?"
_DROP = """
UPDATE item SET reason = ?, detail = printf('scores %.3f, below %.3f', score, ?)
WHERE reason IS NULL AND score IS NOT NULL AND caption_source = ? AND score < ?
"""
