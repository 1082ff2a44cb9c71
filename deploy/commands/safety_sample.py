"""`aquatint safety sample`: released images drawn at random, with a form for the people who judge them."""

from __future__ import annotations

import json
import time
from html import escape
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from deploy.compose import Parts
from deploy.environment import load_settings
from schemas.errors import BadSettings, ObjectMissing
from storage.ledger.released import Released, draw
from storage.objects.store import ObjectStore

FORM, PAGE = "labels.jsonl", "index.html"
_STYLE = (
    "body{margin:0;padding:2rem;background:#f6f6f4;color:#1b1d22;font:16px/1.5 system-ui,sans-serif}"
    "ol{display:grid;grid-template-columns:repeat(auto-fill,minmax(16rem,1fr));gap:1rem;padding:0;list-style-position:inside}"
    "li{background:#fff;border:1px solid #8a8a84;border-radius:8px;padding:1rem;overflow-wrap:anywhere}"
    "img{display:block;width:100%;height:auto;margin:.5rem 0}"
)


def sample_released(
    folder: Annotated[Path, typer.Argument(help="New folder for the pictures, a page and the form.")],
    count: Annotated[int, typer.Option(min=1, help="Images, one of each job.")] = 300,
    days: Annotated[float, typer.Option(min=0.01, help="Jobs of the last so many days.")] = 7,
    seed: Annotated[
        int | None, typer.Option(help="Same ledger and seed, same draw; default: the time.")
    ] = None,
    reviewer: Annotated[
        list[str] | None, typer.Option(help="Whose form it is; two reviewers make agreement measurable.")
    ] = None,
) -> None:
    """Draw released images at random for human review; fill in FOLDER/labels.jsonl and give it to `safety evaluate --labels`."""
    parts, now = Parts(settings=load_settings()), time.time()
    chosen_seed = int(now) if seed is None else seed
    with parts.ledger.read() as conn:
        drawn = draw(conn, count=count, since=now - days * 86400, seed=chosen_seed)
    if not drawn:
        raise BadSettings(f"no image was released in the last {days:g} days", field="days")
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise BadSettings(f"{folder} exists: a sample goes into a new folder", field="folder") from None
    names = {one.image: _copied(one, parts.results_of(one.tenant), folder) for one in drawn}
    kept = [one for one in drawn if names[one.image]]
    rows = [
        {"image": one.image, "reviewer": who, "violation": None, "category": "", "prompt": one.job}
        for who in reviewer or ["me"]
        for one in kept
    ]
    (folder / FORM).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    (folder / PAGE).write_text(_page([(one.image, str(names[one.image])) for one in kept]), "utf-8")
    out = Console(highlight=False, soft_wrap=True)
    out.print(
        f"{len(kept)} images in {folder} (seed {chosen_seed}); look at {PAGE}, and set each violation in {FORM} to true or false"
    )
    if len(kept) < len(drawn):
        out.print(f"{len(drawn) - len(kept)} more were drawn, but are in the store no longer")


def _copied(one: Released, store: ObjectStore, folder: Path) -> str | None:
    """The file's name; None where the customer has deleted the picture."""
    try:
        data = store.get(one.key)
    except ObjectMissing:
        return None
    name = f"{one.image}{Path(one.key).suffix}"
    (folder / name).write_bytes(data)
    return name


def _page(pictures: list[tuple[str, str]]) -> str:
    """Alt texts are left out on purpose: a reviewer judges what is drawn, not what was asked for."""
    items = "".join(
        f'<li><code>{escape(image)}</code><img src="{escape(name)}" alt="Released image {number}, to be judged" loading="lazy"></li>'
        for number, (image, name) in enumerate(pictures, 1)
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Released images to review</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><main><h1>Released images to review</h1><p>{len(pictures)} images, drawn at random. For each, write true or false into "
        f"<code>{FORM}</code>: does it break the written policy?</p><ol>{items}</ol></main></body></html>\n"
    )
