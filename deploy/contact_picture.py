"""The contact sheet as one picture, for a message or a README."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from deploy.contact_entry import Entry

#: Pixels.
CELL_WIDTH, PICTURE_HEIGHT, TEXT_HEIGHT, GAP, MARGIN, HEADER = 272, 240, 208, 20, 32, 104
PADDING, DOT = 14, 8
COLUMNS = 5
INK, FAINT, PAPER, CARD, FRAME = (
    (27, 29, 34),
    (88, 92, 102),
    (246, 246, 244),
    (255, 255, 255),
    (236, 236, 234),
)
GOOD, BAD = (22, 101, 52), (153, 27, 27)

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def to_picture(title: str, facts: Sequence[str], entries: Sequence[Entry]) -> Image.Image:
    """The sheet as one RGB picture, `COLUMNS` cells wide."""
    columns = max(1, min(COLUMNS, len(entries)))
    rows = -(-len(entries) // columns)
    width = max(2 * MARGIN + columns * (CELL_WIDTH + GAP) - GAP, 720)
    told = list(_wrapped(" · ".join(facts), _font(17), width - 2 * MARGIN))[:3]
    top = HEADER + MARGIN + 24 * max(0, len(told) - 1)
    sheet = Image.new(
        "RGB", (width, top + rows * (PICTURE_HEIGHT + TEXT_HEIGHT + GAP) + MARGIN - GAP * bool(rows)), PAPER
    )
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, INK, _font(32))
    for number, line in enumerate(told):
        draw.text((MARGIN, MARGIN + 50 + 24 * number), line, FAINT, _font(17))
    for number, entry in enumerate(entries):
        x = MARGIN + number % columns * (CELL_WIDTH + GAP)
        y = top + number // columns * (PICTURE_HEIGHT + TEXT_HEIGHT + GAP)
        _draw_cell(sheet, draw, entry, x, y)
    return sheet


def _draw_cell(sheet: Image.Image, draw: ImageDraw.ImageDraw, entry: Entry, x: int, y: int) -> None:
    draw.rounded_rectangle((x, y, x + CELL_WIDTH - 1, y + PICTURE_HEIGHT + TEXT_HEIGHT - 1), 8, CARD)
    draw.rounded_rectangle(
        (x, y, x + CELL_WIDTH - 1, y + PICTURE_HEIGHT - 1), 8, FRAME, corners=(True, True, False, False)
    )
    if entry.picture is None:
        draw.text((x + PADDING, y + PICTURE_HEIGHT // 2 - 8), f"no picture: {entry.state}", BAD, _font(16))
    else:
        shown = _shown(entry.picture)
        sheet.paste(shown, (x + (CELL_WIDTH - shown.width) // 2, y + (PICTURE_HEIGHT - shown.height) // 2))
    text = _Column(draw, x + PADDING, y + PICTURE_HEIGHT + 10, CELL_WIDTH - 2 * PADDING)
    text.write(entry.title, INK, 15, lines=1, after=5)
    text.write(entry.alt or "(no alt text)", INK, 13, lines=3, after=7)
    text.judge(entry.verdict, good=entry.allowed)
    text.judge(entry.credentials, good=entry.intact)
    text.write(entry.prompt, FAINT, 12, lines=2, after=0)


def _shown(picture: bytes) -> Image.Image:
    with Image.open(io.BytesIO(picture)) as opened:
        scale = min(CELL_WIDTH / opened.width, PICTURE_HEIGHT / opened.height)
        size = round(opened.width * scale), round(opened.height * scale)
        return opened.convert("RGB").resize(size, Image.Resampling.LANCZOS)


@dataclass
class _Column:
    """Text that runs down a card."""

    draw: ImageDraw.ImageDraw
    x: int
    y: int
    width: int

    def write(self, text: str, colour: Colour, size: int, *, lines: int, after: int, indent: int = 0) -> None:
        for line in _cut(text, _font(size), self.width - indent, lines):
            self.draw.text((self.x + indent, self.y), line, colour, _font(size))
            self.y += round(size * 1.3)
        self.y += after

    def judge(self, words: str, *, good: bool) -> None:
        """A line with a disc when it is well, a cross when not; the words say the same."""
        if not words:
            return
        left, top, colour = self.x, self.y + 4, GOOD if good else BAD
        box = (left, top, left + DOT, top + DOT)
        if good:
            self.draw.ellipse(box, colour)
        else:
            self.draw.line(box, colour, 2)
            self.draw.line((left, top + DOT, left + DOT, top), colour, 2)
        self.write(words, colour, 13, lines=2, after=4, indent=DOT + 8)


def _cut(text: str, font: Font, width: int, lines: int) -> list[str]:
    """At most so many lines; what does not fit ends in dots."""
    wrapped = list(_wrapped(text, font, width))
    if len(wrapped) <= lines:
        return wrapped
    last = wrapped[lines - 1]
    while last and font.getlength(f"{last}...") > width:
        last = last[:-1]
    return [*wrapped[: lines - 1], f"{last.rstrip()}..."]


def _wrapped(text: str, font: Font, width: int) -> Iterator[str]:
    """Lines that fit, broken between words where a word fits at all."""
    line = ""
    for word in text.split():
        joined = f"{line} {word}".strip()
        if font.getlength(joined) <= width:
            line = joined
            continue
        if line:
            yield line
        line = word
        while font.getlength(line) > width:
            kept = next(n for n in range(len(line) - 1, 0, -1) if n == 1 or font.getlength(line[:n]) <= width)
            yield line[:kept]
            line = line[kept:]
    if line:
        yield line


@cache
def _font(size: int) -> Font:
    return ImageFont.load_default(size)
