"""Words written without spaces between them: a listed word inside a longer one is found when the rest are words too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_HEAD_CHARS = 4
#: Shortest listed word, shortest listed phrase without its spaces, and shortest word beside either.
MIN_GLUED, MIN_GLUED_PHRASE, _MIN_PARTNER = 4, 6, 3
#: A listed word this long is found whatever stands around it: hardly an ordinary word holds one.
MIN_ANYWHERE = 8
_MAX_CHARS = 60


@dataclass(frozen=True, kw_only=True)
class GluedWords:
    """The words that are looked for inside longer ones."""

    #: The first letters of listed words -> the listed words, longest first.
    heads: dict[str, tuple[str, ...]]
    #: Those that are found whatever stands around them.
    anywhere: frozenset[str]
    partners: frozenset[str]
    kept: frozenset[str]

    def taken_apart(self, word: str) -> list[str]:
        """The words that `word` consists of, one of them listed; empty when it is an ordinary word."""
        if not MIN_GLUED + _MIN_PARTNER <= len(word) <= _MAX_CHARS or word in self.kept:
            return []
        heads = self.heads
        for at in range(len(word) - _HEAD_CHARS + 1):
            for listed in heads.get(word[at : at + _HEAD_CHARS], ()):
                if word.startswith(listed, at):
                    before, after = word[:at], word[at + len(listed) :]
                    parts = self._whole(before, listed, after)
                    if parts:
                        return parts
        return []

    def _whole(self, before: str, listed: str, after: str) -> list[str]:
        first, last = self._words_of(before), self._words_of(after)
        if first is not None and last is not None:
            return [*first, listed, *last]
        return [part for part in (before, listed, after) if part] if listed in self.anywhere else []

    def _words_of(self, text: str) -> list[str] | None:
        """`text` as words, fewest first; None when it is not made of words."""
        best: list[list[str] | None] = [[], *([None] * len(text))]
        for end in range(_MIN_PARTNER, len(text) + 1):
            for start in range(end - _MIN_PARTNER + 1):
                so_far = best[start]
                if so_far is not None and text[start:end] in self.partners:
                    made = [*so_far, text[start:end]]
                    known = best[end]
                    if known is None or len(made) < len(known):
                        best[end] = made
        return best[-1]


def glued_words(
    listed: Iterable[str], anywhere: Iterable[str], partners: Iterable[str], kept: frozenset[str]
) -> GluedWords:
    """An index of the `listed` words, those of them found `anywhere` if long enough, and of ordinary `partners`."""
    heads: dict[str, list[str]] = {}
    words = {word for word in listed if len(word) >= MIN_GLUED}
    for word in sorted(words, key=lambda one: (-len(one), one)):
        heads.setdefault(word[:_HEAD_CHARS], []).append(word)
    return GluedWords(
        heads={head: tuple(found) for head, found in heads.items()},
        anywhere=frozenset(word for word in anywhere if len(word) >= MIN_ANYWHERE),
        partners=frozenset(word for word in {*partners, *words} if len(word) >= _MIN_PARTNER),
        kept=kept,
    )
