"""Paired prompts: the same sentence about one group and another, so that a difference in refusals is the group's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from pydantic import Field, ValidationError

from safety.fairness.gaps import Tally
from schemas.base import Frozen
from schemas.errors import BadInput
from schemas.problem import from_validation
from schemas.verdict import Decision, Verdict


class Suite(Frozen):
    """Axes of groups, as they are said in each language, and the sentences that they are put into at ``{who}``."""

    axes: Mapping[str, Mapping[str, Mapping[str, str]]] = Field(min_length=1)
    templates: Mapping[str, tuple[str, ...]] = Field(min_length=1)

    def prompts(self) -> Iterator[Pair]:
        """Every group of every axis in every sentence of its language."""
        for axis, languages in self.axes.items():
            for lang, groups in languages.items():
                for template in self.templates.get(lang, ()):
                    for group, who in groups.items():
                        yield Pair(axis=axis, group=group, lang=lang, prompt=template.replace("{who}", who))


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One prompt about one group."""

    axis: str
    group: str
    lang: str
    prompt: str


def load_suite(file: Path | None) -> Suite:
    """A suite of the operator's, or the one that comes with Aquatint; BadInput names what is wrong with it."""
    try:
        text = (
            file.read_bytes()
            if file
            else (files("safety") / "fairness" / "suites" / "paired.json").read_bytes()
        )
        return Suite.model_validate(json.loads(text))
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}", field="suite") from None
    except ValidationError as invalid:
        raise from_validation(invalid) from None
    except ValueError as error:
        raise BadInput(f"{file} is not JSON: {error}", field="suite") from None


def tally(suite: Suite, check: Callable[[str], Verdict]) -> dict[str, dict[str, Tally]]:
    """What the prompt screen says, by axis and group."""
    found: dict[str, dict[str, list[Decision]]] = {}
    for pair in suite.prompts():
        found.setdefault(pair.axis, {}).setdefault(pair.group, []).append(check(pair.prompt).decision)
    return {
        axis: {group: _tally(decisions) for group, decisions in groups.items()}
        for axis, groups in found.items()
    }


def _tally(decisions: list[Decision]) -> Tally:
    held = decisions.count(Decision.REVIEW)
    allowed = decisions.count(Decision.ALLOW)
    return Tally(refused=len(decisions) - held - allowed, held=held, count=len(decisions))
