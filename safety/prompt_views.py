"""Normalised views of a prompt, for matching only: what a reader would recognise is recognised.

A view is never forwarded to a model. Latin lists are matched against the folded views, lists of another script against
the native ones: folding look-alikes into Latin letters would destroy real Cyrillic or Greek words.
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files

from safety.visible_text import readings

_LETTER = r"[^\W_]"
_LEET_SIGNS = "@$!€£¢|"
_SINGLE = rf"(?:{_LETTER}|[{re.escape(_LEET_SIGNS)}])"

#: Three or more letters that stand alone, "w e a p" or "w.e.a.p" or "w - e - a - p".
_SPELLED = re.compile(
    rf"(?<!{_LETTER}){_SINGLE}(?:[\s._\-*~'`·•/\\,:;+^\"()\[\]{{}}<>=#&|]{{1,5}}{_SINGLE}(?!{_LETTER})){{2,}}"
)
_NOT_TEXT = re.compile(rf"[^\w{re.escape(_LEET_SIGNS)}]+|_+")
#: Once with underscores as spaces, once with every sign as part of the word: "big_la-mp" and "l@m_p".
_SIGNS_INSIDE_WORD = re.compile(rf"(?<={_LETTER})[^\w\s{re.escape(_LEET_SIGNS)}]+(?={_LETTER})")
_ALL_SIGNS_INSIDE_WORD = re.compile(rf"(?<={_LETTER})(?:[^\w\s]|_)+(?={_LETTER})")

#: Leetspeak in its two common readings; a sign at the end of a word may be punctuation or a letter.
_LEET_FIRST = str.maketrans("0123456789@$!€£¢|", "oizeasgtbgasielcl")
_LEET_SECOND = str.maketrans("0123456789@$!€£¢|", "olzeasbtbgasielci")
_LEET = re.compile(rf"[0-9{re.escape(_LEET_SIGNS)}]")
_LEET_WORD = re.compile(rf"(?<!\S)[^\s0-9{re.escape(_LEET_SIGNS)}]*[0-9{re.escape(_LEET_SIGNS)}]\S*")
#: Where the two readings differ.
_AMBIGUOUS = re.compile(r"[16!|]")
_LATIN = re.compile(r"[a-z]")
_REPEATS = {1: re.compile(r"([A-Za-z])\1+"), 2: re.compile(r"([A-Za-z])\1\1+")}
_REPEATS_OF_ANY_SCRIPT = {1: re.compile(r"([^\W\d_])\1+"), 2: re.compile(r"([^\W\d_])\1\1+")}
_EDGES = ".,;:?\"'()[]{}<>"

#: Measures, sizes and formats that mix digits and letters without being disguised words.
_KEEP = re.compile(
    r"f/?\d{1,2}(?:\.\d{1,2})?"
    r"|[@$€£]?\d+(?:[.,x×/:-]\d+)*(?:mm|cm|m|km|in|inch|ft|mp|px|p|k|hz|khz|mhz|ghz|fps|ev|bit|dpi|ppi|mah|wh|w|v|a|g|kg|mg|oz"
    r"|lb|lbs|ml|cl|l|gb|tb|mb|d|s|x|st|nd|rd|th|er|eme|c|f|pc|pcs|pk|pack|xl|xxl|h|min|year|yr|yo)?"
    r"|(?:iso|mp|usb|hdmi|din|ip|type|vol|no|nr|ev|rtx|c4d|ue|a|b|h|co)\d+[a-z]?o?"
    r"|[1-9]xl"
)


@dataclass(frozen=True, kw_only=True)
class PromptViews:
    """Texts that stand for one prompt."""

    #: Case folded, letters and accents as they were written.
    native: tuple[str, ...]
    #: Look-alikes, accents and leetspeak folded to Latin letters, split words joined, letters at most doubled.
    latin: tuple[str, ...]
    #: The same with every repeated letter once.
    latin_single: tuple[str, ...]
    #: Letters that were spelled out one by one, joined: where one word ends is lost.
    runs: tuple[str, ...]


def make_views(text: str, *, with_native: bool = True) -> PromptViews:
    """All views of `text`, the native ones only if wanted; never raises on any str."""
    latin: dict[str, None] = {}
    runs: dict[str, None] = {}
    native: dict[str, None] = {}
    for reading in readings(text):
        if with_native:
            native |= dict.fromkeys(_native_views(reading))
        folded = fold(reading)
        latin |= dict.fromkeys(_latin_views(folded))
        runs |= dict.fromkeys(_runs(folded))
    doubled = dict.fromkeys([*latin, *(collapse(view, 2) for view in latin)])
    return PromptViews(
        native=tuple(native),
        latin=tuple(doubled),
        latin_single=tuple(dict.fromkeys(collapse(view, 1) for view in latin)),
        runs=tuple(dict.fromkeys([*runs, *(collapse(run, 1) for run in runs)])),
    )


def fold(text: str) -> str:
    """Case, accents and look-alikes folded to Latin letters; other scripts keep what has no Latin twin."""
    return text.lower() if text.isascii() else "".join(map(_fold_char, text))


def collapse(text: str, keep: int) -> str:
    """Every run of one letter cut to `keep` letters, 1 or 2."""
    repeats = _REPEATS if text.isascii() else _REPEATS_OF_ANY_SCRIPT
    return repeats[keep].sub(r"\1" * keep, text)


def unleet(text: str, *, second: bool = False) -> str:
    """Digits and signs inside words read as letters; measures such as 35mm, f/1.4 and 1024x768 stay."""
    return _LEET_WORD.sub(lambda match: _unleet_word(match[0], second), text)


def join_spelled(text: str) -> str:
    """Words that were spelled out letter by letter, put together."""
    return _SPELLED.sub(lambda match: _NOT_TEXT.sub("", match[0]), text)


def native(text: str) -> str:
    """`text` case folded, in NFKC."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _native_views(reading: str) -> list[str]:
    plain = native(reading)
    joined = join_spelled(_ALL_SIGNS_INSIDE_WORD.sub("", plain))
    return [plain, joined, collapse(joined, 1)]


