"""Recipes: named, versioned templates with typed slots."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator

from schemas.base import Frozen
from schemas.description import MAX_LANGUAGES, Language
from schemas.errors import MissingField, OutOfRange, UnknownField
from schemas.request import MAX_PROMPT_CHARS, Adapter

_SLOT = re.compile(r"\{([a-z][a-z0-9_]{0,31})\}")


def slot_names(template: str) -> set[str]:
    """The slots a template uses; ValueError for a brace that is not a slot."""
    if re.search(r"[{}]", _SLOT.sub("", template)):
        raise ValueError(f"template {template!r}: braces may only enclose a slot name")
    return set(_SLOT.findall(template))


class Slot(Frozen):
    """One value that a row brings."""

    required: bool = True
    default: str = ""
    choices: tuple[str, ...] = ()
    max_chars: int = Field(200, ge=1, le=MAX_PROMPT_CHARS)


class Recipe(Frozen):
    """Turns a row or an event into a request. Immutable: a change is a new version."""

    version: int = Field(ge=1)
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    kind: Literal["recipe"] = "recipe"
    prompt: str = Field(min_length=1, max_length=MAX_PROMPT_CHARS)
    negative_prompt: str = ""
    #: Alt text from the slots, not from the prompt; empty = the prompt's words.
    alt: str = ""
    #: The language of the prompt's template and of the slots.
    lang: Language = "en"
    #: Languages that pictures are described in, the main one first; empty = `lang` alone.
    languages: tuple[Language, ...] = Field((), max_length=MAX_LANGUAGES)
    #: The recipe's own sentences in other languages; where there are none they are built from the slots.
    alts: dict[Language, str] = Field(default_factory=dict, max_length=MAX_LANGUAGES)
    long_descriptions: dict[Language, str] = Field(default_factory=dict, max_length=MAX_LANGUAGES)
    #: Its pictures say nothing: screen readers pass them over.
    decorative: bool = False
    #: Key of the additional copy, with slots plus `shot` and `size`, e.g. "catalogue/{sku}-{size}-{shot}.png".
    key: str = ""
    #: The slot that identifies a row across runs (the SKU): seeds are derived from it.
    row_key: str | None = None
    slots: dict[str, Slot]
    model: str | None = None
    steps: int | None = None
    guidance: float | None = None
    #: A brand's look, on every picture of this recipe unless the row names others.
    adapters: tuple[Adapter, ...] = Field((), max_length=4)

    @model_validator(mode="after")
    def _known_slots(self) -> Recipe:
        for field, template in self._templates():
            extra = {"shot", "size"} if field == "key" else set()
            unknown = slot_names(template) - self.slots.keys() - extra
            if unknown:
                raise ValueError(f"{field} uses slots that are not declared: {', '.join(sorted(unknown))}")
        if self.row_key is not None and self.row_key not in self.slots:
            raise ValueError(f"row_key names {self.row_key!r}, which is not a slot")
        return self

    def _templates(self) -> Iterator[tuple[str, str]]:
        for field in ("prompt", "negative_prompt", "alt", "key"):
            yield field, getattr(self, field)
        for field in ("alts", "long_descriptions"):
            yield from ((f"{field}.{lang}", template) for lang, template in getattr(self, field).items())

    @property
    def ref(self) -> str:
        return f"{self.name}@{self.version}"

    def fill(self, values: dict[str, str]) -> dict[str, str]:
        """The value of every slot; typed errors for one that is missing, unknown, too long or not a choice."""
        unknown = values.keys() - self.slots.keys()
        if unknown:
            name = sorted(unknown)[0]
            raise UnknownField(f"recipe {self.ref} has no slot {name!r}", field=name)
        return {name: self._value(name, slot, values.get(name, "").strip()) for name, slot in self.slots.items()}

    def _value(self, name: str, slot: Slot, value: str) -> str:
        value = value or slot.default
        if not value and slot.required:
            raise MissingField(f"slot {name!r} is empty", field=name)
        if len(value) > slot.max_chars:
            raise OutOfRange(f"{len(value)} characters, at most {slot.max_chars}", field=name, limit=slot.max_chars)
        if value and slot.choices and value not in slot.choices:
            raise OutOfRange(f"{value!r} is not one of {', '.join(slot.choices)}", field=name, limit=list(slot.choices))
        return value


def substitute(template: str, values: dict[str, str]) -> str:
    """The template with its slots replaced; doubled spaces left by empty slots are closed."""
    return re.sub(r"\s+", " ", _SLOT.sub(lambda match: values[match[1]], template)).strip(" ,")
