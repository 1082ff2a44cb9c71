"""The published word tables: what names a person, what leaves a prompt alone, and what is said about a person."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

LANGUAGES = ("en", "de", "fr", "es", "it")

#: Why a prompt is left alone, and the table of words that says so; in the order in which the reasons are told.
BLOCKERS: Mapping[str, str] = {
    "children": "children",
    "character": "characters",
    "history": "history",
    "place_or_culture": "places",
    "culture": "culture",
    "medical": "medical",
    "not_a_person": "objects",
}
#: Tables of one reason are told as one.
REASON_OF = {"culture": "place_or_culture"}

_WORD = re.compile(r"\w+(?:-\w+)*")


@dataclass(frozen=True, kw_only=True)
class Token:
    """A word of a prompt and where it stands, in characters."""

    text: str
    folded: str
    start: int
    end: int


def tokens_of(text: str) -> tuple[Token, ...]:
    """The words of a text; apostrophes part words, hyphens do not."""
    return tuple(
        Token(text=match[0], folded=match[0].casefold(), start=match.start(), end=match.end())
        for match in _WORD.finditer(text)
    )


class Phrases:
    """Words and phrases to be found among tokens.

    A word that is listed with a capital letter is only found with one: German tells a boy from somebody young by it.
    """

    def __init__(self, phrases: Iterable[str]) -> None:
        self._by_first: dict[str, list[tuple[str, ...]]] = {}
        for phrase in phrases:
            words = tuple(token.text for token in tokens_of(phrase))
            self._by_first.setdefault(words[0], []).append(words)
        for found in self._by_first.values():
            found.sort(key=len, reverse=True)

    def __contains__(self, token: Token) -> bool:
        return any((word,) in self._by_first.get(word, ()) for word in {token.text, token.folded})

    def find(self, tokens: Sequence[Token]) -> Iterator[tuple[int, int]]:
        """First and last place of each phrase found, the longest at each place."""
        place = 0
        while place < len(tokens):
            length = self._length_at(tokens, place)
            if length:
                yield place, place + length - 1
            place += max(1, length)

    def anywhere(self, tokens: Sequence[Token]) -> bool:
        return next(self.find(tokens), None) is not None

    def _length_at(self, tokens: Sequence[Token], place: int) -> int:
        for first in {tokens[place].text, tokens[place].folded}:
            for words in self._by_first.get(first, ()):
                there = tokens[place : place + len(words)]
                if len(there) == len(words) and all(
                    word in (token.text, token.folded) for word, token in zip(words, there, strict=True)
                ):
                    return len(words)
        return 0


@dataclass(frozen=True, kw_only=True)
class Table:
    """The words of one language."""

    lang: str
    #: Words by which the language is told.
    marks: Phrases
    #: Nouns that leave all about a person open; those whose form or article says how somebody presents.
    nouns: Phrases
    gendered: Phrases
    plurals: Phrases
    gendered_plurals: Phrases
    #: What may stand behind a noun that ends there, and what shows that it does not end there.
    follows: Phrases
    follows_endings: tuple[str, ...]
    not_follows: Phrases
    #: "for a nurse" shows no nurse, "no people" nobody.
    not_shown_before: Phrases
    titles: Phrases
    #: By reason, in the order of `BLOCKERS`.
    blockers: Mapping[str, Phrases]
    #: Words that state an attribute wherever they stand, and those that do so beside the noun.
    stated: Mapping[str, Phrases]
    adjacent: Mapping[str, Phrases]
    #: The words that are added: attribute to value to phrase.
    phrases: Mapping[str, Mapping[str, str]]
    #: First names and famous ones, without what means something else in this language.
    names: Phrases


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What holds in every language."""

    #: Capitals in the middle of a sentence that name nobody.
    capitals: frozenset[str]
    names: tuple[str, ...]


@cache
def table_of(lang: str) -> Table:
    """The table of one of `LANGUAGES`."""
    raw = _read(lang)

    def phrases(name: str) -> Phrases:
        return Phrases(raw[name])

    own = {word.casefold() for name in ("nouns", "gendered", "marks", "follows") for word in raw[name]}
    return Table(
        lang=lang,
        **{
            name: phrases(name)
            for name in (
                "marks", "nouns", "gendered", "plurals", "gendered_plurals", "not_follows", "not_shown_before", "titles",
            )
        },
        follows=Phrases(word for word in raw["follows"] if not word.startswith("*")),
        follows_endings=_endings(raw),
        blockers={reason: phrases(name) for reason, name in BLOCKERS.items()},
        stated={name: Phrases(words) for name, words in raw["stated"].items()},
        adjacent={name: Phrases(words) for name, words in raw["adjacent"].items()},
        phrases=raw["phrases"],
        names=Phrases(name for name in shared().names if name not in own),
    )  # fmt: skip


def _endings(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """The endings that may follow; "*lower" and "*any" stand for any word in lower case and any word at all."""
    return (*raw["follows_endings"], *(word for word in raw["follows"] if word.startswith("*")))


@cache
def shared() -> Shared:
    raw = _read("names")
    return Shared(capitals=frozenset(raw["capitals"]), names=(*raw["given"], *raw["famous"]))


def _read(name: str) -> Any:
    return json.loads((files("safety") / "fairness" / "words" / f"{name}.json").read_text("utf-8"))


def main_language(text: str) -> str:
    """The language to tag a text with: its own, or English where that cannot be told."""
    return language_of(text) or "en"


def language_of(text: str) -> str | None:
    """The language of a text by its small words; None when two are as likely, or none is known."""
    tokens = tokens_of(text)
    scores = {lang: sum(token in table_of(lang).marks for token in tokens) for lang in LANGUAGES}
    best = max(scores.values())
    likely = [lang for lang in LANGUAGES if scores[lang] == best]
    return likely[0] if best and len(likely) == 1 else None
