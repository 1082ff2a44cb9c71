"""What fairness adds to the prompt of each shot: only for tenants that turned it on, never in silence.

(`handlers/fairness.py` is about fair shares of GPUs between tenants, another thing.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from handlers.turns import Turns
from safety.fairness.people import LeftAlone, OpenPerson, add_words, find_person, phrase_of
from safety.fairness.rotation import value_at
from schemas.canonical import digest
from schemas.errors import Unsupported
from schemas.fairness import MIXED, MODES, ActiveMode, Change, Mode, Rules, Variation
from schemas.request import GenerationRequest
from storage.ledger.rotations import Turn

#: Reasons that are not the prompt's: what was added did not fit, or would have been refused.
TOO_LONG, REFUSED = "too_long", "would_be_refused"
REFERENCE_PICTURE, ADAPTER = "reference_picture", "adapter"


@dataclass(frozen=True, kw_only=True)
class Shot:
    """The prompt of one shot, what was done to it, and the turn that was taken for it."""

    prompt: str
    variation: Variation | None = None
    turn: Turn | None = None

    @property
    def variation_json(self) -> str | None:
        """As the ledger keeps it."""
        return self.variation.model_dump_json(exclude_defaults=True) if self.variation else None


@dataclass(frozen=True, kw_only=True)
class Variations:
    """Decides for each request by its tenant's rules."""

    #: By tenant; a tenant without rules has none of this.
    rules: Mapping[str, Rules]
    turns: Turns

    def mode(self, request: GenerationRequest, tenant: str) -> Mode:
        """The tenant's mode, or less where the request asks for less; Unsupported where it asks for more."""
        most = self.rules[tenant].mode if tenant in self.rules else "off"
        wanted = request.fairness or most
        if MODES.index(wanted) > MODES.index(most):
            allowed = list(MODES[: MODES.index(most) + 1])
            raise Unsupported(
                "fairness is turned on for a tenant, not for a request", field="fairness", limit=allowed
            )
        return wanted

    def of(
        self,
        request: GenerationRequest,
        *,
        tenant: str,
        recipe: str | None,
        row_key: str | None,
        unfit: Callable[[str], str],
    ) -> tuple[Shot, ...]:
        """One entry for each of the request's `n` shots.

        `unfit` says why a prompt cannot be used, or "". One person stands for a whole row key in all its shots and
        sizes; a prompt without one has a person for each shot.
        """
        as_it_is = (Shot(prompt=request.prompt),) * request.n
        mode = self.mode(request, tenant)
        if mode == "off":
            return as_it_is
        rules = self.rules[tenant]
        person = find_person(request.prompt, request.negative_prompt)
        if person is None:
            return as_it_is
        reason = person.reason if isinstance(person, LeftAlone) else _guarded(request)
        if isinstance(person, LeftAlone) or reason:
            return (
                Shot(prompt=request.prompt, variation=Variation(mode=mode, left_alone=reason)),
            ) * request.n
        cycle = digest([rules.digest, recipe or ""])[:32]
        shots = []
        for shot in range(request.n):
            unit = row_key if row_key is not None else f"{request.prompt}\x1f{shot}"
            turn = self.turns.take(tenant, cycle, unit)
            shots.append(_shot(request.prompt, person, rules, mode, turn, unfit))
        return tuple(shots)


def _guarded(request: GenerationRequest) -> str:
    """What besides the prompt may show or mean one certain person."""
    if request.image is not None or request.control:
        return REFERENCE_PICTURE
    return ADAPTER if request.adapters else ""


def _shot(
    prompt: str, person: OpenPerson, rules: Rules, mode: ActiveMode, turn: Turn, unfit: Callable[[str], str]
) -> Shot:
    changes = tuple(
        _change(person, attribute, MIXED if person.plural else value_at(rules, attribute, turn.place))
        for attribute in person.open
        if attribute in rules.attributes
    )
    effective, added = add_words(prompt, person.at, [change.phrase for change in changes])
    reason = unfit(effective) if added else ""
    if not changes or reason:
        left = reason or "nothing_open"
        return Shot(prompt=prompt, variation=Variation(mode=mode, left_alone=left))
    applied = mode == "diversify"
    variation = Variation(
        mode=mode,
        changes=changes,
        at=person.at if applied and added else None,
        added=added if applied else "",
        place=turn.place,
    )
    return Shot(prompt=effective if applied else prompt, variation=variation, turn=turn)


def _change(person: OpenPerson, attribute: str, value: str) -> Change:
    return Change.model_validate(
        {"attribute": attribute, "value": value, "phrase": phrase_of(person.lang, attribute, value)}
    )
