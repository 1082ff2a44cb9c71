"""`aquatint erase`: erase a job, a batch or a whole tenant, and hold what must not be erased."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer
from rich.console import Console

from deploy.base_parts import DEFAULT_TENANT
from deploy.compose import Parts
from deploy.environment import load_settings
from deploy.erasing import eraser
from schemas.errors import BadInput, LegalHold
from storage.ledger import erasures, legal_holds
from storage.ledger.sql import AnyRow

out = Console(highlight=False, soft_wrap=True)
#: Longest wait for workers that still hold images of what is erased; the running stack goes on by itself.
_WAIT_SECONDS = 600.0


def erase(
    job: Annotated[str, typer.Option(help="Erase this job.")] = "",
    batch: Annotated[str, typer.Option(help="Erase this batch with all its jobs.")] = "",
    tenant: Annotated[str, typer.Option(help="Whose job or batch; alone: everything of this tenant.")] = "",
    hold: Annotated[bool, typer.Option("--hold", help="Place a legal hold instead: it may not be erased.")] = False,
    lift: Annotated[bool, typer.Option("--lift", help="Lift the legal hold instead.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Erase customers' words, pictures, receipts and copies for good; prints a receipt of what was removed."""
    if bool(job) + bool(batch) > 1 or not (job or batch or tenant):
        raise BadInput("name one of --job ID, --batch ID or --tenant NAME", field="erase")
    subject, owner = job or batch, tenant or DEFAULT_TENANT
    parts = Parts(settings=load_settings())
    if hold or lift:
        _hold(parts, owner, subject, lift=lift)
        return
    what = subject or f"everything of tenant {owner}"
    if not yes and not typer.confirm(f"Erase {what}? This cannot be undone."):
        raise typer.Exit(1)
    _print(_carried_out(parts, owner, subject))


def _hold(parts: Parts, tenant: str, subject: str, *, lift: bool) -> None:
    from storage.ledger.audit import Entry, append

    now = time.time()
    with parts.ledger.begin() as conn:
        if lift:
            changed = legal_holds.lift(conn, tenant=tenant, subject=subject)
        else:
            changed = legal_holds.place(conn, tenant=tenant, subject=subject, now=now)
        kind = "hold.lifted" if lift else "hold.placed"
        if changed:
            append(conn, [Entry(kind=kind, actor="operator", tenant=tenant, about=subject or None)], now)
    what = subject or f"tenant {tenant}"
    out.print(f"the hold on {what} is {'lifted' if lift else 'placed'}" if changed else f"nothing changed for {what}")


def _carried_out(parts: Parts, tenant: str, subject: str) -> AnyRow:
    """Ask for it, then do what the running stack would do: both may, every step is safe to repeat."""
    from handlers.erasure import note_refusal, request_erasure

    try:
        with parts.ledger.begin() as conn:
            id = request_erasure(conn, tenant=tenant, subject=subject, actor="operator", now=time.time())
    except LegalHold:
        with parts.ledger.begin() as conn:
            note_refusal(conn, tenant=tenant, subject=subject, actor="operator", now=time.time())
        raise
    does, until = eraser(parts), time.monotonic() + _WAIT_SECONDS
    while True:
        with parts.ledger.read() as conn:
            row = erasures.get(conn, tenant=tenant, id=id)
        assert row is not None
        if row.state in ("done", "watching") or time.monotonic() > until:
            return row
        if not does.step(time.time()):
            time.sleep(0.5)


def _print(row: AnyRow) -> None:
    removed = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in json.loads(row.removed).items())
    out.print(f"{row.id}: removed {removed or 'nothing'}")
    if row.state == "watching":
        out.print("a worker was drawing for it; what that may still store is removed within 15 minutes")
    elif row.state != "done":
        out.print("a worker still draws for it; the running stack goes on with it")
