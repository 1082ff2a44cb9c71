"""Where erasure and the time to live of customers' words meet the stores of this installation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from deploy.base_parts import DEFAULT_TENANT
from deploy.compose import Parts

if TYPE_CHECKING:
    from handlers.erasure import Eraser
    from handlers.sweeps import Sweep

_DAY_SECONDS = 86400.0


def privacy_sweeps(parts: Parts) -> Iterator[Sweep]:
    """Erasures that were asked for, words whose days are over, and rows that an older installation left plain."""
    from handlers.sweeps import Sweep

    yield Sweep(name="erasures", every_seconds=1, run=eraser(parts).step)
    yield Sweep(name="words", every_seconds=600, run=_dropper(parts))
    yield Sweep(name="sealing", every_seconds=_DAY_SECONDS, run=_sealer(parts))


def eraser(parts: Parts) -> Eraser:
    from handlers.erasure import Eraser
    from handlers.finisher import Finisher

    return Eraser(
        ledger=parts.ledger,
        results=parts.results_of,
        inputs=parts.kept_inputs_of,
        vault=parts.vault,
        restricted=parts.restricted,
        rewrite=Finisher(parts.ledger, parts.results_of).rewrite,
        default_tenant=DEFAULT_TENANT,
    )


def _dropper(parts: Parts) -> Callable[[float], int]:
    from storage.ledger import words

    keep_seconds = parts.settings.prompt_days * _DAY_SECONDS

    def drop(now: float) -> int:
        with parts.ledger.begin(wake=False) as conn:
            return words.drop_expired(conn, now - keep_seconds, now).total()

    return drop


def _sealer(parts: Parts) -> Callable[[float], int]:
    """Walks through the ledger once per process and day: an old one is sealed on the first day, a new one costs a read."""
    from storage.ledger import words

    place: words.Place | None = words.FIRST

    def seal(_now: float) -> int:
        nonlocal place
        with parts.ledger.begin(wake=False) as conn:
            _, place = words.seal_plain(conn, place or words.FIRST)
        return place is not None

    return seal
