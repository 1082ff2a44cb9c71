"""Views of a prompt: pure functions that normalise and never raise."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from safety.lexicon import collapse
from safety.prompt_views import fold, join_spelled, make_views, native, unleet
from safety.visible_text import HIDDEN, count_hidden, mark_hidden, readings

ANY_TEXT = st.text(st.characters(), max_size=80) | st.text("ab 1.\u200b\u0301е\ud800\x00@-_", max_size=40)


@given(ANY_TEXT)
def test_any_text_has_views(text: str) -> None:
    """No text makes the views fail, lone surrogates and controls included."""
    views = make_views(text)

    assert views.latin and views.native


@given(ANY_TEXT)
@example("\U0001d72d")  # a mathematical theta, which folds by way of the Greek one
def test_folding_twice_is_folding_once(text: str) -> None:
    """Folding is idempotent."""
    once = fold(text)

    assert fold(once) == once


@given(ANY_TEXT)
def test_native_view_of_itself(text: str) -> None:
    """The native view is idempotent."""
    once = native(text)

    assert native(once) == once


@given(ANY_TEXT)
def test_collapsing_twice_is_collapsing_once(text: str) -> None:
    """Collapsing repeats is idempotent and never lengthens a text."""
    once = collapse(text)

    assert collapse(once) == once
    assert len(once) <= len(text)


@given(ANY_TEXT)
def test_nothing_invisible_is_read(text: str) -> None:
    """Readings hold no invisible character, and are read as themselves."""
    for reading in readings(text):
        assert count_hidden(reading) == 0
        assert readings(reading)[0] == reading


@given(
    st.text("abcdefgh ", max_size=30),
    st.sampled_from(["\u200b", "\u034f", "\u00ad", "\ufe0f", "\u2060", "\x00"]),
    st.data(),
)
def test_invisible_characters_leave_the_first_reading_alone(
    text: str, hidden: str, data: st.DataObject
) -> None:
    """Wherever an invisible character is inserted, the first reading stays the plain text."""
    at = data.draw(st.integers(0, len(text)))

    assert readings(text[:at] + hidden + text[at:])[0] == readings(text)[0]


@pytest.mark.parametrize(
    "text",
    [
        "35mm",
        "f/1.4",
        "f1.8",
        "4k",
        "8k",
        "1024x768",
        "1080p",
        "iso400",
        "50mm,",
        "24-70mm",
        "h2o",
        "3d",
        "2xl",
        "12v",
    ],
)
def test_measures_are_not_leetspeak(text: str) -> None:
    """Photographic and product measures are kept."""
    assert unleet(text) == unleet(text, second=True) == text


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("w3@p0n", "weapon", "weapon"),
        ("k1ll", "kill", "klll"),
        ("1amp", "iamp", "lamp"),
        ("hi!", "hi", "hil"),
        ("90", "90", "90"),
    ],
)
def test_leetspeak_in_two_readings(text: str, first: str, second: str) -> None:
    """Ambiguous digits and signs are read both ways; numbers stay numbers."""
    assert (unleet(text), unleet(text, second=True)) == (first, second)


@pytest.mark.parametrize("text", ["l a m p", "l.a.m.p", "l - a - m - p", "l_a_m_p"])
def test_spelled_words_are_joined(text: str) -> None:
    """Letters that stand alone are put together."""
    assert join_spelled(text) == "lamp"


@pytest.mark.parametrize("text", ["a red mug", "size s or m", "plan b"])
def test_ordinary_single_letters_stay(text: str) -> None:
    """An article or a size is not a spelled word."""
    assert join_spelled(text) == text


def test_native_views_keep_other_scripts() -> None:
    """Cyrillic words survive in the native views and lose their script only in the Latin ones."""
    views = make_views("Красная кружка")

    assert "красная кружка" in views.native
    assert not any("кружка" in view for view in views.latin)


def test_invisible_cut_makes_both_readings() -> None:
    """An invisible character may join or separate."""
    assert readings("red\u200bmug")[:2] == ("redmug", "red mug")
    assert mark_hidden("a\u034fb") == f"a{HIDDEN}b"


def test_partly_joined_words() -> None:
    """Two words that invisible characters both split and glue are found."""
    assert any("lamp" in reading.split() for reading in readings("red\u200bla\u200bmp\u200bmug"))
