"""What a render costs: seconds = fixed + per_image * n by least squares over exponentially fading samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, text

#: Weight that the samples of a key keep when a new one arrives: the last twenty or so count.
_KEEP = 0.95
#: Below this variance of n (images squared) a slope cannot be told from noise.
_SPREAD = 0.25


class Cost(NamedTuple):
    """Seconds of a microbatch of n images: `fixed` + `per_image` * n."""

    fixed: float
    per_image: float

    def seconds(self, images: int) -> float:
        return self.fixed + self.per_image * images


class Sample(NamedTuple):
    batch_key: str
    images: int
    seconds: float


class Sums(NamedTuple):
    weight: float
    n: float
    nn: float
    t: float
    nt: float


_ADD = text(
    """INSERT INTO render_cost (batch_key, weight, n, nn, t, nt) VALUES (:key, 1, :n, :n * :n, :t, :n * :t)
       ON CONFLICT (batch_key) DO UPDATE SET
         weight = render_cost.weight * :keep + 1, n = render_cost.n * :keep + :n, nn = render_cost.nn * :keep + :n * :n,
         t = render_cost.t * :keep + :t, nt = render_cost.nt * :keep + :n * :t"""
)


def learn(conn: Connection, samples: Sequence[Sample]) -> None:
    """Add measured renders."""
    if samples:
        ordered = sorted(samples)  # rows are locked in one order
        rows = [
            {"key": one.batch_key, "n": float(one.images), "t": one.seconds, "keep": _KEEP} for one in ordered
        ]
        conn.execute(_ADD, rows)


def known(conn: Connection) -> dict[str, Sums]:
    """The sums of every batch key that has been rendered."""
    rows = conn.execute(text("SELECT batch_key, weight, n, nn, t, nt FROM render_cost"))
    return {row[0]: Sums(*row[1:]) for row in rows}


def fit(sums: Sums, prior: Cost | None = None) -> Cost:
    """The line through the samples; when all had about the same n, the prior's line scaled to their mean."""
    mean_n, mean_t = sums.n / sums.weight, sums.t / sums.weight
    spread = sums.nn / sums.weight - mean_n**2
    if spread >= _SPREAD:
        slope = (sums.nt / sums.weight - mean_n * mean_t) / spread
        slope = min(max(slope, 0.0), mean_t / mean_n)  # neither part of a cost is negative
        return Cost(mean_t - slope * mean_n, slope)
    guess = prior.seconds(1) + (mean_n - 1) * prior.per_image if prior else 0.0
    if prior is None or guess <= 0:
        return Cost(0.0, mean_t / mean_n)
    return Cost(prior.fixed * mean_t / guess, prior.per_image * mean_t / guess)
