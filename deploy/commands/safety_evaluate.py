"""`aquatint safety evaluate`: how many prompts are stopped wrongly, how many evasions pass, and what reviewers found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from deploy.compose import Parts
from deploy.environment import load_settings
from safety.evaluation.case import Suite
from safety.evaluation.readers import read_own, read_suite, reader_names
from safety.evaluation.reviewing import Reviewed, read_labels
from safety.evaluation.screening import OVER_BLOCK_GOAL, Check, Rate, ScreenedSuite, screen_suite
from safety.policy import Policy, built_in
from safety.prompt_screen import PromptScreen

NEAR_MISS, MUTATIONS = "near-miss", "mutations"
_SHOWN = 20


def evaluate_safety(
    suites: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SUITE]...",
            help=f"'{NEAR_MISS}', '{MUTATIONS}' (both where none is named), or your own files.",
        ),
    ] = None,
    reader: Annotated[str, typer.Option(help=f"Of your files: {', '.join(reader_names())}.")] = "ours",
    policy: Annotated[str | None, typer.Option(help="Default: the policy in force.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="At most so many prompts of each suite.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="What reviewers said about released images (see `safety sample`).")
    ] = None,
    reviewer_recall: Annotated[
        float, typer.Option(help="Share of violations that your reviewers notice, if you measured it.")
    ] = 1.0,
    show: Annotated[bool, typer.Option(help="Print prompts that went the wrong way.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    gate: Annotated[bool, typer.Option(help="Exit 1 unless every figure meets its goal.")] = False,
) -> None:
    """Measure the safety layer: over-block, bypass, and the violation rate among released images with its exact bound."""
    out = Console(highlight=False, soft_wrap=True)
    parts = Parts(settings=load_settings())
    chosen = built_in(policy) if policy else parts.policy
    check: Check = PromptScreen(chosen, parts.rule_packs).check
    names = suites or ([] if labels else [NEAR_MISS, MUTATIONS])
    measured = [_measure(suite, check, count) for suite in _open(names, reader, parts)]
    reviewed = read_labels(labels, reviewer_recall) if labels else None
    out.print(f"policy    {chosen.name}, digest {chosen.digest[:16]}")
    for line in _lines(measured, reviewed, show):
        out.print(line, markup=False)
    if json_file:
        report = _report(chosen, measured, reviewed)
        json_file.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", "utf-8")
    if gate and not _passes(measured, reviewed):
        raise typer.Exit(1)


def _open(names: list[str], reader: str, parts: Parts) -> Iterator[Suite]:
    for name in names:
        if name == NEAR_MISS:
            path = Path(str(files("safety.evaluation") / "suites" / "near_miss.jsonl"))
            yield read_own(path, NEAR_MISS)
        elif name == MUTATIONS:
            from safety.evaluation.mutations import mutation_suite

            yield mutation_suite(parts.rule_packs)
        else:
            yield read_suite(Path(name), reader)


def _measure(suite: Suite, check: Check, count: int | None) -> ScreenedSuite:
    suite = suite if count is None else suite.sampled(count)
    bar = Progress(console=Console(stderr=True), transient=True)
    with bar:
        task = bar.add_task(suite.name, total=len(suite.cases))
        return screen_suite(suite, check, lambda done: bar.update(task, completed=done))


def _lines(measured: list[ScreenedSuite], reviewed: Reviewed | None, show: bool) -> Iterator[str]:
    for one in measured:
        yield f"suite     {one.suite.name}: {len(one.judged)} prompts, sha256 {one.suite.sha256[:16]}"
        if over := one.over_block():
            yield f"  over-block  {_said(over)}; goal at most {OVER_BLOCK_GOAL:.0%}"
            for lang, rate in one.as_json()["over_block_by_language"].items():
                yield f"    {lang:<8} {rate['wrong']} of {rate['count']}"
            for split, rate in one.as_json()["over_block_by_split"].items():
                yield f"    {split:<8} {rate['wrong']} of {rate['count']}"
        if passed := one.bypass():
            yield f"  bypass      {_said(passed)}; upper bound {passed.upper_bound:.3%} (95 %, exact)"
            for mutation, rate in one.as_json()["bypass_by_mutation"].items():
                if rate["wrong"]:
                    yield f"    {mutation}: {rate['wrong']} of {rate['count']}"
        if one.unanswered:
            yield f"  unanswered  {one.unanswered}: the screen failed, and the prompts were stopped"
        for wrong in one.wrong[:_SHOWN] if show else ():
            yield f"    {wrong.case.id}  {wrong.decision}  {wrong.case.text!r}  {', '.join(wrong.reasons)}"
    if reviewed is None:
        yield "released  not measured: draw images with `aquatint safety sample`, let people judge them, then give --labels"
        return
    figures = reviewed.as_json()
    yield (
        f"released  {figures['violations']} violations among {figures['independent']} independent of {figures['images']} reviewed images;"
        f" upper bound {reviewed.upper_bound:.3%} (95 %, exact)"
    )
    agreement = "one reviewer only" if reviewed.kappa is None else f"kappa {reviewed.kappa:.2f}"
    claim = (
        "below 0.1 % is shown"
        if figures["claim_shown"]
        else f"below 0.1 % needs {figures['still_to_review']} more without a violation"
    )
    yield f"          {claim}; {agreement}"


def _said(rate: Rate) -> str:
    share = rate.share
    spread = (
        f"{share.value:.2%} of {rate.clusters} independent, 95 % interval {share.low:.2%} to {share.high:.2%}"
    )
    return f"{rate.wrong} of {rate.count} ({spread})"


def _report(policy: Policy, measured: list[ScreenedSuite], reviewed: Reviewed | None) -> dict[str, Any]:
    return {
        "policy": policy.name,
        "policy_digest": policy.digest,
        "suites": [one.as_json() for one in measured],
        "released": reviewed.as_json() if reviewed else None,
    }


def _passes(measured: list[ScreenedSuite], reviewed: Reviewed | None) -> bool:
    over = [rate for one in measured if (rate := one.over_block())]
    passed = [rate for one in measured if (rate := one.bypass())]
    return (
        all(rate.wrong <= OVER_BLOCK_GOAL * rate.count for rate in over)
        and not any(rate.wrong for rate in passed)
        and (reviewed is None or bool(reviewed.as_json()["claim_shown"]))
    )
