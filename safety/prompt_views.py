"""Normalised views of a prompt, for matching only: what a reader would recognise is recognised.

A view is never forwarded to a model. Latin lists are matched against the folded views, lists of another script against
the native ones: folding look-alikes into Latin letters would destroy real Cyrillic or Greek words.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from safety.encoded_text import decoded
from safety.masked_words import B_OR_G, I_OR_L
from safety.visible_text import readings

_LETTER = r"[^\W_]"
_LEET_SIGNS = "@$!€£¢|"
_SINGLE = rf"(?:{_LETTER}|[{re.escape(_LEET_SIGNS)}])"

#: Three or more letters that stand alone, "w e a p" or "w.e.a.p" or "w - e - a - p".
_SPELLED = re.compile(
    rf"(?<!{_LETTER}){_SINGLE}(?:[\s._\-*~'`·•/\\,:;+^\"()\[\]{{}}<>=#&|]{{1,5}}{_SINGLE}(?!{_LETTER})){{2,}}"
)
_NOT_TEXT = re.compile(rf"[^\w{re.escape(_LEET_SIGNS)}]+|_+")

#: Leetspeak in its two common readings, and with what is ambiguous left open for `masked_words`.
_LEET_FIRST = dict(zip("0123456789@$!€£¢|", "oizeasgtbgasielcl", strict=True))
_LEET_SECOND = _LEET_FIRST | {"1": "l", "6": "b", "!": "l", "|": "i"}
_LEET_OPEN = _LEET_FIRST | dict.fromkeys("1!|", I_OR_L) | {"6": B_OR_G}
_LEET = re.compile(rf"[0-9{re.escape(_LEET_SIGNS)}]")
_LEET_WORD = re.compile(rf"(?<!\S)[^\s0-9{re.escape(_LEET_SIGNS)}]*[0-9{re.escape(_LEET_SIGNS)}]\S*")
#: Where the readings differ.
_AMBIGUOUS = re.compile(r"[16!|]")
_LATIN = re.compile(r"[a-z]")
_EDGES = ".,;:?\"'()[]{}<>"

#: Measures, sizes and formats that mix digits and letters without being disguised words.
_KEEP = re.compile(
    r"f/?\d{1,2}(?:\.\d{1,2})?"
    r"|[@$€£]?\d+(?:[.,x×/:-]\d+)*(?:mm|cm|m|km|in|inch|ft|mp|px|p|k|hz|khz|mhz|ghz|fps|ev|bit|dpi|ppi|mah|wh|w|v|a|g|kg|mg|oz"
    r"|lb|lbs|ml|cl|l|gb|tb|mb|d|s|x|st|nd|rd|th|er|eme|c|f|pc|pcs|pk|pack|xl|xxl|h|min|year|yr|yo)?"
    r"|(?:iso|mp|usb|hdmi|din|ip|type|vol|no|nr|ev|rtx|c4d|ue|a|b|h|co)\d+[a-z]?o?"
    r"|[1-9]xl"
)
#: Characters whose folding is remembered, far more than the text of one language has.
_MAX_REMEMBERED = 16_384


@dataclass(frozen=True, kw_only=True)
class PromptViews:
    """Texts that stand for one prompt."""

    #: Case folded, letters and accents as they were written.
    native: tuple[str, ...]
    #: Look-alikes, accents and leetspeak folded to Latin letters.
    latin: tuple[str, ...]


def make_views(text: str, *, with_native: bool = True) -> PromptViews:
    """All views of `text`, the native ones only if wanted; never raises on any str."""
    latin: dict[str, None] = {}
    originals: dict[str, None] = {}
    for meant in (text, *decoded(text)):
        for reading in readings(meant):
            originals[reading] = None
            latin |= dict.fromkeys(_latin_views(fold(reading)))
    return PromptViews(
        native=tuple(dict.fromkeys(map(native, originals))) if with_native else (), latin=tuple(latin)
    )


def fold(text: str) -> str:
    """Case, accents and look-alikes folded to Latin letters; other scripts keep what has no Latin twin."""
    return text.lower() if text.isascii() else text.translate(_folds())


def native(text: str) -> str:
    """`text` case folded, in NFKC."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def unleet(text: str, *, second: bool = False) -> str:
    """Digits and signs inside words read as letters; measures such as 35mm, f/1.4 and 1024x768 stay."""
    return _unleet(text, _LEET_SECOND if second else _LEET_FIRST)


def join_spelled(text: str) -> str:
    """Words that were spelled out letter by letter, put together."""
    return _SPELLED.sub(lambda match: _NOT_TEXT.sub("", match[0]), text)


def _latin_views(folded: str) -> Iterator[str]:
    yield folded
    if not _LEET.search(folded):
        return
    ambiguous = _AMBIGUOUS.search(folded) is not None
    tables = [_LEET_FIRST, _LEET_SECOND, _LEET_OPEN] if ambiguous else [_LEET_FIRST, _LEET_OPEN]
    for text in dict.fromkeys((folded, join_spelled(folded))):
        for table in tables:
            yield _unleet(text, table)


def _unleet(text: str, table: dict[str, str]) -> str:
    return _LEET_WORD.sub(lambda match: _unleet_word(match[0], table), text)


def _unleet_word(word: str, table: dict[str, str]) -> str:
    core = word.strip(_EDGES)
    if not _LEET.search(core) or not _LATIN.search(core):
        return word
    # Left open, measures are letters as well: what is looked for there are listed words and nothing else.
    if table is not _LEET_OPEN and _KEEP.fullmatch(core):
        return word
    # A sign at the end may be punctuation; only the first reading takes it for that.
    plain = core.rstrip("!|") if table is _LEET_FIRST else core
    # The signs around it stay: a comma still ends the clause.
    return word.replace(core, "".join(table.get(char, char) for char in plain), 1)


class _Folds(dict[int, str]):
    """What each character folds to, worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        if len(self) >= _MAX_REMEMBERED:
            self.clear()
        folded = self[code] = _fold_char(chr(code))
        return folded


@cache
def _folds() -> _Folds:
    return _Folds()


def _fold_char(char: str) -> str:
    if unicodedata.category(char).startswith("M"):
        return ""  # before case folding, which makes a letter of U+0345
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
