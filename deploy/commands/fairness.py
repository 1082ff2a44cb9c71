"""`aquatint fairness`: what a batch was assigned, and whether one group is refused more often than another."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from deploy.base_parts import DEFAULT_TENANT
from deploy.compose import Parts
from deploy.environment import load_settings
from safety.fairness.assigned import AssignedReport, Seen, gap_as_json, report
from safety.fairness.gaps import Gap, gaps
from safety.fairness.paired import load_suite, tally
from schemas.errors import NotFound
from schemas.fairness import Rules, Variation
from schemas.ids import is_id
from schemas.states import ImageState
from storage.ledger import batches, images

app = typer.Typer(
    name="fairness",
    help="Who was drawn, against the target, and who is refused: counted from what was assigned, never from faces.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
out = Console(highlight=False, soft_wrap=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.command("report")
def report_batch(
    batch: Annotated[str, typer.Argument(help="Id of the batch.")],
    tenant: Annotated[str, typer.Option(help="Whose batch.")] = DEFAULT_TENANT,
    as_json: AsJson = False,
) -> None:
    """Shares that BATCH was assigned with 95 % intervals, what was left alone and why, and gaps in refusals."""
    parts = Parts(settings=load_settings())
    with parts.ledger.read() as conn:
        if not is_id(batch, "bat") or batches.get(conn, tenant=tenant, id=batch) is None:
            raise NotFound(f"there is no batch {batch!r}", field="batch")
    rules = parts.variations.rules.get(tenant, Rules()) if parts.variations else Rules()
    found = report(_seen(parts, batch), rules)
    typer.echo(json.dumps(found.as_json(), indent=2)) if as_json else _tell(found)


def _seen(parts: Parts, batch: str) -> Iterator[Seen]:
    after = ""
    while True:
        with parts.ledger.read() as conn:
            page = images.of_batch(conn, batch, after=after)
        if not page:
            return
        for row in page:
            variation = Variation.model_validate_json(row.fairness) if row.fairness else None
            yield Seen(variation=variation, state=ImageState(row.state))
        after = page[-1].id


def _tell(found: AssignedReport) -> None:
    out.print(f"{found.images} images: {found.people} people and {found.groups} groups varied, {found.untouched} not touched")
    for reason, count in found.left_alone.items():
        out.print(f"  left alone  {count:6}  {reason.replace('_', ' ')}")
    for attribute, shares in found.shares.items():
        out.print(f"{attribute.replace('_', ' ')}  (evenness {found.evenness[attribute]:.3f})")
        for one in shares:
            share = one.assigned
            out.print(
                f"  {one.value:16} {share.value:6.1%} of {share.count} (95 % {share.low:.1%} to {share.high:.1%}), target {one.target:.1%}"
            )
    _tell_gaps(found.gaps)
    out.print("Counted from what was assigned; what a viewer recognises in the pictures was not inferred.")


@app.command("gap")
def gap(
    suite: Annotated[Path | None, typer.Argument(help="Suite of paired prompts; default: the one that comes with Aquatint.")] = None,
    as_json: AsJson = False,
) -> None:
    """Whether the prompt screen refuses the same sentence more often about one group; ends with 1 where it does."""
    parts = Parts(settings=load_settings())
    tallies = tally(load_suite(suite), parts.planner.screen.check)
    found = gaps(tallies)
    if as_json:
        typer.echo(json.dumps({"gaps": [gap_as_json(one) for one in found]}, indent=2))
    else:
        _tell_gaps(found)
    raise typer.Exit(1 if any(one.significant for one in found) else 0)


def _tell_gaps(found: Sequence[Gap]) -> None:
    if not found:
        out.print("gaps: nothing to compare")
    for one in found:
        first, second = one.first_share, one.second_share
        verdict = "GAP" if one.significant else "no gap shown"
        out.print(
            f"{one.axis:18} {one.first} {first.right}/{first.count}, {one.second} {second.right}/{second.count} refused or held: "
            f"{one.points:+.1f} points, p {one.p_value:.3f} (two proportions, Holm): {verdict}"
        )
