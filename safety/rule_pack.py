"""Rule packs: versioned, hashed lists of terms with the contexts in which they are harmless."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from safety import categories as ids
from safety.hashed import Hashed
from schemas.base import Frozen
from schemas.canonical import digest
from schemas.errors import BadSettings

Severity = Literal["low", "medium", "high"]
#: Three levels and no finer: a score tells which category was found, not which term.
SCORES: dict[Severity, float] = {"low": 0.4, "medium": 0.7, "high": 1.0}


class Context(Frozen):
    """Neighbouring words that make a term harmless: "nude" before "heels", "shot" before "glass"."""

    before: tuple[str, ...] = ()
    #: Words that may stand between the term and the neighbour, at most four of them.
    through: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


class TermGroup(Frozen):
    """Terms that mean the same to the screen."""

    #: A word stands alone, a phrase is several words in order, a stem is the beginning of a word.
    kind: Literal["word", "phrase", "stem"]
    #: The category found, or none when the terms only carry marks for pair rules.
    category: str | None = None
    severity: Severity = "high"
    marks: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    terms: tuple[str, ...] = Field(min_length=1)

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

    @model_validator(mode="after")
    def _consistent(self) -> RulePack:
        named = [group.category for group in self.groups if group.category] + [
            pair.category for pair in self.pairs
        ]
        unknown = [name for name in named if not ids.is_category(name)]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not a category")
        missing = {name for group in self.groups for name in group.allow} - self.contexts.keys()
        if missing:
            raise ValueError(f"context {sorted(missing)[0]!r} is not defined in this pack")
        return self

    @property
    def sha256(self) -> str:
        """SHA-256 of the pack's canonical JSON."""
        return self.content_sha256


def read_pack(text: str, name: str) -> RulePack:
    """The pack in a JSON text; BadSettings that names the file and the fault."""
    try:
        return RulePack.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadSettings(f"rule pack {name}: {place}: {first['msg']}", field="rule_packs") from error


def built_in_packs() -> tuple[RulePack, ...]:
    """The packs that ship with the code, in the order of their file names."""
    found = sorted((item for item in (files("safety") / "rule_packs").iterdir()), key=lambda item: item.name)
    return tuple(
        read_pack(item.read_text("utf-8"), item.name) for item in found if item.name.endswith(".json")
    )


def load_packs(folder: Path) -> tuple[RulePack, ...]:
    """An operator's own packs, every ``*.json`` of a folder."""
    return tuple(read_pack(path.read_text("utf-8"), path.name) for path in sorted(folder.glob("*.json")))


def packs_sha256(packs: Sequence[RulePack]) -> str:
    """One digest over all packs, whatever their order."""
    return digest(sorted(pack.sha256 for pack in packs))
