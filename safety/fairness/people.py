"""Finds the person in a prompt who is left open, and leaves every prompt alone that says more than that."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from safety.fairness.tables import (
    LANGUAGES,
    REASON_OF,
    Table,
    Token,
    language_of,
    shared,
    table_of,
    tokens_of,
)
from schemas.fairness import VALUES, Attribute

#: Reasons that no table holds.
NAMED_PERSON, SEVERAL_PEOPLE, NOT_SHOWN = "named_person", "several_people", "not_shown"
COMPOUND, UNKNOWN_LANGUAGE, ALL_STATED = "compound_noun", "unknown_language", "all_stated"

_YEAR = re.compile(r"(?<!\w)(?:1\d{3}|20\d{2})(?:s|er|ern)?(?!\w)|(?<!\w)[2-9]0(?:s|er|ern)(?!\w)")
_AGE = re.compile(
    r"(?<!\w)\d{1,3}[\s-]*(?:years?|yrs?|yo|ans|años|anni|jahre|jährige?r?n?)(?!\w)|(?<!\w)\d{2}\+",
    re.IGNORECASE,
)
#: What ends a sentence, behind which any word has a capital letter.
_SENTENCE_END = re.compile(r"[.!?:\n\"“„«(]\s*$")
_NEAR = 3


@dataclass(frozen=True, kw_only=True)
class OpenPerson:
    """One generic person noun, and what the prompt leaves open about whom it means."""

    lang: str
    #: Where the noun ends, in characters: added words stand there.
    at: int
    plural: bool
    #: In the order in which they are said.
    open: tuple[Attribute, ...]


@dataclass(frozen=True, kw_only=True)
class LeftAlone:
    """A prompt about people that is not to be touched, and why."""

    reason: str


def find_person(prompt: str, negative_prompt: str = "") -> OpenPerson | LeftAlone | None:
    """Whom the prompt leaves open; None when it speaks of no person at all. In doubt it is left alone."""
    tokens = tokens_of(prompt)
    nouns = {lang: _nouns(tokens, table_of(lang)) for lang in LANGUAGES}
    spoken = [lang for lang, found in nouns.items() if found]
    if not spoken:
        return None
    lang = language_of(prompt) or (spoken[0] if len(spoken) == 1 else None)
    if lang is None:
        return LeftAlone(reason=UNKNOWN_LANGUAGE)
    if not nouns[lang]:
        return None
    table = table_of(lang)
    reason = _blocked(prompt, tokens, table) or _unclear(prompt, tokens, nouns[lang], table)
    if reason:
        return LeftAlone(reason=reason)
    noun = nouns[lang][0]
    stated = _stated(prompt, tokens, noun, table) | _stated_words(tokens_of(negative_prompt), table)
    closed = {"presentation"} if noun.gendered else set()
    left = tuple(attribute for attribute in VALUES if attribute not in stated | closed)
    if not left:
        return LeftAlone(reason=ALL_STATED)
    return OpenPerson(lang=lang, at=tokens[noun.last].end, plural=noun.plural, open=left)


@dataclass(frozen=True, kw_only=True)
class _Noun:
    first: int
    last: int
    plural: bool
    gendered: bool


def _nouns(tokens: Sequence[Token], table: Table) -> list[_Noun]:
    kinds = (
        (table.nouns, False, False),
        (table.gendered, False, True),
        (table.plurals, True, False),
        (table.gendered_plurals, True, True),
    )
    found = [
        _Noun(first=first, last=last, plural=plural, gendered=gendered)
        for phrases, plural, gendered in kinds
        for first, last in phrases.find(tokens)
    ]
    # "office worker" is one noun, not a worker beside it; a word in two lists is taken as the more closed one.
    found.sort(key=lambda noun: (noun.first, -noun.last, not noun.gendered))
    kept: list[_Noun] = []
    for noun in found:
        if not kept or noun.first > kept[-1].last:
            kept.append(noun)
    return kept


def _blocked(prompt: str, tokens: Sequence[Token], table: Table) -> str:
    if _names_somebody(prompt, tokens, table):
        return NAMED_PERSON
    for reason, phrases in table.blockers.items():
        if phrases.anywhere(tokens):
            return REASON_OF.get(reason, reason)
    return "history" if _YEAR.search(prompt) else ""


def _names_somebody(prompt: str, tokens: Sequence[Token], table: Table) -> bool:
    if table.names.anywhere(tokens) or "@" in prompt:
        return True
    capital = [token.text[0].isupper() and token.text not in shared().capitals for token in tokens]
    opens = [token.start == 0 or bool(_SENTENCE_END.search(prompt[: token.start])) for token in tokens]
    if table.lang != "de":
        return any(is_capital and not first for is_capital, first in zip(capital, opens, strict=True))
    # Every German noun has a capital letter; two in a row are a name, or a title with one.
    return any(
        capital[i] and capital[i + 1] and not opens[i] and prompt[tokens[i].end : tokens[i + 1].start] == " "
        for i in range(len(tokens) - 1)
    )


def _unclear(prompt: str, tokens: Sequence[Token], nouns: Sequence[_Noun], table: Table) -> str:
    if len(nouns) > 1:
        return SEVERAL_PEOPLE
    noun = nouns[0]
    before = tokens[max(0, noun.first - _NEAR) : noun.first]
    if any(token in table.not_shown_before for token in before):
        return NOT_SHOWN
    if any(token in table.titles for token in before[-1:]) or (
        noun.last == 0 and table.lang == "de" and noun.gendered
    ):
        return NAMED_PERSON
    return "" if _ends_there(prompt, tokens, noun, table) else COMPOUND


def _ends_there(prompt: str, tokens: Sequence[Token], noun: _Noun, table: Table) -> bool:
    """Whether the noun is the end of its phrase: in "nurse shoes" and "head of staff" it is not."""
    rest = prompt[tokens[noun.last].end :]
    if noun.last + 1 == len(tokens) or re.match(r"\s*[,.;:!?()\n]", rest):
        return True
    if not rest.startswith(" "):
        return False
    after = tokens[noun.last + 1]
    if after in table.not_follows:
        return False
    if "*any" in table.follows_endings or after in table.follows:
        return True
    if "*lower" in table.follows_endings:
        return not after.text[0].isupper()
    return after.folded.endswith(table.follows_endings)


def _stated(prompt: str, tokens: Sequence[Token], noun: _Noun, table: Table) -> set[str]:
    # The noun itself is no statement beyond its grammar: "dancer" says much, but "doctor" nothing.
    stated = _stated_words(tokens, table)
    near = _beside(prompt, tokens, noun)
    stated |= {name for name, phrases in table.adjacent.items() if any(token in phrases for token in near)}
    return stated | ({"age_band"} if _AGE.search(prompt) else set())


def _stated_words(tokens: Sequence[Token], table: Table) -> set[str]:
    return {name for name, phrases in table.stated.items() if phrases.anywhere(tokens)}


def _beside(prompt: str, tokens: Sequence[Token], noun: _Noun) -> list[Token]:
    """The words around the noun that no punctuation parts from it."""
    near = []
    for token in reversed(tokens[max(0, noun.first - _NEAR) : noun.first]):
        if re.search(r"[^\s\w'’-]", prompt[token.end : tokens[noun.first].start]):
            break
        near.append(token)
    for token in tokens[noun.last + 1 : noun.last + 3]:
        if re.search(r"[^\s\w'’-]", prompt[tokens[noun.last].end : token.start]):
            break
        near.append(token)
    return near


def add_words(prompt: str, at: int, phrases: Sequence[str]) -> tuple[str, str]:
    """The prompt with the phrases between commas behind the noun, and what was added; phrases agree with nothing."""
    said = ", ".join(phrase for phrase in phrases if phrase)
    if not said:
        return prompt, ""
    added = f", {said}," if re.match(r"\s*\w", prompt[at:]) else f", {said}"
    return prompt[:at] + added + prompt[at:], added


def phrase_of(lang: str, attribute: str, value: str) -> str:
    """The published phrase of a value."""
    words: Mapping[str, str] = table_of(lang).phrases[attribute]
    return words[value]
