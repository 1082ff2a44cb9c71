"""Pictures that somebody has listed: recognised by perceptual hashes, mirrored and turned copies included.

Known-bad lists are not public; they come from their keepers, by agreement, as files into one folder. A list recognises
what is on it and nothing else, so it covers no category of a policy: it only adds findings.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from safety import categories
from safety.hash_index import HashIndex, Words
from safety.image_screen import Pixels, ScreenFault
from safety.perceptual_hash import Hashes, hashes_of, words_of
from schemas.errors import BadSettings

#: Bits that may differ, of 256 and of 64, and the least quality of a picture whose match means anything.
PDQ_RADIUS, PHASH_RADIUS, LEAST_QUALITY = 31, 6, 50
SUFFIXES = (".txt", ".csv", ".jsonl")
_SETTING = "AQUATINT_HASH_LISTS"
_PDQ_CHARS, _PHASH_CHARS = 64, 16
_CATEGORY_NOTE = "# category:"


@dataclass(frozen=True, kw_only=True)
class ListedHash:
    """One line of a list."""

    hash: str
    id: str
    category: str


@dataclass(frozen=True, kw_only=True)
class Match:
    """A listed hash that a picture comes close to: for the operator's own eyes, never for a customer's."""

    id: str
    category: str
    algorithm: str
    distance: int


def read_lists(folder: Path) -> list[ListedHash]:
    """Every line of the lists in a folder; BadSettings names the file and line of one that cannot be read.

    `*.txt` has a hash and perhaps an id on each line, and ``# category: ID`` above them; `*.csv` has columns `hash`,
    and perhaps `id` and `category`; `*.jsonl` has objects with the same fields. Where a line names no category, the file's name
    up to its first dot does.
    """
    if not folder.is_dir():
        raise BadSettings(f"{folder} is not a folder", field=_SETTING)
    paths = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    return [one for path in paths for one in _listed(path)]


def _listed(path: Path) -> Iterator[ListedHash]:
    default = path.name.partition(".")[0]
    with path.open(encoding="utf-8", newline="") as file:
        for number, fields in _lines(path.suffix, file):
            category = fields.get("category") or default
            text = fields.get("hash", "").lower()
            if not categories.is_category(category):
                raise BadSettings(f"{path.name}, line {number}: {category!r} is no category", field=_SETTING)
            if len(text) not in (_PDQ_CHARS, _PHASH_CHARS) or not _is_hexadecimal(text):
                raise BadSettings(
                    f"{path.name}, line {number}: a PDQ hash has 64 hexadecimal digits, a pHash 16",
                    field=_SETTING,
                )
            yield ListedHash(hash=text, id=fields.get("id") or f"{path.name}:{number}", category=category)


def _lines(suffix: str, file: Iterable[str]) -> Iterator[tuple[int, Mapping[str, str]]]:
    if suffix == ".csv":
        for row in (reader := csv.DictReader(file)):
            yield reader.line_num, {name: value for name, value in row.items() if isinstance(value, str)}
        return
    category = ""
    for number, line in enumerate(file, 1):
        text = line.strip()
        if text.lower().startswith(_CATEGORY_NOTE):
            category = text[len(_CATEGORY_NOTE) :].strip()
        elif text and not text.startswith("#"):
            yield number, _json(text) if suffix == ".jsonl" else _plain(text, category)


def _json(text: str) -> Mapping[str, str]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return {name: str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _plain(text: str, category: str) -> Mapping[str, str]:
    hash_, _, id_ = text.replace(",", " ").partition(" ")
    return {"hash": hash_, "id": id_.strip(), "category": category}


def _is_hexadecimal(text: str) -> bool:
    return all(character in "0123456789abcdef" for character in text)


class HashScreen:
    """An image screen over hash lists: 1 for a category of which a listed hash is near, else 0. Thread-safe."""

    name, version = "hash_match", "1"
    #: A list finds only what is on it: no policy may count it as looking for a category.
    covers: tuple[str, ...] = ()

    def __init__(self, listed: Sequence[ListedHash]) -> None:
        if not listed:
            raise ValueError("an empty list needs no screen")
        self.categories = tuple(sorted({one.category for one in listed}))
        self.model_sha256 = _digest(listed)
        self._pdq = _Half("pdq", [one for one in listed if len(one.hash) == _PDQ_CHARS], PDQ_RADIUS)
        self._phash = _Half("phash", [one for one in listed if len(one.hash) == _PHASH_CHARS], PHASH_RADIUS)

    def __len__(self) -> int:
        return len(self._pdq.listed) + len(self._phash.listed)

    def self_test(self) -> None:
        """Finds a listed hash again, and hashes a known picture as it was hashed when this was written."""
        for half in (self._pdq, self._phash):
            if half.listed and not half.finds(words_of(half.listed[-1].hash)):
                raise ScreenFault(f"the {half.algorithm} list does not find its own hashes")
        found = hashes_of(known_picture())
        for algorithm, words, known in (("pdq", found.pdq, _KNOWN_PDQ), ("phash", found.phash, _KNOWN_PHASH)):
            distance = int(np.bitwise_count(words[0] ^ words_of(known)).sum())
            if distance > _KNOWN_DISTANCE:
                raise ScreenFault(f"{algorithm} hashes a known picture {distance} bits off")

    def check(self, images: Sequence[Pixels]) -> list[dict[str, float]]:
        found = [{match.category for match in self.match(image)} for image in images]
        return [{category: float(category in one) for category in self.categories} for one in found]

    def match(self, image: Pixels) -> list[Match]:
        """What a picture (H, W, 3) comes close to, nearest first; nothing for one too plain to be recognised."""
        hashes: Hashes = hashes_of(image)
        if hashes.quality < LEAST_QUALITY:
            return []
        near = [*self._pdq.matches(hashes.pdq), *self._phash.matches(hashes.phash)]
        return sorted(near, key=lambda match: (match.distance, match.id))


class _Half:
    """The hashes of one algorithm."""

    def __init__(self, algorithm: str, listed: Sequence[ListedHash], radius: int) -> None:
        self.algorithm, self.listed = algorithm, tuple(listed)
        words = [words_of(one.hash) for one in listed]
        self._index = HashIndex(np.stack(words), radius) if words else None

    def finds(self, words: Words) -> bool:
        return self._index is not None and len(self._index.near(words)[0]) > 0

    def matches(self, twins: Words) -> list[Match]:
        nearest: dict[int, int] = {}
        index = self._index
        for rows, distances in () if index is None else (index.near(words) for words in twins):
            for row, distance in zip(rows.tolist(), distances.tolist(), strict=True):
                nearest[row] = min(distance, nearest.get(row, distance))
        return [
            Match(
                id=self.listed[row].id,
                category=self.listed[row].category,
                algorithm=self.algorithm,
                distance=distance,
            )
            for row, distance in nearest.items()
        ]


def _digest(listed: Sequence[ListedHash]) -> str:
    lines = sorted(f"{one.hash} {one.category}" for one in listed)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def known_picture() -> Pixels:
    """Waves in three colours, computed and therefore the same everywhere."""
    y, x = np.mgrid[0:160, 0:160] / 160.0
    waves = (np.sin(9 * x + 4 * y**2), np.sin(7 * y - 5 * x * y), np.sin(11 * x * x + 3 * y))
    return np.stack([np.round(127.5 + 127.5 * wave) for wave in waves], axis=-1).astype(np.uint8)


_KNOWN_PDQ = "9403fffc0003fffc1003fffc0003fffc0003fffc0003fffc00035554ffeb0153"
_KNOWN_PHASH = "b4e56b15601f611f"
#: Resampling differs by a rounding between versions of Pillow.
_KNOWN_DISTANCE = 8
