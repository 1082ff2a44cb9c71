"""Rule packs: versioned, hashed lists of terms with the contexts in which they are harmless."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from safety import categories as ids
from safety.hashed import Hashed
from schemas.base import Frozen
from schemas.canonical import digest
from schemas.errors import BadSettings

_QUOTED = re.compile(r"'([^']+)'")

Severity = Literal["low", "medium", "high"]
#: Three levels and no finer: a score tells which category was found, not which term.
SCORES: dict[Severity, float] = {"low": 0.4, "medium": 0.7, "high": 1.0}


class Context(Frozen):
    """Neighbouring words that make a term harmless: "nude" before "heels", "shot" before "glass"."""

    before: tuple[str, ...] = ()
    #: Words that may stand between the term and the neighbour, at most four of them.
    through: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    #: How many other words may stand between as well, and which words may never: they end the reach.
    loose: int = Field(0, ge=0, le=4)
    unless: tuple[str, ...] = ()
    #: Whether a compound that ends in one of the words counts as the word: "Kletterwand" is a "Wand".
    tails: bool = False


class TermGroup(Frozen):
    """Terms that mean the same to the screen."""

    #: A word stands alone, a phrase is several words in order, a stem is the beginning of a word.
    kind: Literal["word", "phrase", "stem"]
    #: The category found, or none when the terms only carry marks for pair rules.
    category: str | None = None
    severity: Severity = "high"
    marks: tuple[str, ...] = ()
    #: Contexts of this pack, or ``<pack>/<context>`` of another pack of the same script.
    allow: tuple[str, ...] = ()
    terms: tuple[str, ...] = Field(min_length=1)
    #: The last day on which the terms count, for lists that serve an occasion.
    expires: date | None = None

    @model_validator(mode="after")
    def _right_kind(self) -> TermGroup:
        wrong = [term for term in self.terms if (self.kind == "phrase") != (" " in term.strip())]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is not a {self.kind}")
        return self


class AgeRule(Frozen):
    """A number below `below` in front of a unit of age puts a mark."""

    below: int
    units: tuple[str, ...]
    words: dict[str, int] = Field(default_factory=dict)
    mark: str


class PairRule(Frozen):
    """Two marks that together are a finding, wherever in prompt and negative prompt they stand."""

    first: str
    second: str
    category: str


class RulePack(Hashed):
    """One list in one language; a change is a new version and another digest."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    version: str
    #: ISO 639 code, or "mul".
    language: str
    #: Latin lists meet the folded views, others the native ones; unspaced scripts are searched without word boundaries.
    script: Literal["latin", "spaced", "unspaced"] = "latin"
    contexts: dict[str, Context] = Field(default_factory=dict)
    groups: tuple[TermGroup, ...] = ()
    ages: tuple[AgeRule, ...] = ()
    pairs: tuple[PairRule, ...] = ()
    #: Ordinary words, or words in a row, that look like a disguised term: "dekan", "pen is".
    kept: tuple[str, ...] = ()
    #: Ordinary words that people write together with a listed one: "big", "photo".
    glued_with: tuple[str, ...] = ()
    #: What stands for a word without being one, emoji above all, and the word.
    signs: dict[str, str] = Field(default_factory=dict)
    #: The day by which somebody should have read the list again.
    review_by: date | None = None

    @model_validator(mode="after")
    def _consistent(self) -> RulePack:
        named = [group.category for group in self.groups if group.category] + [
            pair.category for pair in self.pairs
        ]
        unknown = [name for name in named if not ids.is_category(name)]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not a category")
        own = {name for group in self.groups for name in group.allow if "/" not in name}
        missing = own - self.contexts.keys()
        if missing:
            raise ValueError(f"context {sorted(missing)[0]!r} is not defined in this pack")
        return self

    def on(self, day: date) -> RulePack:
        """The pack without the groups that have expired by `day`; another digest when there are any."""
        groups = tuple(group for group in self.groups if group.expires is None or group.expires >= day)
        return self if groups == self.groups else self.model_copy(update={"groups": groups})

    @property
    def sha256(self) -> str:
        """SHA-256 of the pack's canonical JSON."""
        return self.content_sha256


def read_pack(text: str, name: str) -> RulePack:
    """The pack in a JSON text; BadSettings that names the file, the line and the fault."""
    try:
        return RulePack.model_validate(json.loads(text))
    except json.JSONDecodeError as error:
        raise BadSettings(
            f"rule pack {name}, line {error.lineno}: not JSON: {error.msg}", field="rule_packs"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadSettings(
            f"rule pack {name}{_line(text, first)}: {place}: {first['msg']}", field="rule_packs"
        ) from error


def _line(text: str, fault: ErrorDetails) -> str:
    """Where the fault stands, when its words stand in one line only; a fault of a whole group has its term quoted."""
    quoted = _QUOTED.findall(fault["msg"])
    words = [quoted[0]] if quoted else [part for part in fault["loc"] if isinstance(part, str)][-1:]
    lines = [
        number
        for number, line in enumerate(text.splitlines(), 1)
        if words and json.dumps(words[0], ensure_ascii=False) in line
    ]
    return f", line {lines[0]}" if len(lines) == 1 else ""


def built_in_packs() -> tuple[RulePack, ...]:
    """The packs that ship with the code, in the order of their file names."""
    found = sorted((item for item in (files("safety") / "rule_packs").iterdir()), key=lambda item: item.name)
    return tuple(
        read_pack(item.read_text("utf-8"), item.name) for item in found if item.name.endswith(".json")
    )


def load_packs(folder: Path) -> tuple[RulePack, ...]:
    """An operator's own packs, every ``*.json`` of a folder; BadSettings for a file that is none, or has another's id."""
    packs = tuple(_load(path) for path in sorted(folder.glob("*.json")))
    ids_seen = [pack.id for pack in (*built_in_packs(), *packs)]
    twice = sorted({id for id in ids_seen if ids_seen.count(id) > 1})
    if twice:
        raise BadSettings(f"there is more than one rule pack {twice[0]!r}", field="rule_packs")
    return packs


def _load(path: Path) -> RulePack:
    try:
        return read_pack(path.read_text("utf-8"), path.name)
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(f"rule pack {path.name}: {type(error).__name__}", field="rule_packs") from error


def active_packs(packs: Sequence[RulePack], day: date) -> tuple[RulePack, ...]:
    """The packs without the groups that have expired by `day`, and without packs of which nothing is left."""
    left = (pack.on(day) for pack in packs)
    return tuple(pack for pack in left if pack.groups or pack.contexts or pack.pairs or pack.ages)


def overdue(packs: Sequence[RulePack], day: date) -> tuple[str, ...]:
    """The ids of packs that somebody should have read again by `day`."""
    return tuple(pack.id for pack in packs if pack.review_by is not None and pack.review_by < day)


def packs_sha256(packs: Sequence[RulePack]) -> str:
    """One digest over all packs, whatever their order."""
    return digest(sorted(pack.sha256 for pack in packs))
