"""What is allowed: an immutable, hashed table of thresholds per stage and category."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from safety import categories as ids
from safety.hashed import Hashed
from schemas.base import Frozen
from schemas.errors import OutOfRange
from schemas.verdict import Decision

Stage = Literal["prompt", "upload", "output"]
PersonGeneration = Literal["none", "adult", "all"]

#: A threshold that no score reaches.
NEVER = 2.0


class Threshold(Frozen):
    """From which score on one category is held for review, and from which it is blocked."""

    category: str
    review_at: float = Field(gt=0, le=NEVER)
    block_at: float = Field(gt=0, le=NEVER)

    @model_validator(mode="after")
    def _possible(self) -> Threshold:
        if not ids.is_category(self.category):
            raise ValueError(f"{self.category!r} is not a category")
        if self.review_at > self.block_at:
            raise ValueError(
                f"{self.category}: review_at {self.review_at} lies above block_at {self.block_at}"
            )
        return self

    def decide(self, score: float) -> Decision:
        if score >= self.block_at:
            return Decision.BLOCK
        return Decision.REVIEW if score >= self.review_at else Decision.ALLOW


class StageRules(Frozen):
    """The thresholds of one stage and the checks without whose answer nothing passes it."""

    stage: Stage
    thresholds: tuple[Threshold, ...]
    required_checks: tuple[str, ...] = ()
    #: Categories that ready screens must cover between them; a closed-domain model covers them by its declaration.
    required_categories: tuple[str, ...] = ()

    @field_validator("thresholds")
    @classmethod
    def _one_each(cls, value: tuple[Threshold, ...]) -> tuple[Threshold, ...]:
        names = [threshold.category for threshold in value]
        if len(set(names)) < len(names):
            raise ValueError("a category has more than one threshold")
        return tuple(sorted(value, key=lambda threshold: threshold.category))

    @field_validator("required_categories")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in value if not ids.is_category(name)]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not a category")
        return value


class Policy(Hashed):
    """One immutable policy; a change is another policy with another digest."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    version: int = Field(ge=1)
    stages: tuple[StageRules, ...]
    #: Whether people may be drawn at all, adults only, or anyone.
    person_generation: PersonGeneration
    #: What becomes of a picture whose verdict is ERROR; publishing it is not a choice.
    on_error: Literal["block", "review"] = "block"
    #: How long pictures that were not released stay in quarantine; None leaves it to the installation's setting.
    keep_quarantine_days: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _whole(self) -> Policy:
        if sorted(rules.stage for rules in self.stages) != ["output", "prompt", "upload"]:
            raise ValueError("a policy has exactly the stages prompt, upload and output")
        for rules in self.stages:
            limits = {threshold.category: threshold.block_at for threshold in rules.thresholds}
            for category in sorted(ids.HARD_FLOOR):
                if limits.get(category, NEVER) > ids.HARD_FLOOR_BLOCK_AT:
                    raise ValueError(
                        f"{rules.stage}: {category} must block at {ids.HARD_FLOOR_BLOCK_AT} or below"
                    )
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON: part of every render digest and verdict."""
        return self.content_sha256

    def hashed_form(self) -> dict[str, Any]:
        """As JSON; a policy that leaves `keep_quarantine_days` open has the digest of before there was such a thing."""
        return self.model_dump(
            mode="json", exclude={"keep_quarantine_days"} if self.keep_quarantine_days is None else None
        )

    @cached_property
    def _by_stage(self) -> dict[str, StageRules]:
        return {rules.stage: rules for rules in self.stages}

    @cached_property
    def _thresholds(self) -> dict[tuple[str, str], Threshold]:
        return {(rules.stage, limit.category): limit for rules in self.stages for limit in rules.thresholds}

    def rules(self, stage: Stage) -> StageRules:
        return self._by_stage[stage]

    def threshold(self, stage: Stage, category: str) -> Threshold:
        """The threshold of a category; one that the policy does not name is blocked at any clear finding.

        People and minors are ruled by `person_generation`, where the table is silent about them.
        """
        named = self._thresholds.get((stage, category))
        return named or self._unnamed(category)

    def _unnamed(self, category: str) -> Threshold:
        if category == ids.PERSON and self.person_generation != "none":
            return Threshold(category=category, review_at=NEVER, block_at=NEVER)
        if category == ids.MINORS_PRESENT and self.person_generation == "all":
            return Threshold(category=category, review_at=NEVER, block_at=NEVER)
        return Threshold(category=category, review_at=0.4, block_at=0.4)

    def tighten(
        self,
        stage: Stage,
        category: str,
        *,
        review_at: float | None = None,
        block_at: float | None = None,
        name: str = "custom",
    ) -> Policy:
        """A policy that is stricter about one category; OutOfRange when a new threshold lies above the old one."""
        _refuse_unknown(stage, category)
        old = self.threshold(stage, category)
        new_block = old.block_at if block_at is None else block_at
        new_review = min(old.review_at, new_block) if review_at is None else review_at
        if new_review > old.review_at or new_block > old.block_at:
            raise OutOfRange(
                f"a tighter threshold for {category} lies at or below review {old.review_at}, block {old.block_at}",
                field=f"{stage}.{category}",
                limit={"review_at": old.review_at, "block_at": old.block_at},
            )
        return self._with(stage, _threshold(stage, category, new_review, new_block), name)

    def loosen(
        self,
        stage: Stage,
        category: str,
        *,
        review_at: float | None = None,
        block_at: float | None = None,
        name: str = "custom",
    ) -> Policy:
        """A policy that tolerates more of one category; OutOfRange for a category of the hard floor."""
        _refuse_unknown(stage, category)
        if ids.is_hard_floor(category):
            raise OutOfRange(
                f"{category} belongs to the hard floor, which no policy can lower",
                field=f"{stage}.{category}",
                limit=ids.HARD_FLOOR_BLOCK_AT,
            )
        old = self.threshold(stage, category)
        new_review = old.review_at if review_at is None else review_at
        new_block = max(old.block_at, new_review) if block_at is None else block_at
        return self._with(stage, _threshold(stage, category, new_review, new_block), name)

    def _with(self, stage: Stage, threshold: Threshold, name: str) -> Policy:
        old = self.rules(stage)
        others = (one for one in old.thresholds if one.category != threshold.category)
        thresholds = tuple(sorted((*others, threshold), key=lambda one: one.category))
        new = old.model_copy(update={"thresholds": thresholds})
        stages = tuple(new if rules.stage == stage else rules for rules in self.stages)
        return self.model_copy(update={"name": name, "version": 1, "stages": stages})


def _refuse_unknown(stage: str, category: str) -> None:
    if not ids.is_category(category):
        raise OutOfRange(f"{category!r} is not a category", field=f"{stage}.{category}")


def _threshold(stage: str, category: str, review_at: float, block_at: float) -> Threshold:
    if not 0 < review_at <= block_at <= NEVER:
        raise OutOfRange(
            f"review_at {review_at} and block_at {block_at} must rise, above 0 and up to {NEVER}",
            field=f"{stage}.{category}",
            limit=[0, NEVER],
        )
    return Threshold(category=category, review_at=review_at, block_at=block_at)


def _table(levels: dict[str, tuple[float, float]]) -> tuple[Threshold, ...]:
    floor = dict.fromkeys(sorted(ids.HARD_FLOOR), (0.3, 0.3))
    return tuple(
        Threshold(category=category, review_at=review_at, block_at=block_at)
        for category, (review_at, block_at) in (levels | floor).items()
    )


def _policy(
    name: str, people: PersonGeneration, levels: dict[str, tuple[float, float]], image: tuple[str, ...]
) -> Policy:
    table = _table(levels)
    return Policy(
        name=name,
        version=1,
        person_generation=people,
        stages=(
            StageRules(stage="prompt", thresholds=table, required_checks=("prompt_rules",)),
            StageRules(
                stage="upload",
                thresholds=table,
                required_checks=("image_screens",),
                required_categories=image,
            ),
            StageRules(
                stage="output",
                thresholds=table,
                required_checks=("output_sanity", "image_screens"),
                required_categories=image,
            ),
        ),
    )


#: For brands and catalogues: whatever is in doubt is not drawn, and people are adults.
STRICT = _policy(
    "strict",
    "adult",
    {
        ids.SEXUAL: (0.4, 0.4),
        ids.VIOLENCE_GRAPHIC: (0.4, 0.4),
        ids.SELF_HARM: (0.4, 0.4),
        ids.HATE_SYMBOLS: (0.4, 0.4),
        ids.ILLICIT: (0.4, 0.4),
        ids.MEDICAL_GRAPHIC: (0.4, 0.7),
        ids.REAL_PERSON: (0.4, 0.7),
        ids.IP_LOGO: (0.4, 0.7),
        ids.SPAM_TEXT: (0.4, 0.7),
    },
    (ids.SEXUAL, ids.VIOLENCE_GRAPHIC, ids.HATE_SYMBOLS),
)

#: For general use: clear cases are blocked, the doubtful ones held for review.
STANDARD = _policy(
    "standard",
    "all",
    {
        ids.SEXUAL: (0.6, 0.7),
        ids.VIOLENCE_GRAPHIC: (0.6, 0.7),
        ids.SELF_HARM: (0.6, 0.7),
        ids.HATE_SYMBOLS: (0.6, 0.7),
        ids.ILLICIT: (0.6, 0.7),
        ids.MEDICAL_GRAPHIC: (0.7, 1.0),
        ids.REAL_PERSON: (0.7, 1.0),
        ids.IP_LOGO: (0.7, 1.0),
        ids.SPAM_TEXT: (0.7, 1.0),
    },
    (ids.SEXUAL,),
)

BUILT_IN: tuple[Policy, ...] = (STRICT, STANDARD)


def built_in(name: str) -> Policy:
    """The built-in policy of that name; OutOfRange when there is none."""
    for policy in BUILT_IN:
        if policy.name == name:
            return policy
    raise OutOfRange(
        f"there is no policy {name!r}", field="policy", limit=[policy.name for policy in BUILT_IN]
    )
