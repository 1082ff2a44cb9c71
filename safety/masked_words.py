"""Words of which single letters were replaced by signs: a sign stands for any letter, a digit for one of two."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

#: One letter of two, where leetspeak is ambiguous; from the private use area, which no view holds otherwise.
I_OR_L, B_OR_G = "\ue000", "\ue001"
_CHOICES = {I_OR_L: "il", B_OR_G: "bg"}
_HIDDEN = "\0"

#: A sign that stands for a letter; marks that belong to ordinary spelling (apostrophe, slash, comma, brackets) do not.
_SIGN = r"(?:[^\w\s'’`´/\\,;:\"()\[\]{}<>|\ue000\ue001]|_)"
_LETTER = r"[a-z\ue000\ue001]"
#: Inside a word any sign may stand for a letter; at its ends only a star, as other signs are punctuation there.
_MASKED = re.compile(
    rf"\*?{_LETTER}+(?:{_SIGN}+{_LETTER}+)+\*?"
    rf"|\*{_LETTER}{{3,}}|{_LETTER}{{3,}}\*"
    rf"|{_LETTER}*[\ue000\ue001]{_LETTER}*"
)
_RUN = re.compile(rf"{_SIGN}+")
_ANY_SIGN = re.compile(rf"{_SIGN}|[\ue000\ue001]")

#: Shortest word that is looked for behind signs, and the share of its letters that must be seen.
MIN_MASKED, MIN_SEEN = 4, 0.5
#: Of a word that may stand for more than this, the others are not read.
_MAX_READINGS = 6


@dataclass(frozen=True, kw_only=True)
class MaskedWords:
    """The words that may stand behind signs, by length, first and last letter, each or both of which may be hidden."""

    kept: frozenset[str]
    words: dict[tuple[int, str | None, str | None], list[str]] = field(default_factory=dict)

    def readings(self, text: str) -> Iterator[str]:
        """`text` with its masked words as the words they may stand for; nothing when there is none."""
        if not _ANY_SIGN.search(text):
            return
        found = {mask: words for mask in set(_MASKED.findall(text)) if (words := self._behind(mask))}
        for number in range(min(_MAX_READINGS, max(map(len, found.values()), default=0))):
            yield _MASKED.sub(lambda match: _pick(found, match[0], number), text)  # noqa: B023 - used at once

    def _behind(self, mask: str) -> list[str]:
        if mask in self.kept:
            return []
        shapes = [_RUN.sub(lambda run: _HIDDEN * len(run[0]), mask), _RUN.sub(_HIDDEN, mask)]
        while len(mask) > 1 and mask[-1] == I_OR_L:
            mask = mask[:-1]  # the sign was an exclamation mark
            shapes.append(mask)
        return list(dict.fromkeys(word for shape in dict.fromkeys(shapes) for word in self._like(shape)))

    def _like(self, shape: str) -> Iterator[str]:
        hidden = shape.count(_HIDDEN)
        open_ended = _HIDDEN in (shape[0], shape[-1])
        if (hidden and len(shape) < MIN_MASKED + open_ended) or hidden > (1 - MIN_SEEN) * len(shape):
            return
        first, last = (letter if "a" <= letter <= "z" else None for letter in (shape[0], shape[-1]))
        for word in self.words.get((len(shape), first, last), ()):
            if all(map(_may_be, shape, word)):
                yield word


def _may_be(shown: str, letter: str) -> bool:
    return shown in (letter, _HIDDEN) or letter in _CHOICES.get(shown, "")


def masked_words(words: Iterable[str], kept: frozenset[str]) -> MaskedWords:
    """An index of `words`, which are in the form that the views have."""
    index = MaskedWords(kept=kept)
    for word in sorted(set(words)):
        for first in (word[0], None):
            for last in (word[-1], None):
                index.words.setdefault((len(word), first, last), []).append(word)
    return index


def _pick(found: dict[str, list[str]], mask: str, number: int) -> str:
    words = found.get(mask)
    return mask if not words else words[min(number, len(words) - 1)]
