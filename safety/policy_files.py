"""Policies that an operator writes: a base, and what differs from it, in TOML or JSON.

    base = "strict"
    person_generation = "none"

    [output]
    require_categories = ["self_harm"]

    [output.thresholds]
    ip_logo = { review_at = 0.3, block_at = 0.5 }

The name is that of the file. A stage has what its base has; thresholds that are not given stay as they are.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from safety.policy import BUILT_IN, PersonGeneration, Policy, Stage, StageRules, Threshold
from schemas.base import Frozen
from schemas.errors import AquatintError, BadSettings

_FIELD = "AQUATINT_POLICIES"
_READERS = {".toml": tomllib.loads, ".json": json.loads}
_MAX_BYTES = 256 * 1024
_STAGES: tuple[Stage, ...] = ("prompt", "upload", "output")


class Change(Frozen):
    """New thresholds of one category; what is None stays."""

    review_at: float | None = None
    block_at: float | None = None


class StageChanges(Frozen):
    """What one stage has beyond its base."""

    thresholds: dict[str, Change] = Field(default_factory=dict)
    #: Categories that screens must cover, added to the base's, and those of the base that need not be.
    require_categories: tuple[str, ...] = ()
    waive_categories: tuple[str, ...] = ()
    #: Checks by name, added to the base's; none can be left out.
    require_checks: tuple[str, ...] = ()


class PolicyFile(Frozen):
    """A policy as it is written down."""

    base: str
    version: int = Field(1, ge=1)
    person_generation: PersonGeneration | None = None
    on_error: Literal["block", "review"] | None = None
    keep_quarantine_days: int | None = Field(None, ge=0)
    prompt: StageChanges = StageChanges()
    upload: StageChanges = StageChanges()
    output: StageChanges = StageChanges()


def load_policies(folder: Path) -> tuple[Policy, ...]:
    """Every ``*.toml`` and ``*.json`` of a folder as a policy, by name; BadSettings names the file and the place."""
    if not folder.is_dir():
        raise BadSettings(f"{folder} is not a folder", field=_FIELD)
    files = sorted(path for path in folder.iterdir() if path.suffix in _READERS)
    written: dict[str, PolicyFile] = {}
    for path in files:
        if path.stem in written or any(path.stem == policy.name for policy in BUILT_IN):
            raise BadSettings(f"{path.name}: there is a policy {path.stem!r} already", field=_FIELD)
        written[path.stem] = _read(path)
    return tuple(_resolved(name, written) for name in written)


def _read(path: Path) -> PolicyFile:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadSettings(f"{path.name} is too large", field=_FIELD, limit=_MAX_BYTES)
        return PolicyFile.model_validate(_READERS[path.suffix](path.read_text("utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise BadSettings(f"{path.name}: {place}: {first['msg']}", field=_FIELD) from error
    except (OSError, ValueError, RecursionError) as error:
        raise BadSettings(f"{path.name} cannot be read: {error}", field=_FIELD) from error


def _resolved(name: str, written: Mapping[str, PolicyFile], above: tuple[str, ...] = ()) -> Policy:
    """The policy of a file, on top of its base, which may be another file's."""
    if name in above:
        raise BadSettings(f"policies are each other's base: {' -> '.join((*above, name))}", field=_FIELD)
    file = written[name]
    bases = {policy.name: policy for policy in BUILT_IN}
    if file.base in bases:
        base = bases[file.base]
    elif file.base in written:
        base = _resolved(file.base, written, (*above, name))
    else:
        known = sorted((*bases, *written))
        raise BadSettings(f"policy {name!r}: there is no base {file.base!r}", field=_FIELD, limit=known)
    try:
        return _changed(base, name, file)
    except (AquatintError, ValidationError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise BadSettings(f"policy {name!r}: {said}", field=_FIELD) from error


def _changed(base: Policy, name: str, file: PolicyFile) -> Policy:
    given: dict[str, Any] = {
        field: getattr(file, field)
        for field in ("person_generation", "on_error", "keep_quarantine_days")
        if getattr(file, field) is not None
    }
    # First, since thresholds that are not named depend on it.
    policy = base.model_copy(update={"name": name, "version": file.version, **given})
    stages = tuple(_stage(policy, stage, getattr(file, stage)) for stage in _STAGES)
    return policy.model_copy(update={"stages": stages})


def _stage(policy: Policy, stage: Stage, changes: StageChanges) -> StageRules:
    rules = policy.rules(stage)
    thresholds = {one.category: one for one in rules.thresholds}
    thresholds |= {
        category: _threshold(policy.threshold(stage, category), change)
        for category, change in changes.thresholds.items()
    }
    unknown = set(changes.waive_categories) - set(rules.required_categories)
    if unknown:
        raise BadSettings(f"{stage}.waive_categories: {sorted(unknown)[0]!r} is not required by its base")
    kept = (one for one in rules.required_categories if one not in changes.waive_categories)
    return StageRules(
        stage=stage,
        thresholds=tuple(thresholds.values()),
        required_checks=tuple(dict.fromkeys((*rules.required_checks, *changes.require_checks))),
        required_categories=tuple(dict.fromkeys((*kept, *changes.require_categories))),
    )


def _threshold(old: Threshold, change: Change) -> Threshold:
    """The other end moves along where the new one would overtake it."""
    block_at = change.block_at if change.block_at is not None else max(old.block_at, change.review_at or 0.0)
    review_at = change.review_at if change.review_at is not None else min(old.review_at, block_at)
    return Threshold(category=old.category, review_at=review_at, block_at=block_at)
