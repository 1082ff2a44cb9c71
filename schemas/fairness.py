"""What was added to a prompt about people so that a batch does not collapse to one look, told in full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, field_validator

from schemas.base import Frozen
from schemas.canonical import digest

#: `report` says what `diversify` would have added and adds nothing.
Mode = Literal["off", "report", "diversify"]
MODES: tuple[Mode, ...] = ("off", "report", "diversify")
ActiveMode = Literal["report", "diversify"]
#: What may be varied; `presentation` is how somebody appears, never who they are.
Attribute = Literal["age_band", "skin_tone", "presentation", "visible_disability"]

#: The values of each attribute, as docs/fairness.md publishes them. Skin tones are groups of the Monk scale: 1-3, 4-6, 7-10.
VALUES: Mapping[Attribute, tuple[str, ...]] = {
    "age_band": ("18_34", "35_54", "55_plus"),
    "skin_tone": ("light", "medium", "dark"),
    "presentation": ("feminine", "masculine", "androgynous"),
    "visible_disability": ("none", "wheelchair", "hearing_aid", "prosthetic_arm", "white_cane"),
}
#: What a group of people is given instead of one value.
MIXED = "mixed"

Weights = Mapping[str, float]


class Rules(Frozen):
    """What a tenant wants: which attributes, towards which target. No default claims to be how the world is."""

    mode: Mode = "off"
    #: Attribute to "uniform" over its values, or to weights of its values.
    attributes: Mapping[Attribute, Literal["uniform"] | Weights] = Field(
        default_factory=lambda: {
            "age_band": "uniform",
            "skin_tone": "uniform",
            "presentation": {"feminine": 1, "masculine": 1},
        },
        min_length=1,
        validate_default=True,
    )
    #: Another seed is another order of the same shares.
    seed: int = Field(0, ge=0, lt=2**32)

    @field_validator("attributes")
    @classmethod
    def _known_values(
        cls, value: Mapping[Attribute, Literal["uniform"] | Weights]
    ) -> Mapping[Attribute, Literal["uniform"] | Weights]:
        for attribute, target in value.items():
            if attribute == "visible_disability" and target == "uniform":
                raise ValueError(
                    "visible_disability: give weights; four in five people with one would be a caricature"
                )
            if target == "uniform":
                continue
            unknown = sorted(set(target) - set(VALUES[attribute]))
            if unknown:
                raise ValueError(f"{attribute}: {unknown[0]!r} is not one of {', '.join(VALUES[attribute])}")
            if any(weight < 0 for weight in target.values()) or not sum(target.values()) > 0:
                raise ValueError(f"{attribute}: weights are 0 or more, and not all 0")
        return value

    def shares(self, attribute: Attribute) -> dict[str, float]:
        """The target as shares that sum to 1, in the order of `VALUES`; values of weight 0 are left out."""
        target = self.attributes[attribute]
        weights = dict.fromkeys(VALUES[attribute], 1.0) if target == "uniform" else dict(target)
        total = sum(weights.values())
        return {value: weights[value] / total for value in VALUES[attribute] if weights.get(value, 0) > 0}

    @property
    def digest(self) -> str:
        """SHA-256 of attributes, targets and seed; the mode does not move anybody's turn."""
        return digest(self.model_dump(mode="json", exclude={"mode"}))


class Change(Frozen):
    """One attribute that the prompt had left open."""

    attribute: Attribute
    #: As the published table names it, e.g. "35_54".
    value: str
    #: The words that say so, in the language of the prompt; empty for a value that is said by adding nothing.
    phrase: str = ""


class Variation(Frozen):
    """What fairness did to one image's prompt; it holds only added words, so that it can be kept where no prompt may be."""

    mode: ActiveMode
    #: Why nothing was varied, as a code such as "named_person"; empty when something was.
    left_alone: str = ""
    changes: tuple[Change, ...] = ()
    #: Where the added words begin in the effective prompt, in characters, and the words with their joints.
    at: int | None = Field(None, ge=0)
    added: str = ""
    #: Whose turn it was: images of one place show one person.
    place: int | None = Field(None, ge=0)

    def note(self, effective_prompt: str) -> Note:
        """The variation with both prompts; `effective_prompt` is what was drawn."""
        original = effective_prompt
        if self.at is not None:
            original = effective_prompt[: self.at] + effective_prompt[self.at + len(self.added) :]
        return Note(
            mode=self.mode,
            left_alone=self.left_alone,
            changes=self.changes,
            original_prompt=original,
            effective_prompt=effective_prompt,
        )


class Note(Frozen):
    """What the customer is told: nothing is rewritten in silence."""

    mode: ActiveMode
    left_alone: str = ""
    #: In mode `report`, what would have been added.
    changes: tuple[Change, ...] = ()
    original_prompt: str
    effective_prompt: str


Variation.model_rebuild()
