"""`aquatint tenant`: who is throttled or suspended, and lifting it."""

from __future__ import annotations

import getpass
import time
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from deploy.compose import Parts
from deploy.environment import load_settings

app = typer.Typer(
    name="tenant",
    help="The standing of tenants: who asks for too much that is refused is throttled, then suspended.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
out = Console(highlight=False, soft_wrap=True)

Tenant = Annotated[str, typer.Argument(help="Name of the tenant.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the audit log.")]


@app.command("list")
def list_tenants() -> None:
    """Show every tenant that is throttled or suspended, or once was."""
    from storage.ledger import standing

    with Parts(settings=load_settings()).ledger.read() as conn:
        found = standing.everyone(conn)
    if not found:
        out.print("All tenants are in good standing.")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("tenant", "standing", "since", "set by", "reason"):
        table.add_column(title)
    for one in found:
        since = datetime.fromtimestamp(one.since, UTC).strftime("%Y-%m-%d %H:%M UTC")
        table.add_row(one.tenant, one.state, since, one.set_by, one.reason)
    out.print(table)


@app.command()
def suspend(tenant: Tenant, reason: Reason) -> None:
    """Take nothing more from a tenant, and cancel what it has queued."""
    from handlers import standing

    with Parts(settings=load_settings()).ledger.begin() as conn:
        standing.suspend(conn, tenant, getpass.getuser(), reason, time.time())
    out.print(f"{tenant} is suspended; what it has queued is canceled within seconds.")


@app.command()
def restore(tenant: Tenant, reason: Reason) -> None:
    """Let a tenant in again; what was refused to it until now is forgiven."""
    from handlers import standing

    with Parts(settings=load_settings()).ledger.begin() as conn:
        standing.restore(conn, tenant, getpass.getuser(), reason, time.time())
    out.print(f"{tenant} is in good standing.")
