"""`aquatint adapters`: what requests may name, without a server."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from deploy.adapter_book import register_local
from deploy.base_parts import DEFAULT_TENANT
from deploy.compose import Parts
from deploy.environment import load_settings
from schemas.errors import NotFound
from storage.ledger import adapters
from storage.ledger.adapters import AdapterRow

app = typer.Typer(
    name="adapters",
    help="Adapters that requests may name: what `aquatint finetune` and fine-tune events have made.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
out = Console(highlight=False, soft_wrap=True)

Tenant = Annotated[str, typer.Option(help="Whose adapters.")]


@app.command("list")
def list_adapters(tenant: Tenant = DEFAULT_TENANT) -> None:
    """Show the adapters that requests may name."""
    with Parts(settings=load_settings()).ledger.read() as conn:
        found = adapters.of_tenant(conn, tenant)
    if not found:
        out.print("There are no adapters yet: `aquatint finetune --images FOLDER --name NAME` makes one.")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("name", "trigger", "model", "rank", "digest", "made by", "at"):
        table.add_column(title)
    for row in found:
        table.add_row(*_line(row))
    out.print(table)


@app.command("add")
def add_adapter(
    folder: Annotated[Path, typer.Argument(help="Folder with adapter.json and its weights.")],
    name: Annotated[str | None, typer.Option(help="What requests call it; default: its own name.")] = None,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Let requests name the adapter in FOLDER; a name that is taken points to the new one."""
    row = register_local(Parts(settings=load_settings()), folder, tenant, name=name)
    out.print(f"{row.name}  {row.digest[:12]}  for {row.model}, rank {row.rank}{_answers_to(row)}")


@app.command("remove")
def remove_adapter(
    name: Annotated[str, typer.Argument(help="Name of the adapter.")], tenant: Tenant = DEFAULT_TENANT
) -> None:
    """Forget the name; images that were accepted with the adapter keep it."""
    with Parts(settings=load_settings()).ledger.begin() as conn:
        if not adapters.remove(conn, tenant, name, time.time()):
            raise NotFound(f"there is no adapter {name!r}", field="name")
    out.print(f"{name} is removed")


def _answers_to(row: AdapterRow) -> str:
    return f", answers to {row.trigger!r}" if row.trigger else ""


def _line(row: AdapterRow) -> tuple[str, ...]:
    made_at = datetime.fromtimestamp(row.created_at, UTC).strftime("%Y-%m-%d %H:%M")
    return row.name, row.trigger, row.model, str(row.rank), row.digest[:12], row.finetune or "-", made_at
