"""From noise to latents: solvers of the flow-matching ODE, in plain arithmetic.

They use only + - * and Python floats, so the same function serves numpy arrays and torch tensors.

Notation: x_sigma = (1 - sigma) x_0 + sigma noise, and the network gives the velocity v = noise - x_0 (Lipman et al.
2023, arXiv:2210.02747; Liu et al. 2023, arXiv:2209.03003). sigma runs from 1 (noise) to 0 (picture).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Protocol, Self, TypeVar


class Arithmetic(Protocol):
    """What a sampler asks of an array."""

    def __add__(self, other: Any, /) -> Self: ...
    def __sub__(self, other: Any, /) -> Self: ...
    def __mul__(self, other: Any, /) -> Self: ...


ArrayT = TypeVar("ArrayT", bound=Arithmetic)
OnStep = Callable[[int], None]


def flow_sigmas(steps: int, shift: float = 1.0, start: float = 1.0) -> list[float]:
    """`steps + 1` noise levels from 1 to 0, moved towards noise by `shift` (Esser et al. 2024, arXiv:2403.03206, eq. 23).

    `start` below 1 sets out from a picture instead of from noise (SDEdit: Meng et al. 2022, arXiv:2108.01073): the
    first level is `start`, shifted like the others, and as many steps as ever are taken from there.

    Raises:
        ValueError: steps below 1, a shift that is not positive, or a start not above 0 and at most 1.
    """
    if steps < 1 or shift <= 0 or not 0 < start <= 1:
        raise ValueError(
            f"steps must be at least 1, shift positive and start in (0, 1], not {steps}, {shift} and {start}"
        )
    times = [start * (1 - i / steps) for i in range(steps)]
    first, *others = (shift * t / (1 + (shift - 1) * t) for t in times)
    # both ends exactly, whatever rounding says
    return [1.0 if start == 1 else first, *others, 0.0]


def sample_euler(
    velocity: Callable[[ArrayT, float], ArrayT],
    x: ArrayT,
    sigmas: Sequence[float],
    on_step: OnStep | None = None,
) -> ArrayT:
    """First order: follow the velocity for each whole step.

    Args:
        velocity: (x, sigma) to v, same shape as x.
        x: noise at `sigmas[0]`.
        sigmas: falling noise levels.
        on_step: called after each step with the number of steps done.

    Returns:
        x at `sigmas[-1]`.
    """
    for i, (sigma, following) in enumerate(pairwise(sigmas)):
        x = x + velocity(x, sigma) * (following - sigma)
        if on_step:
            on_step(i + 1)
    return x


def sample_dpmpp_2m(
    velocity: Callable[[ArrayT, float], ArrayT],
    x: ArrayT,
    sigmas: Sequence[float],
    on_step: OnStep | None = None,
) -> ArrayT:
    """Second order without further network calls: DPM-Solver++(2M), Lu et al. 2022 (arXiv:2211.01095), algorithm 2.

    Same arguments and result as `sample_euler`. With alpha = 1 - sigma and lambda = log(alpha / sigma), it extrapolates
    the picture estimate from the last two steps. The first step and a last step to sigma 0 are of first order, where
    lambda is infinite.
    """
    previous: ArrayT | None = None
    for i, (sigma, following) in enumerate(pairwise(sigmas)):
        picture = x - velocity(x, sigma) * sigma
        estimate = picture
        if previous is not None and following > 0 and sigmas[i - 1] < 1:
            ratio = (_log_snr(following) - _log_snr(sigma)) / (_log_snr(sigma) - _log_snr(sigmas[i - 1]))
            estimate = picture + (picture - previous) * (0.5 * ratio)
        shrink = following / sigma
        x = x * shrink + estimate * ((1 - following) - (1 - sigma) * shrink)
        previous = picture
        if on_step:
            on_step(i + 1)
    return x


def _log_snr(sigma: float) -> float:
    return math.log((1 - sigma) / sigma)


SAMPLERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {"euler": sample_euler, "dpmpp_2m": sample_dpmpp_2m}
)
