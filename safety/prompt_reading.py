"""What a closed-domain model will draw of an English prompt: the words of its vocabulary, and nothing in doubt."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from models.card import Vocabulary

#: A prompt that denies something needs more than a list of words to be understood.
_DENIAL = re.compile(r"\b(?:no|not|without|never|non|isn't|neither|nor|instead|except|but)\b")


@dataclass(frozen=True)
class PromptReader:
    """Reads product, colour, material, background and layout; empty as soon as one of them could mean two things."""

    vocabulary: Vocabulary

    def __call__(self, prompt: str) -> Mapping[str, str]:
        text = re.sub(r"\s+", " ", prompt.casefold())
        if _DENIAL.search(text):
            return {}
        found: dict[str, set[str]] = {}
        found["background"] = {match[1] for match in self._backdrops.finditer(text)}
        text = self._backdrops.sub(",", text)
        for part, words in (("background", self._scenes), ("layout", self._layouts)):
            found.setdefault(part, set()).update(match[1] for match in words.finditer(text))
            text = words.sub(",", text)
        for part, words in (
            ("product", self._kinds),
            ("colour", self._colours),
            ("material", self._materials),
        ):
            found[part] = {match[1] for match in words.finditer(text)}
        named = {part: {self._canonical(word) for word in words} for part, words in found.items()}
        if len(named["product"]) != 1 or any(len(words) > 1 for words in named.values()):
            return {}
        return {part: next(iter(words)) for part, words in named.items() if words}

    def _canonical(self, word: str) -> str:
        return self.vocabulary.synonyms.get(word, word)

    def _words(self, names: Iterable[str], behind: str = "") -> re.Pattern[str]:
        """The names and their synonyms, the longest first, where `behind` follows them."""
        wanted = set(names)
        words = wanted | {word for word, name in self.vocabulary.synonyms.items() if name in wanted}
        ordered = sorted(map(re.escape, words), key=len, reverse=True)
        return re.compile(rf"(?<![\w-])({'|'.join(ordered) or '(?!)'}){behind}(?![\w-])")

    @cached_property
    def _kinds(self) -> re.Pattern[str]:
        return self._words(self.vocabulary.kinds)

    @cached_property
    def _colours(self) -> re.Pattern[str]:
        return self._words(self.vocabulary.colours)

    @cached_property
    def _materials(self) -> re.Pattern[str]:
        return self._words(self.vocabulary.materials)

    @cached_property
    def _layouts(self) -> re.Pattern[str]:
        return self._words(self.vocabulary.layouts)

    @cached_property
    def _backdrops(self) -> re.Pattern[str]:
        return self._words(self.vocabulary.backgrounds, r"\s+(?:background|backdrop|wall)")

    @cached_property
    def _scenes(self) -> re.Pattern[str]:
        """Backgrounds that are places and need no word for them: "in a garden"."""
        return self._words({"wooden table", "garden", "sunset"} & set(self.vocabulary.backgrounds))
