"""What a batch was assigned, against its target; counted over people, not over pictures of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from models.evaluation.intervals import Share, wilson_share
from safety.fairness.gaps import Gap, Tally, gaps
from schemas.fairness import MIXED, VALUES, Attribute, Rules, Variation
from schemas.states import ImageState


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One image of a batch: its variation and how it ended."""

    variation: Variation | None
    state: ImageState


@dataclass(frozen=True, kw_only=True)
class ValueShare:
    """One value: the target, and the share that it was assigned with Wilson's 95 % interval."""

    value: str
    target: float
    assigned: Share


@dataclass(frozen=True, kw_only=True)
class AssignedReport:
    """A batch's fairness, as counted."""

    images: int
    #: Images whose prompt names no person, or whose tenant or request has it off.
    untouched: int
    people: int
    groups: int
    #: Images whose prompt was left alone, by reason.
    left_alone: Mapping[str, int]
    shares: Mapping[Attribute, tuple[ValueShare, ...]]
    #: Shannon entropy of what was assigned over that of the target; 1 is the target's own.
    evenness: Mapping[Attribute, float]
    #: Whether pictures of one value were refused or held more often than of another.
    gaps: tuple[Gap, ...]

    def as_json(self) -> dict[str, Any]:
        """As `aquatint fairness report --json` writes it."""
        return {
            "images": self.images,
            "untouched": self.untouched,
            "people": self.people,
            "groups": self.groups,
            "left_alone": dict(self.left_alone),
            "attributes": {
                attribute: {
                    "evenness": round(self.evenness[attribute], 4),
                    "values": {
                        one.value: {"target": round(one.target, 4), **one.assigned.as_json()} for one in found
                    },
                }
                for attribute, found in self.shares.items()
            },
            "gaps": [gap_as_json(gap) for gap in self.gaps],
        }


def gap_as_json(gap: Gap) -> dict[str, Any]:
    return {
        "axis": gap.axis,
        "first": gap.first,
        "second": gap.second,
        "first_share": gap.first_share.as_json(),
        "second_share": gap.second_share.as_json(),
        "points": round(gap.points, 2),
        "p_value": round(gap.p_value, 6),
        "significant": gap.significant,
    }


def report(seen: Iterable[Seen], rules: Rules) -> AssignedReport:
    """Count a batch under the rules it was planned by."""
    images = list(seen)
    varied = [(one, one.variation) for one in images if one.variation is not None]
    people = {
        variation.place: variation
        for _, variation in varied
        if variation.place is not None and not _is_group(variation)
    }
    shares = {attribute: _shares(attribute, rules, people.values()) for attribute in rules.attributes}
    shares = {attribute: found for attribute, found in shares.items() if found}
    return AssignedReport(
        images=len(images),
        untouched=len(images) - len(varied),
        people=len(people),
        groups=len({variation.place for _, variation in varied if _is_group(variation)}),
        left_alone=dict(Counter(v.left_alone for _, v in varied if v.left_alone).most_common()),
        shares=shares,
        evenness={attribute: _evenness(found) for attribute, found in shares.items()},
        gaps=gaps(_tallies(images)),
    )


def _is_group(variation: Variation) -> bool:
    return any(change.value == MIXED for change in variation.changes)


def _shares(attribute: Attribute, rules: Rules, people: Iterable[Variation]) -> tuple[ValueShare, ...]:
    counts = Counter(
        change.value for person in people for change in person.changes if change.attribute == attribute
    )
    target = rules.shares(attribute)
    if not counts:
        return ()
    return tuple(
        ValueShare(
            value=value,
            target=target.get(value, 0.0),
            assigned=wilson_share(counts[value], counts.total()),
        )
        for value in VALUES[attribute]
        if value in target or counts[value]
    )


def _evenness(found: tuple[ValueShare, ...]) -> float:
    target = _entropy(one.target for one in found)
    return _entropy(one.assigned.value for one in found) / target if target else 1.0


def _entropy(shares: Iterable[float]) -> float:
    return -sum(share * math.log2(share) for share in shares if share > 0)


def _tallies(images: Iterable[Seen]) -> dict[str, dict[str, Tally]]:
    """How the images that have got so far ended, by attribute and value."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for one in images:
        if one.variation is None or one.variation.mode != "diversify":
            continue
        for change in one.variation.changes:
            counts.setdefault((change.attribute, change.value), Counter())[one.state] += 1
    found: dict[str, dict[str, Tally]] = {}
    for (attribute, value), states in sorted(counts.items()):
        refused, held = states[ImageState.BLOCKED], states[ImageState.HELD]
        count = refused + held + states[ImageState.RENDERED]
        found.setdefault(attribute, {})[value] = Tally(refused=refused, held=held, count=count)
    return found
