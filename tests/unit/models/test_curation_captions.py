"""Caption rules: junk goes, language stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.curation.caption_rules import RULES, clean_caption
from models.curation.colour_words import names_colour
from models.curation.settings import CaptionSettings

SETTINGS = CaptionSettings()


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("<p>Red&nbsp;mug &amp;amp; saucer</p>", "Red mug & saucer"),
        ("<img src='x' alt='y'>a blue vase<br/>on a table", "a blue vase on a table"),
        ("a < b and c > d", "a < b and c > d"),
        ("green lamp https://shop.example/p?id=3 www.shop.example", "green lamp"),
        ("red mug, see best-shop.com/mugs", "red mug, see"),
        ("ask sales@shop.example about this chair", "ask about this chair"),
        ("IMG_2034.JPG", ""),
        ("DSC_0001", ""),
        ("Screenshot 12", ""),
        ("photo of 12 mugs", "photo of 12 mugs"),
        ("wooden chair SKU: AB-123/9", "wooden chair"),
        ("wooden chair, art. no. #4711", "wooden chair"),
        ("Style: modern, oak table", "Style: modern, oak table"),
        ("black bag only $19.99", "black bag"),
        ("Tasche schwarz 5,99 €", "Tasche schwarz"),
        ("mug -20% off", "mug"),
        ("a 20 cm tall vase with 3 handles", "a 20 cm tall vase with 3 handles"),
        ("a stock photo of a candle", "a candle"),
        ("Royalty-free stock image: red mug", "red mug"),
        ("© 2024 Getty Images", ""),
        ("white sofa - click to enlarge", "white sofa"),
        ("RED CERAMIC MUG WITH HANDLE!!!", "Red ceramic mug with handle!"),
        ("USB lamp by IKEA", "USB lamp by IKEA"),
        ("Blue mug | Blue mug | Shop", "Blue mug, Shop"),
        ("red red red mug", "red mug"),
        ("glass vase glass vase", "glass vase"),
        ("mug, handmade, MUG", "mug, handmade"),
        ("#sale #summer straw hat", "straw hat"),
        ("rote Tasse auf weißem Grund, matt", "rote Tasse auf weißem Grund, matt"),
        ("赤いマグカップ、白い背景", "赤いマグカップ、白い背景"),
        ("كوب أحمر", "كوب أحمر"),
        ("a\u202ered\u200b mug\x00\x07\n  on\ta table", "ared mug on a table"),
        ("", ""),
        (" ... --- !!! ", ""),
    ],
)
def test_rules(raw: str, clean: str) -> None:
    """Each kind of junk goes and nothing else does."""
    assert clean == clean_caption(raw, SETTINGS).text


@given(st.text(max_size=300))
def test_any_text_is_survived_and_cleaning_twice_changes_little(raw: str) -> None:
    """Whatever comes, the result is one clean line within the limit, free of control characters."""
    text = clean_caption(raw, CaptionSettings(max_characters=80)).text

    assert len(text) <= 80
    assert text == " ".join(text.split())
    assert all(c.isprintable() or ord(c) > 127 for c in text)


@pytest.mark.parametrize(
    "raw",
    [
        "<" * 50_000,
        "a " * 50_000,
        "$" + "1," * 30_000,
        "x@" + "a." * 20_000,
        "((((" * 10_000,
        "img" * 20_000,
        "a-" * 30_000,
    ],
)
def test_hostile_lengths_take_no_time(raw: str) -> None:
    """No rule backtracks for ever: the test's own time limit is the judge."""
    assert len(clean_caption(raw, SETTINGS).text) <= SETTINGS.max_characters


def test_rules_are_named_and_can_be_off() -> None:
    """What changed a caption is on record; without rules only unprintable characters and space go."""
    named = clean_caption("<b>MUG MUG FOR TEA AND COFFEE</b> $5", SETTINGS)
    off = clean_caption("<b>mug</b>\n$5", CaptionSettings(rules=False))

    assert ("html", "price", "shouting", "repeat") == named.changes
    assert {*named.changes} <= {name for name, _ in RULES}
    assert "<b>mug</b> $5" == off.text


def test_long_captions_end_at_a_word() -> None:
    """Cut at the limit, never inside a word."""
    cut = clean_caption("mahogany " * 9 + "x", CaptionSettings(max_characters=30, rules=False))

    assert "mahogany mahogany mahogany" == cut.text
    assert ("shortened",) == cut.changes


@pytest.mark.parametrize(
    "caption",
    [
        "a red mug",
        "Navy-blue vase",
        "sky-blue",
        "off-white bag",
        "a greenish lamp",
        "reddish",
        "rote Tasse",
        "taza roja",
        "greys",
        "a rosy-pink hat",
        "multi-coloured",
        "GOLD ring",
    ],
)
def test_captions_that_name_a_colour(caption: str) -> None:
    """Synonyms, hyphens, endings and other languages count."""
    assert names_colour(caption)


@pytest.mark.parametrize(
    "caption",
    ["", "a mug on a table", "wooden chair", "incredible shop", "hired lamp", "glass bottle, matte", "bored"],
)
def test_captions_that_name_none(caption: str) -> None:
    """Words that only contain a colour's letters do not count."""
    assert not names_colour(caption)
