"""Shares with their uncertainty: Wilson's interval for scores, Clopper and Pearson's exact bound for violations."""

import math
from dataclasses import dataclass
from statistics import NormalDist


@dataclass(frozen=True, kw_only=True)
class Share:
    """`right` of `count`, with the bounds of its confidence interval."""

    right: int
    count: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """Between 0 and 1."""
        return self.right / self.count

    def as_json(self) -> dict[str, float]:
        """As a report writes it."""
        return {
            "share": round(self.value, 4),
            "right": self.right,
            "count": self.count,
            "low": round(self.low, 4),
            "high": round(self.high, 4),
        }


def wilson_share(right: int, count: int, confidence: float = 0.95) -> Share:
    """Share with Wilson's score interval (Wilson 1927), which stays inside [0, 1] and is honest near its ends.

    Raises:
        ValueError: `count` is not positive or `right` is outside [0, count].
    """
    _check(right, count)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, weight = right / count, z * z / count
    centre = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / count + weight / (4 * count))
    low = 0.0 if right == 0 else max(0.0, centre - half)
    return Share(right=right, count=count, low=low, high=1.0 if right == count else min(1.0, centre + half))


def exact_upper_bound(events: int, count: int, confidence: float = 0.95) -> float:
    """One-sided upper bound of a rate (Clopper and Pearson 1934): the rate at which this few events are just believable.

    Solves P(X <= events) = 1 - confidence for a binomial X by bisection; with no event it is 1 - (1 - confidence)^(1/count).

    Raises:
        ValueError: `count` is not positive or `events` is outside [0, count].
    """
    _check(events, count)
    if events == count:
        return 1.0
    low, high = events / count, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(events, count, middle) > 1 - confidence else (low, middle)
    return high


def sample_size_for(rate: float, confidence: float = 0.95, events: int = 0) -> int:
    """How many trials with `events` among them show that the rate is below `rate` at this confidence.

    Exact: the smallest count whose `exact_upper_bound` lies below `rate`; 2,995 for .001 with none, 4,742 with one.

    Raises:
        ValueError: `rate` or `confidence` is not between 0 and 1, or `events` is negative.
    """
    if not 0 < rate < 1 or not 0 < confidence < 1 or events < 0:
        raise ValueError(f"no sample size for rate {rate}, confidence {confidence} and {events} events")
    if events == 0:
        return math.ceil(math.log(1 - confidence) / math.log1p(-rate))
    low, high = events, 2 * events
    while _at_most(events, high, rate) > 1 - confidence:
        low, high = high, 2 * high
    while high - low > 1:  # more trials with as few events are ever less believable
        middle = (low + high) // 2
        low, high = (middle, high) if _at_most(events, middle, rate) > 1 - confidence else (low, middle)
    return high


def _at_most(events: int, count: int, rate: float) -> float:
    """P(X <= events) for X ~ Binomial(count, rate), summed in logarithms so that large counts do not overflow."""
    if rate <= 0:
        return 1.0
    if rate >= 1:
        return 0.0
    logs = [
        math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        + k * math.log(rate) + (count - k) * math.log1p(-rate)
        for k in range(events + 1)
    ]  # fmt: skip
    return math.fsum(math.exp(value) for value in logs)


def _check(right: int, count: int) -> None:
    if count < 1 or not 0 <= right <= count:
        raise ValueError(f"{right} of {count} is no share")
