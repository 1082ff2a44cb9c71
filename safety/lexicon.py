"""Finding terms in a text: a few dictionary look-ups per word.

Python's `re` tries the alternatives of a pattern one after the other, so an alternation of thousands of terms costs
milliseconds; a dictionary keyed by the first word costs the same for ten terms as for ten thousand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise

from safety.glued_words import GluedWords
from safety.masked_words import MaskedWords
from safety.rule_pack import AgeRule

#: A context does not reach beyond these: "nude, heels" in a list of tags is not a colour.
CLAUSE_END = r"[,.;:!?|()\[\]{}\n/\u3001\u3002\uff0c]"
_BREAKS = frozenset(",.;:!?|()[]{}\n/\u3001\u3002\uff0c")
#: Letters and digits apart, so that "nude4k" holds the word "nude"; the ends of clauses are tokens of their own, and so
#: are letters without a Latin twin, which keep what stands around them apart.
LATIN_TOKEN = re.compile(rf"[a-z]+|[0-9]+|[^\W\d_a-z]+|{CLAUSE_END}")
NATIVE_TOKEN = re.compile(rf"[^\W\d_]+|\d+|{CLAUSE_END}")

_REPEATED = re.compile(r"([^\W\d_])\1")
_REPEATS = re.compile(r"([^\W\d_])\1+")
#: Up to this length one doubled letter makes another word.
_MAX_DOUBTFUL = 4
#: Stems are looked up by their first characters; none is shorter.
HEAD_CHARS = 4
_MAX_BETWEEN = 4
#: A compound has at least these letters before and in its last word.
_MIN_COMPOUND_HEAD, _MIN_COMPOUND_TAIL = 3, 4


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one term or rule says."""

    category: str | None
    score: float
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """Neighbours that make a term harmless, in the form of the views."""

    before: frozenset[str]
    after: frozenset[str]
    through: frozenset[str]
    #: How many words that are not in `through` may stand between, and the words that may never.
    loose: int = 0
    unless: frozenset[str] = frozenset()
    tails: bool = False

    def covers(self, tokens: Sequence[str], start: int, end: int) -> bool:
        """True when the term at ``tokens[start:end]`` has such a neighbour in its clause."""
        if self.after and self._meets(tokens[end : end + _MAX_BETWEEN + 1], self.after):
            return True
        preceding = tokens[max(0, start - _MAX_BETWEEN - 1) : start]
        return bool(self.before) and self._meets(preceding[::-1], self.before)

    def _meets(self, neighbours: Iterable[str], wanted: frozenset[str]) -> bool:
        left = self.loose
        for token in neighbours:
            if token in self.through and token not in wanted:
                continue
            if token in self.unless or (self.tails and _ends_in(token, self.unless)):
                return False
            if token in wanted or (self.tails and _ends_in(token, wanted)):
                return True
            left -= 1
            if left < 0 or token in _BREAKS:
                return False
        return False


