"""A page and a picture that show everything a run has made, with prompt, alt text and verdict."""

from __future__ import annotations

import base64
import html
import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

#: Pixels of the PNG sheet.
CELL_WIDTH, PICTURE_HEIGHT, TEXT_HEIGHT, GAP, MARGIN, HEADER = 208, 208, 128, 16, 28, 96
COLUMNS = 6
INK, FAINT, PAPER, CARD = (27, 29, 34), (88, 92, 102), (246, 246, 244), (255, 255, 255)
GOOD, BAD = (22, 101, 52), (153, 27, 27)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One image of the sheet; `picture` is None when none was published."""

    title: str
    prompt: str
    alt: str
    #: "rendered", "blocked" and so on.
    state: str
    #: What the screens said, in words.
    verdict: str
    picture: bytes | None
    digest: str


def write_sheet(folder: Path, title: str, facts: Sequence[str], entries: Sequence[Entry]) -> tuple[Path, Path]:
    """Write contact-sheet.html and contact-sheet.png below `folder`; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    page, picture = folder / "contact-sheet.html", folder / "contact-sheet.png"
    page.write_text(to_html(title, facts, entries), encoding="utf-8")
    to_picture(title, facts, entries).save(picture, optimize=True)
    return page, picture


_STYLE = """
:root { color-scheme: light; }
body { margin: 0; padding: 2rem; background: #f6f6f4; color: #1b1d22; font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0 0 .25rem; font-size: 1.6rem; }
.facts { margin: 0 0 1.5rem; color: #585c66; }
ul { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1rem; margin: 0; padding: 0; list-style: none; }
li { background: #fff; border: 1px solid #d9d9d4; border-radius: 8px; overflow: hidden; }
.frame { display: grid; place-items: center; height: 15rem; background: #ececea; }
img { width: 100%; height: 15rem; object-fit: contain; }
.text { padding: .75rem 1rem 1rem; overflow-wrap: anywhere; }
h2 { margin: 0 0 .4rem; font-size: 1rem; }
dl { margin: 0; font-size: .875rem; }
dt { color: #585c66; }
dd { margin: 0 0 .4rem; }
.allow { color: #166534; font-weight: 600; }
.refused { color: #991b1b; font-weight: 600; }
code { font-size: .75rem; color: #585c66; }
"""


def to_html(title: str, facts: Sequence[str], entries: Sequence[Entry]) -> str:
    """One self-contained page: pictures are inside it, so it can be mailed or kept."""
    items = "\n".join(_item(entry) for entry in entries)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{html.escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{html.escape(title)}</h1>\n"
        f'<p class="facts">{html.escape(" · ".join(facts))}</p>\n<ul>\n{items}\n</ul>\n</main>\n</body>\n</html>\n'
    )


def _item(entry: Entry) -> str:
    if entry.picture is None:
        frame = f"<span>no picture: {html.escape(entry.state)}</span>"
    else:
        data = base64.b64encode(entry.picture).decode()
        frame = f'<img alt="{html.escape(entry.alt, quote=True)}" src="data:{_media_type(entry.picture)};base64,{data}">'
    tone = "allow" if entry.state == "rendered" else "refused"
    return (
        f'<li>\n<div class="frame">{frame}</div>\n<div class="text">\n<h2>{html.escape(entry.title)}</h2>\n<dl>\n'
        f"<dt>Prompt</dt><dd>{html.escape(entry.prompt)}</dd>\n<dt>Alt text</dt><dd>{html.escape(entry.alt) or '(none)'}</dd>\n"
        f'<dt>Verdict</dt><dd class="{tone}">{html.escape(entry.verdict)}</dd>\n<dt>Digest</dt><dd><code>{entry.digest[:16]}</code></dd>\n'
        f"</dl>\n</div>\n</li>"
    )


def _media_type(data: bytes) -> str:
    if data.startswith(b"\x89PNG"):
        return "image/png"
    return "image/webp" if data[:4] == b"RIFF" else "image/jpeg"


def to_picture(title: str, facts: Sequence[str], entries: Sequence[Entry]) -> Image.Image:
    """The sheet as one RGB picture, `COLUMNS` cells wide."""
    columns = max(1, min(COLUMNS, len(entries)))
    rows = max(1, -(-len(entries) // columns))
    width = max(2 * MARGIN + columns * (CELL_WIDTH + GAP) - GAP, 720)
    sheet = Image.new("RGB", (width, MARGIN + HEADER + rows * (PICTURE_HEIGHT + TEXT_HEIGHT + GAP) + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, INK, _font(30))
    draw.text((MARGIN, MARGIN + 44), " · ".join(facts), FAINT, _font(16))
    for number, entry in enumerate(entries):
        x = MARGIN + number % columns * (CELL_WIDTH + GAP)
        y = MARGIN + HEADER + number // columns * (PICTURE_HEIGHT + TEXT_HEIGHT + GAP)
        _draw_cell(sheet, draw, entry, x, y)
    return sheet


def _draw_cell(sheet: Image.Image, draw: ImageDraw.ImageDraw, entry: Entry, x: int, y: int) -> None:
    draw.rectangle((x, y, x + CELL_WIDTH - 1, y + PICTURE_HEIGHT + TEXT_HEIGHT - 1), CARD)
    if entry.picture is None:
        draw.rectangle((x, y, x + CELL_WIDTH - 1, y + PICTURE_HEIGHT - 1), (236, 236, 234))
        draw.text((x + 12, y + PICTURE_HEIGHT // 2 - 8), f"no picture: {entry.state}", BAD, _font(14))
    else:
        with Image.open(io.BytesIO(entry.picture)) as picture:
            scale = min(CELL_WIDTH / picture.width, PICTURE_HEIGHT / picture.height)
            shown = picture.convert("RGB").resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)
        sheet.paste(shown, (x + (CELL_WIDTH - shown.width) // 2, y + (PICTURE_HEIGHT - shown.height) // 2))
    below = y + PICTURE_HEIGHT + 8
    draw.text((x + 10, below), entry.title[:30], INK, _font(13))
    below = _paragraph(draw, entry.prompt, x + 10, below + 18, INK)
    below = _paragraph(draw, f"alt: {entry.alt}", x + 10, below + 2, FAINT)
    draw.text((x + 10, y + PICTURE_HEIGHT + TEXT_HEIGHT - 18), entry.verdict[:36], GOOD if entry.state == "rendered" else BAD, _font(11))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _paragraph(draw: ImageDraw.ImageDraw, text: str, x: int, y: int, colour: tuple[int, int, int]) -> int:
    for line in textwrap.wrap(text, 36)[:3]:
        draw.text((x, y), line, colour, _font(11))
        y += 13
    return y
