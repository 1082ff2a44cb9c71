"""The contact sheet shows what was made and hides nothing."""

from __future__ import annotations

import io
from html.parser import HTMLParser
from pathlib import Path

from PIL import Image

from deploy.contact_sheet import CELL_WIDTH, Entry, to_html, write_sheet


def png(colour: str, size: tuple[int, int] = (64, 48)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def entry(number: int, **changes: object) -> Entry:
    values = {
        "title": f"SKU-{number}",
        "prompt": "a red mug",
        "alt": "Mug in red",
        "state": "rendered",
        "verdict": "allowed",
        "picture": png("red"),
        "digest": "ab" * 32,
    }
    return Entry(**(values | changes))


class Images(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.alts: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.alts.append(dict(attrs).get("alt"))


def test_customer_text_cannot_become_markup() -> None:
    """A prompt or alt text with markup is shown as text."""
    page = to_html("t", [], [entry(1, prompt="<script>x</script>", alt='"><img src=x>')])
    images = Images()
    images.feed(page)

    assert "<script>" not in page
    assert ['"><img src=x>'] == images.alts


def test_a_blocked_image_is_shown_as_missing(tmp_path: Path) -> None:
    """What was not published has a place on the sheet that says why there is no picture."""
    page, picture = write_sheet(
        tmp_path,
        "Run",
        ["1 image"],
        [entry(1, state="blocked", verdict="blocked: output.blank", picture=None)],
    )

    assert "no picture: blocked" in page.read_text()
    assert Image.open(picture).getpixel((40, 150)) == (236, 236, 234)


def test_the_picture_shows_each_image(tmp_path: Path) -> None:
    """Each picture is in the PNG, at its place, in its colours."""
    _, picture = write_sheet(
        tmp_path, "Run", ["8 images"], [entry(n, picture=png(c)) for n, c in enumerate(["red", "lime"] * 4)]
    )
    with Image.open(picture) as sheet:
        colours = {
            sheet.getpixel((28 + CELL_WIDTH // 2 + n * (CELL_WIDTH + 16), 28 + 96 + 104)) for n in range(2)
        }

    assert {(255, 0, 0), (0, 255, 0)} == colours


def test_an_empty_run_still_makes_a_sheet(tmp_path: Path) -> None:
    """No image at all gives a page and a picture, not an error."""
    page, picture = write_sheet(tmp_path, "Run", [], [])

    assert page.exists()
    assert Image.open(picture).width > 0
