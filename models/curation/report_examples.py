"""Pictures for the report: a few of each decision, small enough to stand inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from models.curation.buckets import Box
from models.curation.decode import Pixels, decode
from models.curation.index import Index, Item
from models.curation.inspection import read_picture
from models.curation.places import Place
from models.curation.reasons import Reason, Refused
from models.curation.run import Run
from models.curation.settings import ReadSettings

PER_REASON = 6
SIDE = 144
#: outline of what is left out of the loss: seen on light and on dark
_INK, _HALO = (200, 0, 90), (255, 255, 255)


@dataclass(frozen=True, kw_only=True)
class Example:
    """One input with what was decided about it; `picture` is a data URL, "" where it cannot be shown."""

    name: str
    words: str
    picture: str = ""
    #: the copy that is kept, for duplicates
    kept_name: str = ""
    kept_picture: str = ""


def dropped_examples(run: Run, reason: Reason) -> list[Example]:
    """The first few by name."""
    items = run.index.items("reason = ?", (reason.value,), at_once=PER_REASON)
    return [_example(run, item) for item in _first(items, PER_REASON)]


def masked_examples(run: Run) -> list[Example]:
    """Kept pictures in which text was found, its boxes drawn."""
    items = run.index.items("reason IS NULL AND boxes IS NOT NULL AND boxes <> '[]'", at_once=PER_REASON)
    return [
        Example(
            name=item.name,
            words=f"{len(item.boxes)} text regions",
            picture=_picture(run.source.place, item, run.settings.read),
        )
        for item in _first(items, PER_REASON)
    ]


def kept_examples(run: Run) -> list[Example]:
    """The first few, with captions before and after."""
    found = []
    for item in _first(run.index.items("reason IS NULL", at_once=2 * PER_REASON), 2 * PER_REASON):
        words = item.caption or "no caption"
        if item.caption_original and item.caption_original != item.caption:
            words += f" (was: {item.caption_original})"
        found.append(
            Example(name=item.name, words=words, picture=_picture(run.source.place, item, run.settings.read))
        )
    return found


def _first(items: Iterator[Item], count: int) -> Iterator[Item]:
    return (item for item, _ in zip(items, range(count), strict=False))


def _example(run: Run, item: Item) -> Example:
    kept = _item(run.index, item.duplicate_of)
    words = item.detail
    if item.reason in (Reason.CAPTION_MISMATCH, Reason.NO_CAPTION):
        words = f"{item.detail}: {item.caption or item.caption_original}".strip(": ")
    return Example(
        name=item.name,
        words=words,
        picture=_picture(run.source.place, item, run.settings.read),
        kept_name="" if kept is None else kept.name,
        kept_picture="" if kept is None else _picture(run.source.place, kept, run.settings.read),
    )


def _item(index: Index, number: int | None) -> Item | None:
    return None if number is None else next(index.items("id = ?", (number,)), None)


def _picture(place: Place, item: Item, settings: ReadSettings) -> str:
    """What can be shown is shown, even where it was refused for its name or shape; never more than the limits allow."""
    if item.piece.length == 0:
        return ""
    gentle = settings.model_copy(update={"mislabelled": "read", "max_aspect": 1e6, "min_side": 1})
    try:
        data = read_picture(place, item.piece, settings.max_bytes)
        return thumbnail(decode(data, item.name, gentle, within=SIDE).pixels, item.boxes, item.width)
    except Refused:
        return ""


def thumbnail(pixels: Pixels, boxes: Sequence[Box] = (), width: int = 0) -> str:
    """A small picture as a data URL, with boxes given in pixels of a picture `width` wide."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((SIDE, SIDE))
    scale = picture.width / width if width else 1.0
    draw = ImageDraw.Draw(picture)
    for box in boxes:
        left, top, right, bottom = (edge * scale for edge in box)
        if right - left >= 1 and bottom - top >= 1:
            draw.rectangle((left, top, right, bottom), outline=_HALO, width=3)
            draw.rectangle(
                (left + 1, top + 1, max(right - 1, left + 1), max(bottom - 1, top + 1)), outline=_INK
            )
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
