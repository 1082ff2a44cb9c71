"""`aquatint safety policies`: what is allowed here, by whom it may be asked for, and whether it can be checked."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from deploy.compose import Parts
from deploy.environment import load_settings
from safety.categories import CATEGORIES, is_hard_floor
from safety.policy import NEVER, Policy, Stage, Threshold
from safety.policy_book import EVERYBODY
from safety.readiness import ensure_covered
from safety.upload_screen import uncovered
from schemas.errors import AquatintError

_STAGES: tuple[Stage, ...] = ("prompt", "upload", "output")
out = Console(highlight=False, soft_wrap=True)


def show_policies(
    name: Annotated[str | None, typer.Argument(help="A policy, for its whole table; none lists all.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The policy as its digest is taken over it.")
    ] = False,
) -> None:
    """The safety policies that requests may name."""
    parts = Parts(settings=load_settings())
    if name is None:
        _list(parts)
        return
    policy = parts.policies.named(name)
    if as_json:
        out.print_json(data=policy.hashed_form())
        return
    _show(policy, parts)


def _list(parts: Parts) -> None:
    book = parts.policies
    table = Table(
        "policy",
        "people",
        "on error",
        "asked for by",
        "pictures",
        "uploads",
        "digest",
        box=None,
        pad_edge=False,
    )
    for policy in book.all:
        table.add_row(
            f"{policy.name} {policy.version}",
            policy.person_generation,
            policy.on_error,
            _asked_by(policy, parts),
            "checked" if not _lacking(policy, parts) else "not here",
            "checked" if not _lacking_for_uploads(policy, parts) else _unscreened(parts),
            policy.digest[:16],
        )
    out.print(table)
    out.print(f"No policy is laxer than {parts.settings.policy_floor!r} (AQUATINT_POLICY_FLOOR).")


def _show(policy: Policy, parts: Parts) -> None:
    out.print(f"policy    {policy.name}, version {policy.version}")
    out.print(f"digest    {policy.digest}")
    out.print(f"people    {policy.person_generation}")
    out.print(f"on error  {policy.on_error}")
    days = policy.keep_quarantine_days
    out.print(
        f"held      kept for {parts.settings.quarantine_days if days is None else days} days when not released"
    )
    out.print(f"asked by  {_asked_by(policy, parts)}")
    out.print()
    out.print(_thresholds(policy))
    out.print(
        "review/block: the score from which a finding is held, and from which it is refused; * = hard floor"
    )
    out.print()
    for stage in _STAGES:
        rules = policy.rules(stage)
        needs = ", ".join((*rules.required_checks, *rules.required_categories)) or "nothing"
        out.print(f"{stage:<8}  requires {needs}")
    out.print(f"pictures  {_lacking(policy, parts) or f'can be checked here ({parts.offer.domain} domain)'}")
    missing = ", ".join(_lacking_for_uploads(policy, parts))
    out.print(f"uploads   {f'lack {missing}' if missing else 'can be checked here'}")


def _thresholds(policy: Policy) -> Table:
    table = Table("category", *_STAGES, box=None, pad_edge=False)
    named = {limit.category for stage in _STAGES for limit in policy.rules(stage).thresholds}
    for category in (*CATEGORIES, *sorted(named - set(CATEGORIES))):
        limits = (_limit(policy.threshold(stage, category)) for stage in _STAGES)
        table.add_row(category + ("*" if is_hard_floor(category) else ""), *limits)
    return table


def _limit(limit: Threshold) -> str:
    if limit.review_at >= NEVER:
        return "allowed"
    block = "never" if limit.block_at >= NEVER else f"{limit.block_at:g}"
    return f"{limit.review_at:g}/{block}"


def _asked_by(policy: Policy, parts: Parts) -> str:
    who = parts.policies.askers(policy.name)
    default = ["whoever names none"] if policy.name == parts.policies.allowed(EVERYBODY)[0] else []
    return ", ".join((*default, *who)) or "nobody"


def _lacking(policy: Policy, parts: Parts) -> str:
    """Why no picture can be checked under it; empty when one can."""
    try:
        ensure_covered(policy, parts.image_screens, parts.offer)
    except AquatintError as error:
        return error.detail
    return ""


def _lacking_for_uploads(policy: Policy, parts: Parts) -> list[str]:
    return uncovered(policy, parts.image_screens)


def _unscreened(parts: Parts) -> str:
    return "waived" if parts.settings.upload_screening == "installed" else "refused"
