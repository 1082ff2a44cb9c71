"""The starter's own dual encoder, for catalogue pictures only: a caption parser and the meter's classifier.

What a caption names is compared with what the classifier sees. Both know the starter's world and nothing else: a caption
outside its language is not judged, and a set of pictures with which the classifier mostly disagrees is none of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from models.catalogue.captions import SYNONYMS
from models.catalogue.world import COLOURS, KINDS
from models.curation.decode import Pixels
from models.curation.encoders import Cut, Scores
from models.evaluation.classifier import Classifier

_WORD = re.compile(r"[a-z]+")
_DENYING = frozenset({"no", "not", "without", "never", "nothing", "than", "instead", "isn", "minus"})
_AFFIRMING = frozenset({"but", "just", "is", "it"})
_SURROUNDINGS = "background backdrop wall behind against on surface surroundings setting paper around amid before table front"
_BACKDROP = frozenset(_SURROUNDINGS.split())
_BACKDROP_NOUNS = frozenset({"background", "backdrop", "wall", "surface", "surroundings", "setting", "paper"})
#: words between a colour and its product, at most
_REACH = 3


class _Hit(NamedTuple):
    start: int
    end: int
    attribute: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Named:
    """What a caption says about the product itself; None and nothing where it does not, or not clearly."""

    kind: str | None
    colours: frozenset[str]


def parse(caption: str) -> Named:
    """The one kind a caption names, and the colours that stand with it; what is denied is not named."""
    words = _WORD.findall(caption.casefold())
    hits = [hit for hit in _hits(words) if not _denied(words, hit.start)]
    kinds = {hit.name for hit in hits if hit.attribute == "kind"}
    if len(kinds) == 2:
        kinds -= {"camera"}  # the one that takes the picture: "move the camera close to the mug"
    if len(kinds) != 1:
        return Named(kind=None, colours=frozenset())
    products = [hit for hit in hits if hit.name in kinds]
    colours = {
        hit.name
        for hit in hits
        if hit.attribute == "colour" and any(_belongs(words, hit, it) for it in products)
    }
    return Named(kind=kinds.pop(), colours=frozenset(colours))


def _hits(words: list[str]) -> list[_Hit]:
    phrases, longest = _phrases()
    hits, place = [], 0
    while place < len(words):
        for length in range(min(longest, len(words) - place), 0, -1):
            meaning = phrases.get(tuple(words[place : place + length]))
            if meaning is not None:
                hits.append(_Hit(place, place + length, *meaning))
                place += length - 1
                break
        place += 1
    return hits


@lru_cache(maxsize=1)
def _phrases() -> tuple[Mapping[tuple[str, ...], tuple[str, str]], int]:
    """Every wording of every kind and colour, also in the plural; words of other attributes that contain them, too."""
    found: dict[tuple[str, ...], tuple[str, str]] = {}
    for attribute in ("background", "layout", "material", "colour", "kind"):
        for wording, name in SYNONYMS[attribute].items():
            if attribute in ("kind", "colour") or len(wording.split()) > 1:
                found[tuple(_WORD.findall(wording))] = (attribute, name)
    found |= {tuple(_WORD.findall(name)): ("colour", name) for name in COLOURS}
    found |= {(name,): ("kind", name) for name in KINDS}
    for words, meaning in list(found.items()):
        if meaning[0] == "kind":
            found.setdefault((*words[:-1], words[-1] + "s"), meaning)
            found.setdefault((*words[:-1], words[-1] + "es"), meaning)
    return found, max(map(len, found))


def _denied(words: list[str], place: int) -> bool:
    for back in range(1, 4):
        if place - back < 0:
            return False
        word = words[place - back]
        if word in _DENYING:
            return True
        if word in _AFFIRMING:
            return word == "but" and words[place - back - 1 : place - back] == ["anything"]
    return False


def _belongs(words: list[str], colour: _Hit, product: _Hit) -> bool:
    """Whether the colour stands right before the product, or after it behind "in", "of" and the like."""
    before, after = words[colour.end : product.start], words[product.end : colour.start]
    behind = words[colour.end : colour.end + 2]
    if colour.end <= product.start:
        return len(before) <= _REACH and not _BACKDROP & {*before}
    return len(after) <= _REACH and not _BACKDROP & {*after} and not _BACKDROP_NOUNS & {*behind}


@dataclass(frozen=True, kw_only=True)
class CatalogueEncoder:
    """The score is the probability of the named kind, halved where the colour seen is none of those named with it."""

    classifier: Classifier
    name: str = "the catalogue's own encoder"
    side: int = 128

    @property
    def default_cut(self) -> Cut:
        # Of 800 renders in four sizes, 0.1 took 0.1 % of true pairs and 99.6 % of those with another kind's caption.
        # A threshold of 0.51 takes wrong colours as well, and with them 7 % of the true pairs of oblong pictures.
        return Cut(threshold=0.1, known_from=20, known_median=0.8)

    @classmethod
    def open(cls) -> CatalogueEncoder:
        """Raises ModelNotFound without the classifier's file."""
        return cls(classifier=Classifier())

    def similarity(self, pictures: Sequence[Pixels], captions: Sequence[str]) -> Scores:
        """Scores (N,) in 0..1; NaN for captions outside the catalogue's language."""
        scores = np.full(len(pictures), np.nan)
        named = [parse(caption) for caption in captions]
        places = [place for place, said in enumerate(named) if said.kind is not None]
        if not places:
            return scores
        look = self.classifier.look([pictures[place] for place in places])
        for row, place in enumerate(places):
            said = named[place]
            if said.kind is None:
                continue
            score = float(look.kinds[row, KINDS.index(said.kind)])
            agrees = not said.colours or look.judgements[row].seen["colour"] in said.colours
            scores[place] = score if agrees else score / 2
        return scores
