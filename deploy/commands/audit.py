"""`aquatint audit`: what was decided, and whether the record of it is whole."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from deploy.compose import Parts
from deploy.environment import load_settings

app = typer.Typer(
    name="audit",
    help="The audit log: refusals, reviews, suspensions, erasures, changes of policies and keys, in a chain of hashes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
out = Console(highlight=False, soft_wrap=True)


@app.command()
def verify() -> None:
    """Check the whole log against itself and against the roots that were exported day by day; exits with 1 at a fault."""
    from handlers.audit_roots import AuditRoots
    from storage.ledger import audit

    parts = Parts(settings=load_settings())
    known = AuditRoots(parts.restricted).known()
    with parts.ledger.read() as conn:
        fault, end = audit.verify(conn, known), audit.root(conn)
    if fault is not None:
        out.print(f"The audit log does not hold at entry {fault.seq}: {fault.what}.")
        raise typer.Exit(1)
    days = f"{len(known)} exported root{'s' if len(known) != 1 else ''}"
    out.print(f"The audit log is whole: {end.seq} entries, {days} met. It ends with {end.hash}.")


@app.command()
def export(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; default: standard output.")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Entries about this tenant alone.")] = None,
    after: Annotated[int, typer.Option(min=0, help="Entries behind this number.")] = 0,
) -> None:
    """Write entries as lines of JSON; from a whole export alone the chain can be checked again."""
    from storage.ledger import audit

    ledger = Parts(settings=load_settings()).ledger
    with ledger.read() as conn:
        lines = (f"{audit.as_line(one)}\n" for one in audit.records(conn, after=after, tenant=tenant))
        if output is None:
            sys.stdout.writelines(lines)
            return
        with output.open("w", encoding="utf-8") as file:
            file.writelines(lines)
    out.print(f"Written to {output}.")
