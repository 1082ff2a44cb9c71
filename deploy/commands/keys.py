"""`aquatint keys`: the keys under which customers' words are sealed."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Console

from deploy.base_parts import master_keys
from deploy.compose import Parts
from deploy.environment import load_settings
from deploy.home import begin_rotation, end_rotation, prepare_home
from storage.ledger import tenant_keys
from storage.ledger.audit import Entry, append

app = typer.Typer(
    name="keys",
    help="Keys under which customers' words are sealed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
out = Console(highlight=False, soft_wrap=True)


@app.command("rotate")
def rotate() -> None:
    """Wrap all tenants' keys under a new master secret: AQUATINT_SECRET_KEY with AQUATINT_PREVIOUS_SECRET_KEY beside it, or a new file in the home folder."""
    settings = load_settings()
    home = prepare_home(settings)
    begin_rotation(settings, home)
    parts, moved = Parts(settings=settings), 0
    keys = master_keys(settings)
    parts.vault.seal_anew()  # first: the entry below says that all of it is done
    while True:
        with parts.ledger.begin() as conn:
            count = tenant_keys.wrap_anew(conn, keys)
            moved += count
            if not count:
                append(conn, [Entry(kind="keys.rotated", actor="operator", data={"keys": moved})], time.time())
                break
    end_rotation(settings, home)
    out.print(f"{moved} keys were wrapped anew; start the stack again, and tell tenants their new webhook secrets")


@app.command("admit")
def admit(tenant: Annotated[str, typer.Argument(help="Tenant name.")]) -> None:
    """Give a tenant a fresh key: an erased one may come back, what was erased does not."""
    parts, now = Parts(settings=load_settings()), time.time()
    with parts.ledger.begin() as conn:
        number = tenant_keys.admit(conn, master_keys(parts.settings), tenant, now)
        append(conn, [Entry(kind="tenant.admitted", actor="operator", tenant=tenant, data={"key": number})], now)
    out.print(f"tenant {tenant} seals with key {number} from now on")
