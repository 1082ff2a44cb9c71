"""`aquatint describe BATCH`: whether the pictures of a batch are in good words, and a second look at them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Annotated

import typer
from rich.console import Console

from deploy.base_parts import DEFAULT_TENANT
from deploy.compose import Parts
from deploy.environment import load_settings
from handlers.wording import DESCRIPTIONS, descriptions_json
from safety.captioner import Captioner, VisionCaptioner, doubted
from safety.descriptions import duplicates
from safety.guards.json_service import JsonService
from safety.guards.port import GuardFault
from schemas.description import Description
from schemas.errors import BadSettings, NotFound, ObjectMissing
from schemas.ids import is_id
from schemas.outcome import ImageRendered
from schemas.states import ImageState
from storage.ledger import batches, descriptions, images
from storage.ledger.sql import AnyRow

out = Console(highlight=False, soft_wrap=True)


def describe_batch(
    batch: Annotated[str, typer.Argument(help="Id of the batch.")],
    check: Annotated[
        bool, typer.Option(help="Have a vision-language model (AQUATINT_CAPTION_URL) compare pictures and texts.")
    ] = False,
    tenant: Annotated[str, typer.Option(help="Whose batch.")] = DEFAULT_TENANT,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """What the linter objects to in the alt texts of BATCH, which of them several products share, and who should look."""
    parts = Parts(settings=load_settings())
    with parts.ledger.read() as conn:
        if not is_id(batch, "bat") or batches.get(conn, tenant=tenant, id=batch) is None:
            raise NotFound(f"there is no batch {batch!r}", field="batch")
    looked, failed = check_pictures(parts, captioner(parts), batch, tenant) if check else (0, 0)
    found = findings(_rows(parts, batch)) | {"compared": looked, "not_compared": failed}
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for name, value in found.items():
        if isinstance(value, dict):
            for code, count in value.items():
                out.print(f"  {count:7}  {code}")
        else:
            out.print(f"{name.replace('_', ' ')}: {value}")


def findings(rows: Iterable[AnyRow]) -> dict[str, int | dict[str, int]]:
    """Counts over the images of a batch."""
    languages: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    things: list[tuple[str, str]] = []
    count = review = 0
    for row in rows:
        said = DESCRIPTIONS.validate_json(row.descriptions)
        count += 1
        review += any(one.needs_review for one in said)
        languages.update(one.lang for one in said if one.alt)
        faults.update(fault for one in said for fault in one.faults)
        things.append((row.row_key or row.job, row.alt))
    shared = duplicates(things)
    return {
        "images": count,
        "languages": dict(languages.most_common()),
        "faults": dict(faults.most_common()),
        "shared_by_several_products": sum(alt in shared for _, alt in things),
        "need_review": review,
    }


def captioner(parts: Parts) -> Captioner:
    """What compares; BadSettings where none is set up."""
    settings = parts.settings
    if not settings.caption_url or not settings.caption_model:
        raise BadSettings("a second look needs an endpoint and a model", field="AQUATINT_CAPTION_URL")
    key = settings.caption_key.get_secret_value()
    return VisionCaptioner(
        JsonService("captioner", settings.caption_url, key=key, timeout_seconds=60.0), settings.caption_model
    )


def check_pictures(parts: Parts, by: Captioner, batch: str, tenant: str) -> tuple[int, int]:
    """Compare every rendered picture with its main description, and mark what differs; how many were, and were not.

    A picture that is published stays so: what changes is who should look at its words.
    """
    looked = failed = 0
    for row in _rows(parts, batch):
        said = DESCRIPTIONS.validate_json(row.descriptions)
        if row.state != ImageState.RENDERED or not said or not said[0].alt:
            continue
        again = _compared(parts, by, row, said[0], tenant)
        looked, failed = looked + (again is not None), failed + (again is None)
        if again is not None and again != said[0]:
            with parts.ledger.begin() as conn:
                words = descriptions_json((again, *said[1:]))
                descriptions.replace(conn, tenant=tenant, id=row.id, descriptions=words)
    return looked, failed


def _compared(
    parts: Parts, by: Captioner, row: AnyRow, description: Description, tenant: str
) -> Description | None:
    """None where the picture is gone or the captioner gave no answer."""
    stored = ImageRendered.model_validate_json(row.result).stored
    try:
        picture = parts.results_of(tenant).get(stored.key)
        return doubted(description, by.compare(picture, stored.media_type, description))
    except (ObjectMissing, GuardFault):
        return None


def _rows(parts: Parts, batch: str) -> Iterator[AnyRow]:
    after = ""
    while True:
        with parts.ledger.read() as conn:
            page = images.of_batch(conn, batch, after=after)
        if not page:
            return
        yield from page
        after = page[-1].id
