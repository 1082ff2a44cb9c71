"""What is installed, for an operator to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from safety.image_screen import ImageScreen
from safety.policy import Policy
from safety.rule_pack import RulePack
from safety.screen_runner import missing_categories


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of the safety layer."""

    name: str
    version: str
    sha256: str
    ready: bool
    note: str


def describe(
    policies: Sequence[Policy], packs: Sequence[RulePack], screens: Sequence[ImageScreen]
) -> list[Part]:
    """Each policy, each rule pack and each image screen, self-tests included; never raises for a broken screen."""
    return [
        *(_describe_policy(policy, screens) for policy in policies),
        *map(_describe_pack, packs),
        *map(_describe_screen, screens),
    ]


def _describe_policy(policy: Policy, screens: Sequence[ImageScreen]) -> Part:
    missing = missing_categories(policy, "output", screens)
    covered = (
        f"open-domain models lack an image screen for {', '.join(missing)}"
        if missing
        else "all image categories covered"
    )
    return Part(
        name=f"policy {policy.name}",
        version=str(policy.version),
        sha256=policy.digest,
        ready=True,
        note=f"people: {policy.person_generation}; {covered}",
    )


def _describe_pack(pack: RulePack) -> Part:
    terms = sum(len(group.terms) for group in pack.groups)
    note = f"{terms} terms, {len(pack.pairs)} pair rules, language {pack.language}"
    return Part(name=f"rule pack {pack.id}", version=pack.version, sha256=pack.sha256, ready=True, note=note)


def _describe_screen(screen: ImageScreen) -> Part:
    try:
        screen.self_test()
    except Exception as error:  # a broken screen is what an operator wants to read about
        ready, note = False, f"self-test failed: {error}"
    else:
        ready, note = True, f"covers {', '.join(screen.categories)}"
    return Part(
        name=f"image screen {screen.name}",
        version=screen.version,
        sha256=screen.model_sha256,
        ready=ready,
        note=note,
    )
