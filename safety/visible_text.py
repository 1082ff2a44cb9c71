"""A prompt as a reader sees it: compatibility forms resolved, invisible characters found, white space made plain."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

#: Stands for an invisible character between the first and the last step; NUL is invisible itself, so it is never text.
HIDDEN = "\0"

#: Default_Ignorable_Code_Point of Unicode 17 (DerivedCoreProperties.txt), as far as category Cf does not cover it:
#: the grapheme joiner U+034F, Hangul fillers, Khmer vowels, Mongolian and general variation selectors, tags.
_DEFAULT_IGNORABLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)
_LINE_ENDS = "\n\r\x0b\x0c\x85\u2028\u2029"
_BRAILLE_BLANK = "\u2800"
_INSIDE = re.compile(rf"(?<=[^\s{HIDDEN}]){HIDDEN}+(?=[^\s{HIDDEN}])")
_HUMP = re.compile(r"(?<=[^\W\d_A-ZÀ-ÖØ-Þ])(?=[A-ZÀ-ÖØ-Þ][^\W\d_A-ZÀ-ÖØ-Þ])")

#: Characters whose reading is remembered, far more than the text of one language has.
_MAX_REMEMBERED = 16_384

#: Longest word, in pieces, that is put together again when invisible characters both split and join words.
_MAX_PIECES = 12


def readings(text: str) -> tuple[str, ...]:
    """The ways to read `text`, cased; the first has every invisible character removed.

    An invisible character may have been put into a word or between two words, so both are read; the same holds for
    a capital letter inside a word.
    """
    marked = mark_hidden(text)
    plain = _without_hidden(marked)
    found = [plain]
    if _INSIDE.search(marked):
        found += [_without_hidden(_INSIDE.sub(" ", marked)), *_partly_joined(marked)]
    humps = _HUMP.sub(" ", plain)
    return tuple(dict.fromkeys([*found, humps]))


def _without_hidden(marked: str) -> str:
    # Composed again, because an invisible character may have stood between a letter and its accent.
    return unicodedata.normalize("NFKC", marked.replace(HIDDEN, "")) if HIDDEN in marked else marked


def mark_hidden(text: str) -> str:
    """NFKC of `text` with each invisible character as `HIDDEN` and each kind of white space as a space."""
    if text.isascii() and text.isprintable():
        return text
    return unicodedata.normalize("NFKC", text.translate(_marks()))


def count_hidden(text: str) -> int:
    """How many characters of `text` nobody sees."""
    return 0 if text.isascii() and text.isprintable() else text.translate(_marks()).count(HIDDEN)


class _Marks(dict[int, str]):
    """What each character is read as, worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        if len(self) >= _MAX_REMEMBERED:
            self.clear()
        marked = self[code] = _mark(chr(code))
        return marked


@cache
def _marks() -> _Marks:
    return _Marks()


def _mark(char: str) -> str:
    if char.isspace():
        return "\n" if char in _LINE_ENDS else " "
    if unicodedata.category(char) in {"Cf", "Cc", "Cs", "Co", "Cn"} or char == _BRAILLE_BLANK:
        return HIDDEN
    if _DEFAULT_IGNORABLE.match(char):
        return HIDDEN
    if "LATIN" in unicodedata.name(char, "") and unicodedata.name(char, "").startswith("PARENTHESIZED"):
        return unicodedata.normalize("NFKC", char).strip("()")
    # A spacing accent such as U+00A8 becomes a space and an accent under NFKC, which would split a word in two.
    compatible = unicodedata.normalize("NFKC", char)
    return HIDDEN if compatible.startswith(" ") and len(compatible) > 1 else char


def _partly_joined(marked: str) -> list[str]:
    """Words of neighbouring pieces of what invisible characters cut in three or more: "nu|de|lamp" holds two words."""
    joined = []
    for chunk in re.split(r"\s", marked):
        pieces = [piece for piece in chunk.split(HIDDEN) if piece]
        for first in range(len(pieces)):
            for end in range(first + 2, min(len(pieces), first + _MAX_PIECES) + 1):
                if end - first < len(pieces):
                    joined.append("".join(pieces[first:end]))
    # A full stop keeps two of them from being read as a phrase.
    return [unicodedata.normalize("NFKC", " . ".join(joined))] if joined else []
