"""What the releaser expects: how long renders take, how large microbatches should be, when company arrives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from handlers.release_params import ReleaserParams
from storage.ledger.costs import Cost, Sums, fit

#: How much a new observation counts in an exponentially weighted mean.
_LATENCY_WEIGHT, _GAP_WEIGHT = 0.2, 0.1


def model_of(batch_key: str) -> str:
    """The part of a batch key that names the model, ``name@digest[:12]``: changing it means loading weights."""
    return batch_key.split("/", 1)[0]


class Estimates:
    """Costs, latency and arrivals; `priors` are the costs that models declare themselves, by `model_of`."""

    def __init__(self, params: ReleaserParams, priors: Mapping[str, Cost]) -> None:
        self._params, self._priors = params, priors
        self._costs: dict[str, Cost] = {}
        self.latency = params.first_latency
        self._gap: dict[str, float] = {}
        self._last: dict[str, float] = {}

    def learn_costs(self, known: Mapping[str, Sums]) -> None:
        self._costs = {key: fit(sums, self._priors.get(model_of(key))) for key, sums in known.items()}

    def learn_latency(self, seconds: float) -> None:
        """One commit-to-start time on an idle GPU."""
        self.latency += _LATENCY_WEIGHT * (max(seconds, 0.0) - self.latency)

    def learn_arrivals(self, batch_key: str, moments: Iterable[float]) -> None:
        """When images of a key were accepted; several of one request arrive as one."""
        for moment in sorted(set(moments)):
            last = self._last.get(batch_key)
            if last is not None and moment > last:
                gap = self._gap.get(batch_key)
                self._gap[batch_key] = (
                    moment - last if gap is None else gap + _GAP_WEIGHT * (moment - last - gap)
                )
            self._last[batch_key] = max(moment, last or moment)

    def cost(self, batch_key: str) -> Cost | None:
        """None while nothing is known: the window alone then limits what is sent."""
        return self._costs.get(batch_key) or self._priors.get(model_of(batch_key))

    def seconds(self, batch_key: str, images: int) -> float:
        """Expected GPU seconds, 0 when unknown."""
        cost = self.cost(batch_key)
        return cost.seconds(images) if cost else 0.0

    def full_size(self, batch_key: str, lane: int) -> int:
        """Images of a full microbatch: the fewest with which fixed costs hardly count, within the limits."""
        cost = self.cost(batch_key)
        if cost is None or cost.per_image <= 0:
            return self._params.images_most
        share, fixed = self._params.fixed_share, cost.fixed + self._params.message_seconds
        size = math.ceil(fixed * (1 - share) / (share * cost.per_image))
        if lane == 0 and self._params.interactive_target is not None:
            size = min(size, int((self._params.interactive_target / 3 - cost.fixed) / cost.per_image))
        return min(max(size, 1), self._params.images_most)

    def full_seconds(self, batch_key: str) -> float:
        return self.seconds(batch_key, self.full_size(batch_key, 1))

    def wait_for_company(self, batch_key: str, oldest: float, now: float) -> float:
        """Until when a partial microbatch should wait on an idle GPU; `now` or earlier means not at all."""
        cost = self.cost(batch_key)
        if cost is None or cost.fixed < self._params.idle_wait_share * (cost.fixed + cost.per_image):
            return now
        longest = min(self._params.idle_wait_most, cost.fixed / 3)
        gap = self._gap.get(batch_key)
        if gap is None or max(gap, now - self._last[batch_key]) > longest:
            return now
        return oldest + longest
