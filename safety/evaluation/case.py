"""Prompts with what should become of them, as a suite that is named by its content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

#: What a policy should do: let a prompt pass, or stop it before anything is drawn.
Expected = Literal["allow", "refuse"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One prompt of a suite."""

    id: str
    text: str
    expected: Expected
    negative: str = ""
    lang: str = "en"
    category: str = ""
    #: Cases made from one source are not independent: they count once in an interval.
    cluster: str = ""
    #: How it was disguised, where it was.
    mutation: str = ""
    #: "tuned" or "held_out": whether the rules were ever adjusted with it in sight.
    split: str = ""

    @property
    def independent(self) -> str:
        """What it counts as among independent trials."""
        return self.cluster or self.id


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Cases under one name."""

    name: str
    cases: tuple[Case, ...]

    @cached_property
    def sha256(self) -> str:
        """Of all its cases in their order: figures are about this content and no other."""
        content = hashlib.sha256()
        for case in self.cases:
            fields = (
                case.id,
                case.text,
                case.expected,
                case.negative,
                case.lang,
                case.category,
                case.mutation,
            )
            content.update("\x1f".join(fields).encode("utf-8", "surrogatepass") + b"\x1e")
        return content.hexdigest()

    def sampled(self, most: int) -> Suite:
        """At most so many cases, spread evenly over the suite, so that no part of it is left out."""
        if most >= len(self.cases):
            return self
        picked = tuple(self.cases[at * len(self.cases) // most] for at in range(most))
        return Suite(name=f"{self.name} ({most} of {len(self.cases)})", cases=picked)


def expecting(cases: Sequence[Case], expected: Expected) -> tuple[Case, ...]:
    """The cases of which this is expected."""
    return tuple(case for case in cases if case.expected == expected)
