"""The contact sheet shows what was made and hides nothing."""

from __future__ import annotations

import io
from html.parser import HTMLParser
from pathlib import Path

from PIL import Image

from deploy.contact_entry import Entry
from deploy.contact_picture import CELL_WIDTH, FRAME, GAP, HEADER, MARGIN, PICTURE_HEIGHT
from deploy.contact_sheet import to_html, write_sheet


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
    assert Image.open(picture).getpixel((MARGIN + 20, MARGIN + HEADER + 20)) == FRAME


def test_the_picture_shows_each_image(tmp_path: Path) -> None:
    """Each picture is in the PNG, at its place, in its colours."""
    _, picture = write_sheet(
        tmp_path, "Run", ["8 images"], [entry(n, picture=png(c)) for n, c in enumerate(["red", "lime"] * 4)]
    )
    with Image.open(picture) as sheet:
        colours = {
            sheet.getpixel(
                (MARGIN + CELL_WIDTH // 2 + n * (CELL_WIDTH + GAP), MARGIN + HEADER + PICTURE_HEIGHT // 2)
            )
            for n in range(2)
        }

    assert {(255, 0, 0), (0, 255, 0)} == colours


def test_an_empty_run_still_makes_a_sheet(tmp_path: Path) -> None:
    """No image at all gives a page and a picture, not an error."""
    page, picture = write_sheet(tmp_path, "Run", [], [])

    assert page.exists()
    assert Image.open(picture).width > 0


def test_credentials_and_languages_are_shown_and_told_by_more_than_colour() -> None:
    """Each card says in words whether its signature is intact, and speaks every language of its alt text."""
    good = entry(
        1, credentials="Made by AI, signed", intact=True, languages={"de": "Tasse <rot>", "en": "Mug"}
    )
    bad = entry(2, credentials="Made by AI; signature broken", state="rendered")
    page = to_html("t", ["1 of 2 intact"], [good, bad])

    assert '<span lang="de">Tasse &lt;rot&gt;</span>' in page and '<span lang="en">Mug</span>' in page
    assert '<span class="good">Made by AI, signed</span>' in page
    assert '<span class="bad">Made by AI; signature broken</span>' in page


def test_long_words_stay_on_their_card(tmp_path: Path) -> None:
    """Texts of any length are wrapped or cut: nothing is drawn outside the card."""
    long = entry(
        1, title="x" * 300, alt="wide " * 90, prompt="y" * 900, verdict="z" * 200, credentials="w " * 200
    )
    _, picture = write_sheet(tmp_path, "Run", ["fact " * 120], [long])
    with Image.open(picture) as sheet:
        right = sheet.crop((MARGIN + CELL_WIDTH, MARGIN + HEADER + 60, sheet.width, sheet.height))
        below = sheet.crop((0, sheet.height - MARGIN, sheet.width, sheet.height))

    assert {(246, 246, 244)} == {one[1] for part in (right, below) for one in part.getcolors(9999)}
