"""Which model each worker has loaded, and when it may be given another one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from handlers.estimates import model_of
from handlers.release_params import ReleaserParams
from schemas.ids import made_at
from storage.ledger.images import Head


@dataclass(frozen=True, kw_only=True)
class Stay:
    """The model a worker was last sent work of, and since when without a break; Unix seconds."""

    model: str
    since: float


class Residency:
    """A worker stays on its model while that has work.

    It changes for a model that no worker has loaded once that has waited long enough, and when its own has no work
    left. A minimum stay keeps too few workers from loading weights all day long.
    """

    def __init__(self, params: ReleaserParams) -> None:
        self._params = params
        self._stays: dict[str, Stay] = {}

    def sent(self, worker: str, batch_key: str, now: float) -> None:
        stay = self._stays.get(worker)
        if stay is None or stay.model != model_of(batch_key):
            self._stays[worker] = Stay(model=model_of(batch_key), since=now)

    def keep(self, workers: Collection[str]) -> None:
        """Forget all other workers."""
        self._stays = {worker: stay for worker, stay in self._stays.items() if worker in workers}

    def models(self, worker: str, idle: bool, oldest: Mapping[str, float], now: float) -> frozenset[str]:
        """Which of the models in `oldest` (to when their oldest image was planned) a worker may be sent work of now."""
        stay = self._stays.get(worker)
        if stay is None or oldest.keys() <= {stay.model}:
            return frozenset(oldest)
        hungry = self._hungry(oldest, now)
        rested = now - stay.since >= self._params.stay_factor * self._params.switch_seconds
        if hungry and idle and (rested or stay.model not in oldest) and self._spare(stay.model, oldest):
            return frozenset({hungry})
        if stay.model in oldest:
            return frozenset({stay.model})
        # The others are loaded elsewhere, and loading weights costs more than a little waiting.
        return frozenset(oldest.keys() - self._loaded()) if idle else frozenset()

    def _hungry(self, oldest: Mapping[str, float], now: float) -> str | None:
        """The model that has waited longest of those without a worker, if it has waited long enough."""
        waiting = {model: since for model, since in oldest.items() if model not in self._loaded()}
        model = min(waiting, key=waiting.__getitem__, default=None)
        return model if model is not None and now - waiting[model] >= self._params.starve_seconds else None

    def _spare(self, model: str, oldest: Mapping[str, float]) -> bool:
        """Whether this worker is the one to go: its model has no work, or no other model has more workers."""
        loaded = Counter(stay.model for stay in self._stays.values())
        return model not in oldest or loaded[model] == max(loaded.values())

    def _loaded(self) -> set[str]:
        return {stay.model for stay in self._stays.values()}


def oldest_by_model(heads: Iterable[Head]) -> dict[str, float]:
    """When the oldest waiting image of each model was planned."""
    found: dict[str, float] = {}
    for head in heads:
        model, since = model_of(head.batch_key), made_at(head.id)
        found[model] = min(since, found.get(model, since))
    return found
