"""The words of pictures in the languages that descriptions are written in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

#: What may be said of a picture, in the order in which it is said.
Part = Literal["colour", "material", "text", "background", "layout", "light"]
PARTS: tuple[Part, ...] = ("colour", "material", "text", "background", "layout", "light")


@dataclass(frozen=True, kw_only=True)
class Words:
    """One language: whole phrases instead of single words, so that nothing has to agree with anything."""

    #: English word to phrase, by part.
    phrases: Mapping[str, Mapping[str, str]]
    #: English name of a product to its name, and to the phrase for two of them.
    one: Mapping[str, str]
    two: Mapping[str, str]
    #: Around a value that is not in the table, by part.
    other: Mapping[str, str]
    setting: str
    #: The disclosure that AI Act, article 50(5) wants to be accessible.
    made: str

    def phrase(self, part: Part, value: str) -> str:
        """How this language says the value; one that it does not know stays as it is, behind its label."""
        return self.phrases.get(part, {}).get(value) or self.other[part].format(value)

    def knows(self, part: Part, value: str) -> bool:
        return value in self.phrases.get(part, {})


@cache
def all_words() -> Mapping[str, Words]:
    """Every language that sentences are built in, by its two letters."""
    stored = json.loads((files("safety") / "description_words.json").read_text("utf-8"))
    return {lang: _words(table) for lang, table in stored.items()}


def _words(table: Mapping[str, Mapping[str, str]]) -> Words:
    named = {name: table[name] for name in ("one", "two", "other", "setting", "made")}
    return Words(phrases={part: table.get(part, {}) for part in PARTS}, **named)  # type: ignore[arg-type]


def base_of(lang: str) -> str:
    """The language of a tag without region and script."""
    return lang.partition("-")[0]
