"""All rule packs together: which categories a prompt touches."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from safety.lexicon import LATIN_TOKEN, NATIVE_TOKEN, Finding, Lexicon
from safety.lexicon_compiler import compile_lexicon
from safety.prompt_views import fold, make_views, native
from safety.rule_pack import PairRule, RulePack, packs_sha256


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The highest score of each category, and the marks for pair rules; no term is kept."""

    scores: dict[str, float]
    marks: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class RuleSet:
    """Compiled packs; build it once with `compile_rules`, it is never changed afterwards and safe to share."""

    latin: Lexicon
    spaced: Lexicon
    unspaced: Lexicon
    pairs: tuple[PairRule, ...]
    signs: dict[str, str]
    sign: re.Pattern[str] | None
    sha256: str

    def screen(self, text: str) -> Findings:
        """What the terms of all packs say about one text."""
        if self.sign is not None and not text.isascii():
            text = self.sign.sub(lambda match: f" {self.signs[match[0]]} ", text)
        views = make_views(text, with_native=bool(self.spaced.solid or self.unspaced.solid))
        found = chain(
            self.latin.find(views.latin),
            self.spaced.find(views.native),
            *(self.unspaced.find_unspaced(view) for view in views.native),
        )
        return _collect(found)

    def screen_pairs(self, marks: frozenset[str]) -> dict[str, float]:
        """The categories of the pair rules whose two marks are both present."""
        return {pair.category: 1.0 for pair in self.pairs if pair.first in marks and pair.second in marks}


def compile_rules(packs: Sequence[RulePack]) -> RuleSet:
    """Compile packs; a mark that a pair rule names may come from any of them."""
    by_script = {
        script: [pack for pack in packs if pack.script == script]
        for script in ("latin", "spaced", "unspaced")
    }
    signs = {sign: word for pack in packs for sign, word in pack.signs.items()}
    longest_first = sorted(signs, key=lambda sign: (-len(sign), sign))
    return RuleSet(
        latin=compile_lexicon(by_script["latin"], normalise=fold, token=LATIN_TOKEN),
        spaced=compile_lexicon(by_script["spaced"], normalise=native, token=NATIVE_TOKEN),
        unspaced=compile_lexicon(by_script["unspaced"], normalise=native, token=NATIVE_TOKEN, shortest=1),
        pairs=tuple(pair for pack in packs for pair in pack.pairs),
        signs=signs,
        sign=re.compile("|".join(map(re.escape, longest_first))) if signs else None,
        sha256=packs_sha256(packs),
    )


def _collect(found: Iterable[Finding]) -> Findings:
    scores: dict[str, float] = {}
    marks: set[str] = set()
    for finding in found:
        marks.update(finding.marks)
        if finding.category:
            scores[finding.category] = max(finding.score, scores.get(finding.category, 0.0))
    return Findings(scores=scores, marks=frozenset(marks))
