"""From rule packs to a lexicon: terms in the form of the views, and the other spellings under which they are looked up."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from safety import categories as ids
from safety.glued_words import MIN_GLUED_PHRASE, glued_words
from safety.lexicon import HEAD_CHARS, Allowed, Entry, Finding, Lexicon, collapse
from safety.masked_words import masked_words
from safety.rule_pack import SCORES, AgeRule, Context, RulePack, TermGroup
from safety.term_variants import variants
from schemas.errors import BadSettings

#: A term shorter than this is not put together from pieces.
_MIN_JOINED_CHARS = 4
#: People are in so many longer words that these categories are only found where every part is a word.
_ONLY_AMONG_WORDS = {None, ids.PERSON, ids.MINORS_PRESENT}


def compile_lexicon(
    packs: Iterable[RulePack],
    *,
    normalise: Callable[[str], str],
    token: re.Pattern[str],
    shortest: int = _MIN_JOINED_CHARS,
) -> Lexicon:
    """The terms of `packs` in the form that `normalise` gives the views they are matched against.

    Terms of fewer than `shortest` characters are not put together from pieces. BadSettings for a term that is too short for its kind and for a context that no pack defines.
    """
    packs = tuple(packs)
    contexts = {
        f"{pack.id}/{name}": _compile_context(context, normalise)
        for pack in packs
        for name, context in pack.contexts.items()
    }
    entries = _merged(
        _entry(pack, group, term, contexts, normalise, token)
        for pack in packs
        for group in pack.groups
        for term in group.terms
    )
    kept = frozenset(" ".join(token.findall(normalise(word))) for pack in packs for word in pack.kept)
    partners = {normalise(word) for pack in packs for word in pack.glued_with}
    for context in contexts.values():
        partners |= context.before | context.after | context.through
    ages = tuple(
        (rule, frozenset(normalise(unit) for unit in rule.units)) for pack in packs for rule in pack.ages
    )
    return _indexed(
        entries, kept=kept, partners=frozenset(partners), ages=ages, token=token, shortest=shortest
    )


def _indexed(
    entries: list[Entry],
    *,
    kept: frozenset[str],
    partners: frozenset[str],
    ages: tuple[tuple[AgeRule, frozenset[str]], ...],
    token: re.Pattern[str],
    shortest: int,
) -> Lexicon:
    vocabulary = frozenset(word for entry in entries for word in entry.tokens)
    whole = {"".join(entry.tokens): entry for entry in entries}
    listed = {
        solid for solid, entry in whole.items() if len(entry.tokens) == 1 or len(solid) >= MIN_GLUED_PHRASE
    }
    anywhere = {"".join(entry.tokens) for entry in entries if entry.finding.category not in _ONLY_AMONG_WORDS}
    lexicon = Lexicon(
        token=token,
        glued=glued_words(listed, anywhere & listed, partners | vocabulary, kept),
        masked=masked_words(vocabulary | listed, kept),
        kept=kept,
        beginnings=frozenset(
            solid[:end] for solid in whole if len(solid) >= shortest for end in range(1, len(solid))
        ),
        vocabulary=vocabulary,
        whole=frozenset(whole),
        spellings=_by_spelling(vocabulary, variants, kept | whole.keys()),
        single=_by_spelling(vocabulary, lambda word: (collapse(word),), frozenset()),
        ages=ages,
    )
    for entry in entries:
        _add(lexicon, entry)
    return lexicon


def _by_spelling(
    words: Iterable[str], spellings: Callable[[str], Iterable[str]], taken: frozenset[str]
) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for word in sorted(words):
        for spelling in spellings(word):
            if spelling not in taken:
                found.setdefault(spelling, []).append(word)
    return {spelling: tuple(dict.fromkeys(meant)) for spelling, meant in found.items()}


def _compile_context(context: Context, normalise: Callable[[str], str]) -> Allowed:
    before, through, after, unless = (
        frozenset(normalise(word) for word in words)
        for words in (context.before, context.through, context.after, context.unless)
    )
    return Allowed(
        before=before, through=through, after=after, unless=unless, loose=context.loose, tails=context.tails
    )


def _entry(
    pack: RulePack,
    group: TermGroup,
    term: str,
    contexts: Mapping[str, Allowed],
    normalise: Callable[[str], str],
    token: re.Pattern[str],
) -> Entry:
    tokens = tuple(token.findall(normalise(term)))
    if not tokens or (group.kind == "stem" and len(tokens[0]) < HEAD_CHARS):
        raise BadSettings(f"rule pack {pack.id}: the term {term!r} is too short", field="rule_packs")
    named = [name if "/" in name else f"{pack.id}/{name}" for name in group.allow]
    missing = [name for name in named if name not in contexts]
    if missing:
        raise BadSettings(
            f"rule pack {pack.id}: no pack of its script defines the context {missing[0]!r}",
            field="rule_packs",
        )
    score = SCORES[group.severity] if group.category else 0.0
    finding = Finding(category=group.category, score=score, marks=group.marks)
    allowed = tuple(contexts[name] for name in named)
    return Entry(tokens=tokens, is_stem=group.kind == "stem", finding=finding, allowed=allowed)


def _merged(entries: Iterable[Entry]) -> list[Entry]:
    """One entry for a term that several lists have: what is harmless in one language is so in the prompt.

    "Cocaine" and "cocaïne" fold to the same word, and nobody can tell which of the two was meant.
    """
    found: dict[tuple[tuple[str, ...], bool, str | None], Entry] = {}
    for entry in entries:
        place = (entry.tokens, entry.is_stem, entry.finding.category)
        known = found.get(place)
        if known is None:
            found[place] = entry
            continue
        finding = replace(
            known.finding,
            score=max(known.finding.score, entry.finding.score),
            marks=tuple(dict.fromkeys(known.finding.marks + entry.finding.marks)),
        )
        found[place] = replace(known, finding=finding, allowed=known.allowed + entry.allowed)
    return list(found.values())


def _add(lexicon: Lexicon, entry: Entry) -> None:
    if entry.is_stem:
        lexicon.stems.setdefault(entry.tokens[0][:HEAD_CHARS], []).append(entry)
    else:
        lexicon.starts.setdefault(entry.tokens[0], []).append(entry)
    solid = "".join(entry.tokens)
    whole = Entry(tokens=(solid,), is_stem=False, finding=entry.finding, allowed=entry.allowed)
    lexicon.solid.setdefault(solid, []).append(whole)
    if len(entry.tokens) > 1:
        # A phrase written as one word is the same phrase.
        lexicon.starts.setdefault(solid, []).append(whole)
