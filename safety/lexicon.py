"""Finding terms in a text: one dictionary look-up per word.

Python's `re` tries the alternatives of a pattern one after the other, so an alternation of thousands of terms costs
milliseconds; a dictionary keyed by the first word costs the same for ten terms as for ten thousand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise

from safety.rule_pack import SCORES, AgeRule, Context, RulePack, TermGroup
from schemas.errors import BadSettings

#: Letters and digits apart, so that "nude4k" holds the word "nude".
LATIN_TOKEN = re.compile(r"[a-z]+|[0-9]+")
NATIVE_TOKEN = re.compile(r"[^\W\d_]+|\d+")
#: A context does not reach beyond these: "nude, heels" in a list of tags is not a colour.
_CLAUSE_END = re.compile(r"[,.;:!?|()\[\]{}\n/\u3001\u3002\uff0c]")
_MAX_THROUGH = 4
#: A term shorter than this is not looked for where word boundaries are lost.
_MIN_SOLID_CHARS = 4
#: Where repeated letters are collapsed, shorter terms mean nothing any more ("kkk" would be "k").
_MIN_COLLAPSED_CHARS = 3
#: Stems are looked up by their first characters; none is shorter.
_HEAD_CHARS = 4


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one term or rule says."""

    category: str | None
    score: float
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Allowed:
    before: frozenset[str]
    through: frozenset[str]
    after: frozenset[str]

    def covers(self, clauses: Sequence[int], tokens: Sequence[str], start: int, end: int) -> bool:
        reach = _MAX_THROUGH + 1
        following = range(end, min(len(tokens), end + reach))
        preceding = range(start - 1, max(-1, start - 1 - reach), -1)
        clause = clauses[start]
        return self._meets(
            (tokens[at] for at in following if clauses[at] == clause), self.after
        ) or self._meets((tokens[at] for at in preceding if clauses[at] == clause), self.before)

    def _meets(self, neighbours: Iterable[str], wanted: frozenset[str]) -> bool:
        for token in neighbours:
            if token in wanted:
                return True
            if token not in self.through:
                return False
        return False


@dataclass(frozen=True, kw_only=True)
class _Entry:
    tokens: tuple[str, ...]
    is_stem: bool
    finding: Finding
    allowed: tuple[_Allowed, ...]

    def matches(self, tokens: Sequence[str], start: int) -> bool:
        end = start + len(self.tokens)
        *head, last = self.tokens
        if end > len(tokens) or list(tokens[start : end - 1]) != head:
            return False
        return tokens[end - 1].startswith(last) if self.is_stem else tokens[end - 1] == last

    def is_allowed(self, clauses: Sequence[int], tokens: Sequence[str], start: int) -> bool:
        """True when a context makes the match at `start` harmless."""
        end = start + len(self.tokens)
        return any(context.covers(clauses, tokens, start, end) for context in self.allowed)


@dataclass(frozen=True, kw_only=True)
class Lexicon:
    """Terms compiled for one kind of view."""

    token: re.Pattern[str]
    #: First word of a term -> the terms that start with it.
    starts: dict[str, list[_Entry]] = field(default_factory=dict)
    #: The first `_HEAD_CHARS` of a one-word stem -> the stems.
    stems: dict[str, list[_Entry]] = field(default_factory=dict)
    #: Every word of every term.
    vocabulary: set[str] = field(default_factory=set)
    #: Whole terms without spaces, for texts whose word boundaries are lost.
    solid: dict[str, list[Finding]] = field(default_factory=dict)
    solid_lengths: set[int] = field(default_factory=set)
    ages: tuple[tuple[AgeRule, frozenset[str]], ...] = ()

    def find(self, views: Iterable[str]) -> Iterator[Finding]:
        """What the words of several views of one text say.

        Views only join words or change letters, so one that brings no new word of any term is passed over.
        """
        seen: set[str] = set()
        for view in views:
            tokens = self.token.findall(view)
            fresh = set(tokens) - seen
            seen |= fresh
            if self._concerns(fresh):
                yield from self._find_terms(view, tokens)
            if self.ages:
                yield from self._find_ages(tokens)

    def find_inside(self, run: str) -> Iterator[Finding]:
        """What `run` says anywhere in it, without word boundaries; its whole also counts when it is short."""
        yield from self.solid.get(run, ())
        for length in self.solid_lengths:
            if length >= _MIN_SOLID_CHARS:
                for start in range(len(run) - length + 1):
                    yield from self.solid.get(run[start : start + length], ())

    def find_unspaced(self, text: str) -> Iterator[Finding]:
        """As `find_inside`, for a script that writes no spaces: short terms count too; contexts do not apply."""
        compact = "".join(self.token.findall(text))
        for length in self.solid_lengths:
            for start in range(len(compact) - length + 1):
                yield from self.solid.get(compact[start : start + length], ())

    def _concerns(self, words: set[str]) -> bool:
        return not self.vocabulary.isdisjoint(words) or any(
            word[:_HEAD_CHARS] in self.stems for word in words
        )

    def _find_terms(self, view: str, tokens: Sequence[str]) -> Iterator[Finding]:
        starts, stems = self.starts, self.stems
        clauses: list[int] = []
        possible = [at for at, token in enumerate(tokens) if token in starts or token[:_HEAD_CHARS] in stems]
        for start in possible:
            for entry in chain(starts.get(tokens[start], ()), stems.get(tokens[start][:_HEAD_CHARS], ())):
                if entry.matches(tokens, start):
                    if entry.allowed and not clauses:
                        clauses = clause_numbers(view, self.token)
                    if not (entry.allowed and entry.is_allowed(clauses, tokens, start)):
                        yield entry.finding

    def _find_ages(self, tokens: Sequence[str]) -> Iterator[Finding]:
        for rule, units in self.ages:
            if units.isdisjoint(tokens):
                continue
            for number, unit in pairwise(tokens):
                if unit in units:
                    age = int(number) if number.isdigit() and len(number) < 4 else rule.words.get(number)
                    if age is not None and age < rule.below:
                        yield Finding(category=None, score=0.0, marks=(rule.mark,))