def _latin_views(folded: str) -> list[str]:
    spelled = join_spelled(folded)
    split = [folded, _SIGNS_INSIDE_WORD.sub("", spelled), _ALL_SIGNS_INSIDE_WORD.sub("", spelled)]
    return [view for text in dict.fromkeys(split) for view in (text, *_unleeted(text))]


def _runs(folded: str) -> list[str]:
    joined = [_NOT_TEXT.sub("", match[0]) for match in _SPELLED.finditer(folded)]
    return [view for run in joined for view in (run, *_unleeted(run))]


def _unleeted(text: str) -> list[str]:
    if not _LEET.search(text):
        return []
    return [unleet(text), unleet(text, second=True)] if _AMBIGUOUS.search(text) else [unleet(text)]


def _unleet_word(word: str, second: bool) -> str:
    core = word.strip(_EDGES)
    if not _LEET.search(core) or not _LATIN.search(core) or _KEEP.fullmatch(core):
        return word
    plain = core.translate(_LEET_SECOND) if second else core.rstrip("!|").translate(_LEET_FIRST)
    # The signs around it stay: a comma still ends the clause.
    return word.replace(core, plain, 1)


@lru_cache(maxsize=8192)
def _fold_char(char: str) -> str:
    # Until nothing changes: a mathematical theta folds to a Greek one, and that to its Latin twin.
    folded = _fold_once(char)
    while folded != char:
        char, folded = folded, _fold_once(folded)
    return folded


def _fold_once(text: str) -> str:
    table = _lookalikes()
    plain = unicodedata.normalize("NFKD", text.translate(table).casefold())
    bare = "".join(part for part in plain if not unicodedata.category(part).startswith("M"))
    return bare.translate(table).casefold()


@cache
def _lookalikes() -> dict[int, str]:
    stored = json.loads((files("safety") / "homoglyphs.json").read_text("ascii"))
    return {ord(char): letter for letter, chars in stored["letters"].items() for char in chars}
