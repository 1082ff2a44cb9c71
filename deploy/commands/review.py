"""`aquatint review`: decide about pictures that were held."""

from __future__ import annotations

import getpass
import json
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from deploy.client import call
from deploy.compose import Parts
from deploy.environment import load_settings
from schemas.errors import LegalHold, NotFound, ReviewConflict
from schemas.outcome import QuarantineRef
from schemas.settings import Settings

app = typer.Typer(
    name="review",
    help="Pictures that were held until a person has looked: the same queue as the pages at /review.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
out = Console(highlight=False, soft_wrap=True)

Id = Annotated[str, typer.Argument(help="Id of a review, rev_...")]
Reason = Annotated[str, typer.Option(help="Why; kept in the audit log. Name nobody.")]


@app.command("list")
def list_reviews(
    state: Annotated[
        str,
        typer.Option(
            help="waiting (open and claimed), open, claimed, released, rejected, expired or withdrawn."
        ),
    ] = "waiting",
) -> None:
    """Show reviews, the oldest first."""
    found = _call("GET", f"/v1/reviews?limit=200&state={state}")
    if not found["reviews"]:
        out.print("No picture waits for a decision." if state == "waiting" else "There are none.")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("review", no_wrap=True)  # it has to be copied from here
    for title in ("tenant", "found", "state", "by", "until"):
        table.add_column(title)
    for one in found["reviews"]:
        table.add_row(*_line(one))
    out.print(table)
    if found["next"]:
        out.print("There are more; decide about these first.")


@app.command()
def show(id: Id) -> None:
    """Show one review with everything the screens found."""
    out.print_json(json.dumps(_call("GET", f"/v1/reviews/{id}")))


@app.command()
def claim(id: Id) -> None:
    """Take a review into your hands for 15 minutes."""
    _told(_call("POST", f"/v1/reviews/{id}/claim", json={}))


@app.command("return")
def give_back(id: Id) -> None:
    """Give a review back undecided."""
    _told(_call("POST", f"/v1/reviews/{id}/return", json={}))


@app.command()
def release(id: Id, reason: Reason) -> None:
    """Let the picture be published; on the hard floor somebody else has to release it as well."""
    _told(_call("POST", f"/v1/reviews/{id}/release", json={"reason": reason}))


@app.command()
def reject(id: Id, reason: Reason) -> None:
    """Block the picture."""
    _told(_call("POST", f"/v1/reviews/{id}/reject", json={"reason": reason}))


@app.command()
def discard(id: Id, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Remove the quarantined picture of a review that has ended, as the operator of this installation.

    Read docs/safety-runbook.md before you do this to a picture on the hard floor.
    """
    from handlers import reviewing
    from storage.ledger import reviews

    parts = Parts(settings=load_settings())
    with parts.ledger.read() as conn:
        row = reviews.get(conn, id)
    if row is None:
        raise NotFound("there is no such review", field="id")
    if row.settled_at is None:
        raise ReviewConflict(
            "its picture is still needed: decide about it first", field="id", limit=row.state
        )
    with parts.ledger.read() as conn:
        on_hold = reviews.on_legal_hold(conn, id)
    if on_hold:
        raise LegalHold(field="id")
    if not yes and not typer.confirm(f"Remove the picture of {row.image} for good?"):
        raise typer.Exit(1)
    parts.vault.discard(QuarantineRef.model_validate_json(row.quarantined).key)
    with parts.ledger.begin() as conn:
        reviewing.discarded(conn, row, f"operator:{getpass.getuser()}", time.time())
    out.print(f"{id}: the picture is gone; the decision stays on record.")


def _call(method: str, path: str, **options: Any) -> dict[str, Any]:
    settings = load_settings()
    return call(settings, method, path, token=_token(settings), **options)


def _token(settings: Settings) -> str:
    return settings.reviewer_token.get_secret_value() or next(iter(settings.reviewer_tokens), "")


def _told(one: dict[str, Any]) -> None:
    more = ""
    if one["state"] == "open" and one["first_release_by"]:
        more = f", released once by {one['first_release_by']}: a second person has to decide"
    elif one["claimed_until"]:
        more = f" by {one['reviewer']} until {_clock(one['claimed_until'])}"
    out.print(f"{one['id']}: {one['state']}{more}")


def _line(one: dict[str, Any]) -> tuple[str, ...]:
    found = [name for name, score in one["categories"].items() if score["score"] >= score["threshold"]]
    text = ", ".join(found or one["reasons"]) + (" (hard floor)" if one["hard_floor"] else "")
    who = one["reviewer"] or (f"once: {one['first_release_by']}" if one["first_release_by"] else "")
    return one["id"], one["tenant"], text, one["state"], who, _clock(one["expires_at"])


def _clock(moment: str) -> str:
    return datetime.fromisoformat(moment).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