def _ends_in(token: str, words: frozenset[str]) -> bool:
    return any(token[at:] in words for at in range(_MIN_COMPOUND_HEAD, len(token) - _MIN_COMPOUND_TAIL + 1))


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One term as a sequence of words."""

    tokens: tuple[str, ...]
    is_stem: bool
    finding: Finding
    allowed: tuple[Allowed, ...]

    def matches(self, words: Sequence[str], start: int) -> bool:
        end = start + len(self.tokens)
        *head, last = self.tokens
        if end > len(words) or list(words[start : end - 1]) != head:
            return False
        return words[end - 1].startswith(last) if self.is_stem else words[end - 1] == last


@dataclass(frozen=True, kw_only=True)
class Lexicon:
    """Terms compiled for one kind of view; `lexicon_compiler` makes it."""

    token: re.Pattern[str]
    glued: GluedWords
    masked: MaskedWords
    #: Ordinary words, and words in a row, that are never read as a disguised term.
    kept: frozenset[str]
    #: First word of a term -> the terms that start with it.
    starts: dict[str, list[Entry]] = field(default_factory=dict)
    #: The first `HEAD_CHARS` of a one-word stem -> the stems.
    stems: dict[str, list[Entry]] = field(default_factory=dict)
    #: Whole terms without spaces, and every beginning of one.
    solid: dict[str, list[Entry]] = field(default_factory=dict)
    beginnings: frozenset[str] = frozenset()
    #: Every word of every term, and the terms that are one word.
    vocabulary: frozenset[str] = frozenset()
    whole: frozenset[str] = frozenset()
    #: Another spelling of a word -> the words; a word with each repeated letter once -> the words.
    spellings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    single: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ages: tuple[tuple[AgeRule, frozenset[str]], ...] = ()

    def find(self, views: Iterable[str]) -> Iterator[Finding]:
        """What the words of several views of one text say."""
        seen: set[tuple[str, ...]] = set()
        meant: dict[str, list[tuple[str, ...]]] = {}
        for view in views:
            for reading in chain((view,), self.masked.readings(view)):
                tokens = tuple(self.token.findall(reading))
                if tokens not in seen:
                    seen.add(tokens)
                    yield from self._find(tokens, reading)
                    yield from self._find_disguised(tokens, meant)

    def find_unspaced(self, text: str) -> Iterator[Finding]:
        """What `text` says anywhere in it, for a script that writes no spaces; contexts do not apply."""
        compact = "".join(token for token in self.token.findall(text) if token not in _BREAKS)
        for start in range(len(compact)):
            for end in range(start + 1, len(compact) + 1):
                piece = compact[start:end]
                yield from (entry.finding for entry in self.solid.get(piece, ()))
                if piece not in self.beginnings:
                    break

    def _find(self, tokens: Sequence[str], text: str = "") -> Iterator[Finding]:
        where = [at for at, token in enumerate(tokens) if token not in _BREAKS]
        words = [tokens[at] for at in where] if len(where) < len(tokens) else tokens
        for entry, start, count in chain(self._terms(words), self._joined(words, text)):
            first, end = where[start], where[start + count - 1] + 1
            if not any(context.covers(tokens, first, end) for context in entry.allowed):
                yield entry.finding
        if self.ages:
            yield from self._find_ages(words)

    def _terms(self, words: Sequence[str]) -> Iterator[tuple[Entry, int, int]]:
        starts, stems = self.starts, self.stems
        for start, word in enumerate(words):
            if word in starts:
                for entry in starts[word]:
                    if entry.matches(words, start):
                        yield entry, start, len(entry.tokens)
            for entry in stems.get(word[:HEAD_CHARS], ()):
                if entry.matches(words, start):
                    yield entry, start, 1

    def _joined(self, words: Sequence[str], text: str) -> Iterator[tuple[Entry, int, int]]:
        """Terms that spaces or signs cut into pieces; `text` shows which of the two it was."""
        beginnings, solid = self.beginnings, self.solid
        ordinary: dict[str, int] = {}
        for start, word in enumerate(words):
            if word not in beginnings:
                continue
            joined = word
            for end in range(start + 1, len(words)):
                joined += words[end]
                count = end + 1 - start
                if joined in solid and not self._is_ordinary(words[start : end + 1], text, ordinary):
                    yield from ((entry, start, count) for entry in solid[joined])
                if joined not in beginnings:
                    for entry in self.stems.get(joined[:HEAD_CHARS], ()):
                        if joined.startswith(entry.tokens[0]):
                            yield entry, start, count
                    break

    def _is_ordinary(self, pieces: Sequence[str], text: str, seen: dict[str, int]) -> bool:
        """True for a kept row of words, as often as it stands in `text` with plain spaces: "pen is", not "pen'is"."""
        row = " ".join(pieces)
        if row not in self.kept:
            return False
        seen[row] = seen.get(row, 0) + 1
        return seen[row] <= " ".join(text.split()).count(row)

    def _find_disguised(
        self, tokens: Sequence[str], meant: dict[str, list[tuple[str, ...]]]
    ) -> Iterator[Finding]:
        for word in tokens:
            if word not in meant:
                ordinary = word in self.whole or word in self.kept
                meant[word] = [] if ordinary else self._readings_of(word)
                if meant[word] and word in self.vocabulary:
                    meant[word].insert(0, (word,))
        most = max((len(meant[word]) for word in tokens), default=0)
        for number in range(most):
            plain = [
                part
                for word in tokens
                for part in (meant[word][min(number, len(meant[word]) - 1)] if meant[word] else (word,))
            ]
            yield from self._find(plain)
            if any((word[::-1],) in meant[word] for word in tokens):
                # Text that was turned around as a whole has its words in the other order.
                yield from self._find(plain[::-1])

    def _readings_of(self, word: str) -> list[tuple[str, ...]]:
        """What a word that is not listed may stand for, each time as one or more words."""
        found: list[tuple[str, ...]] = [(listed,) for listed in self.spellings.get(word, ())]
        if _REPEATED.search(word):
            found += [(listed,) for listed in self._unrepeated(word)]
        parts = self.glued.taken_apart(word)
        return [*found, tuple(parts)] if parts else found

    def _unrepeated(self, word: str) -> Iterator[str]:
        """Listed words of the same letters, of which `word` only repeats some."""
        runs = _runs(word)
        once = collapse(word)
        # One doubled letter is an ordinary word's as well: "penne" is pasta.
        emphatic = max(runs) > 2 or min(runs) > 1 or sum(run > 1 for run in runs) > 1
        for listed in self.single.get(once, ()):
            if (emphatic or len(listed) > _MAX_DOUBTFUL) and all(map(int.__ge__, runs, _runs(listed))):
                yield listed
        if emphatic and once[:HEAD_CHARS] in self.stems:
            yield once

    def _find_ages(self, words: Sequence[str]) -> Iterator[Finding]:
        for rule, units in self.ages:
            if units.isdisjoint(words):
                continue
            for number, unit in pairwise(words):
                if unit in units:
                    age = int(number) if number.isdigit() and len(number) < 4 else rule.words.get(number)
                    if age is not None and age < rule.below:
                        yield Finding(category=None, score=0.0, marks=(rule.mark,))


_RUN = re.compile(r"(.)\1*")


def _runs(word: str) -> list[int]:
    return [len(run[0]) for run in _RUN.finditer(word)]


def collapse(word: str) -> str:
    """`word` with each repeated letter once."""
    return _REPEATS.sub(r"\1", word)
