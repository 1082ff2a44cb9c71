"""Alt text: what is drawn stays, how it is drawn goes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safety.alt_text import HARD_CHARS, TARGET_CHARS, alt_from_prompt, alt_from_template, lint_alt


@pytest.mark.parametrize(
    ("prompt", "alt"),
    [
        ("a red ceramic mug on a white background", "A red ceramic mug on a white background"),
        ("a photo of a red mug, 35mm f1.8, soft studio light, masterpiece, best quality, 8k", "A red mug"),
        (
            "(red sneaker:1.3) on the left, ((highly detailed)), <lora:shoes:0.8>, trending on artstation",
            "Red sneaker on the left",
        ),
        (
            "Generate an image of a teal lamp, centered, mint background. Shot on Canon EOS R5, f/2.8",
            "A teal lamp, centered, mint background",
        ),
        ("A stunning photorealistic picture of a vase", "A vase"),
        ("professional photo showing a wooden chair --ar 16:9", "A wooden chair"),
        ("a 4k monitor, hdr", "A 4k monitor"),
        ("a bag, a bag, a hat", "A bag, a hat"),
        ("masterpiece, 8k, sharp focus", ""),
        ("", ""),
        ("a drawing board on an easel", "A drawing board on an easel"),
        ("a warm light bulb, e27", "A warm light bulb, e27"),
    ],
)
def test_prompts(prompt: str, alt: str) -> None:
    """Style words, camera terms, quality tags, weights and openings go, the rest stays."""
    assert alt_from_prompt(prompt) == alt


def test_long_prompts_are_cut_at_a_part() -> None:
    """The first parts that fit are kept whole; a single long one is cut at a word."""
    parts = alt_from_prompt(", ".join(f"a green bottle number {number} on a shelf" for number in range(20)))
    word = alt_from_prompt("a very " + "long " * 60 + "table")

    assert len(parts) <= TARGET_CHARS and parts.endswith("on a shelf")
    assert len(word) <= TARGET_CHARS and word.endswith("long…")


def test_templates_pass_through() -> None:
    """A recipe's own sentence is kept in its own language, only tidied and limited."""
    assert (
        alt_from_template("  Rote Keramiktasse ,  mittig vor Weiß, ") == "Rote Keramiktasse , mittig vor Weiß"
    )
    assert len(alt_from_template("Tasse " * 100)) <= HARD_CHARS


@pytest.mark.parametrize(
    ("alt", "faults"),
    [
        ("Red mug on a white background", ()),
        ("A 35mm film camera on a table", ()),
        ("", ("alt.empty",)),
        ("   ", ("alt.empty",)),
        ("IMG_1234", ("alt.file_name",)),
        ("red-mug_final (2).jpg", ("alt.file_name",)),
        ("Image of a red mug", ("alt.redundant_opening",)),
        ("Red mug, 8k", ("alt.prompt_leak",)),
        ("Masterpiece of a red mug", ("alt.prompt_leak",)),
        ("A (red:1.2) mug", ("alt.prompt_leak",)),
        ("mug, red, white, ceramic, studio, shop", ("alt.keyword_list",)),
        ("A mug " * 25, ("alt.over_target",)),
        ("A mug " * 50, ("alt.too_long",)),
    ],
)
def test_lint(alt: str, faults: tuple[str, ...]) -> None:
    """Each fault has its code."""
    assert lint_alt(alt) == faults


@given(st.text(max_size=400) | st.text("a photo of (x:1.2), 8k. --<>[]_", max_size=200))
def test_any_prompt_gives_short_alt_text(prompt: str) -> None:
    """No prompt raises, and alt text from one is one line within the target and never starts with blanks."""
    alt = alt_from_prompt(prompt)

    assert len(alt) <= TARGET_CHARS + 1  # a capital letter may take two characters, as in "ß"
    assert alt == alt.strip() and "\n" not in alt
    assert isinstance(lint_alt(alt), tuple)


@given(
    st.lists(
        st.sampled_from(["a red mug", "a bag", "8k", "soft light", "masterpiece", "on wood", "f/1.8"]),
        min_size=1,
        max_size=6,
    )
)
def test_cleaning_twice_is_cleaning_once(parts: list[str]) -> None:
    """Alt text is its own alt text."""
    alt = alt_from_prompt(", ".join(parts))

    assert alt_from_prompt(alt) == alt