def clause_numbers(text: str, token: re.Pattern[str]) -> list[int]:
    """For each token of `text` the number of the clause that it stands in."""
    numbers, clause, end = [], 0, 0
    for match in token.finditer(text):
        clause += _CLAUSE_END.search(text, end, match.start()) is not None
        numbers.append(clause)
        end = match.end()
    return numbers


def compile_lexicon(
    packs: Iterable[RulePack],
    *,
    normalise: Callable[[str], str],
    token: re.Pattern[str],
    collapsed: bool = False,
) -> Lexicon:
    """The terms of `packs` in the form that `normalise` gives the views they are matched against."""
    packs = tuple(packs)
    ages = tuple(
        (rule, frozenset(normalise(unit) for unit in rule.units)) for pack in packs for rule in pack.ages
    )
    lexicon = Lexicon(token=token, ages=ages)
    for pack in packs:
        contexts = {name: _compile_context(context, normalise) for name, context in pack.contexts.items()}
        for group in pack.groups:
            allowed = tuple(contexts[name] for name in group.allow)
            for term in group.terms:
                tokens = tuple(token.findall(normalise(term)))
                if not tokens or (group.kind == "stem" and len(tokens[0]) < _HEAD_CHARS):
                    raise BadSettings(
                        f"rule pack {pack.id}: the term {term!r} is too short", field="rule_packs"
                    )
                if not (collapsed and sum(map(len, tokens)) < _MIN_COLLAPSED_CHARS):
                    _add(lexicon, _entry(group, tokens, allowed))
    return lexicon


def _compile_context(context: Context, normalise: Callable[[str], str]) -> _Allowed:
    before, through, after = (
        frozenset(normalise(word) for word in words)
        for words in (context.before, context.through, context.after)
    )
    return _Allowed(before=before, through=through, after=after)


def _entry(group: TermGroup, tokens: tuple[str, ...], allowed: tuple[_Allowed, ...]) -> _Entry:
    score = SCORES[group.severity] if group.category else 0.0
    finding = Finding(category=group.category, score=score, marks=group.marks)
    return _Entry(tokens=tokens, is_stem=group.kind == "stem", finding=finding, allowed=allowed)


def _add(lexicon: Lexicon, entry: _Entry) -> None:
    lexicon.vocabulary.update(entry.tokens)
    if entry.is_stem:
        lexicon.stems.setdefault(entry.tokens[0][:_HEAD_CHARS], []).append(entry)
    else:
        lexicon.starts.setdefault(entry.tokens[0], []).append(entry)
    solid = "".join(entry.tokens)
    lexicon.solid.setdefault(solid, []).append(entry.finding)
    lexicon.solid_lengths.add(len(solid))
    if len(entry.tokens) > 1:
        # A phrase written as one word is the same phrase.
        lexicon.vocabulary.add(solid)
        whole = _Entry(tokens=(solid,), is_stem=False, finding=entry.finding, allowed=entry.allowed)
        lexicon.starts.setdefault(solid, []).append(whole)
