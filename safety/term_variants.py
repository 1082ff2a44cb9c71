"""Other spellings of one listed word, made once when the rules are compiled: looking them up costs nothing later.

Each kind has a length below which it would meet ordinary words too often. What is left of such meetings is named in
the packs as kept words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

#: Shortest word of which a spelling of that kind is made, in letters.
MIN_REVERSED, MIN_CONSONANTS, MIN_MISSPELT = 4, 4, 7

_VOWEL = re.compile("[aeiou]")
_LATIN_WORD = re.compile("[a-z]+")


def variants(word: str) -> Iterator[str]:
    """Other spellings of `word`, which is in the form that its views have; the word itself is not among them."""
    yield from (other for other in _all(word) if other != word)


def _all(word: str) -> Iterator[str]:
    if len(word) >= MIN_REVERSED:
        yield word[::-1]
    if _LATIN_WORD.fullmatch(word):
        bare = consonants(word)
        if len(bare) >= MIN_CONSONANTS:
            yield bare
            yield word[0] + consonants(word[1:])
        if len(word) >= MIN_MISSPELT:
            yield from one_vowel_less(word)
            yield from two_letters_swapped(word)


def consonants(word: str) -> str:
    """`word` without its vowels."""
    return _VOWEL.sub("", word)


def one_vowel_less(word: str) -> Iterator[str]:
    """`word` without one of its inner vowels."""
    for at in range(1, len(word) - 1):
        if word[at] in "aeiou":
            yield word[:at] + word[at + 1 :]


def two_letters_swapped(word: str) -> Iterator[str]:
    """`word` with two inner neighbours swapped, which readers hardly notice."""
    for at in range(1, len(word) - 2):
        yield word[:at] + word[at + 1] + word[at] + word[at + 2 :]
