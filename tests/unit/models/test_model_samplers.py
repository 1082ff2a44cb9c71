"""The samplers solve their ODE, at the order they claim."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.samplers import SAMPLERS, flow_sigmas, sample_dpmpp_2m, sample_euler


def gaussian_velocity(x: np.ndarray, sigma: float) -> np.ndarray:
    """Exact velocity for data drawn from N(2, 0.5^2): E[noise - x0 | x_sigma], a linear function of x."""
    mean, deviation = 2.0, 0.5
    alpha = 1 - sigma
    variance = (alpha * deviation) ** 2 + sigma**2
    slope = (sigma - alpha * deviation**2) / variance
    return -mean + slope * (x - alpha * mean)


def gaussian_solution(x: np.ndarray, start: float, end: float) -> np.ndarray:
    """Closed form: the flow keeps the standardised value."""

    def spread(sigma: float) -> float:
        return math.hypot((1 - sigma) * 0.5, sigma)

    return (1 - end) * 2.0 + spread(end) / spread(start) * (x - (1 - start) * 2.0)


def error(sampler: Callable[..., np.ndarray], steps: int) -> float:
    """Largest error after integrating from sigma 0.9 to 0.1 in equal steps."""
    x = np.linspace(-2, 2, 9)
    sigmas = np.linspace(0.9, 0.1, steps + 1).tolist()
    return float(np.abs(sampler(gaussian_velocity, x, sigmas) - gaussian_solution(x, 0.9, 0.1)).max())


@pytest.mark.parametrize(("sampler", "order"), [(sample_euler, 1), (sample_dpmpp_2m, 2)])
def test_order_of_convergence(sampler: Callable[..., np.ndarray], order: int) -> None:
    """Halving the step divides the error by two for first order, by four for second."""
    observed = math.log2(error(sampler, 128) / error(sampler, 256))

    assert order == pytest.approx(observed, abs=0.15)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
@given(x=st.floats(-5, 5), target=st.floats(-5, 5), steps=st.integers(1, 30), shift=st.floats(0.3, 5))
@settings(deadline=None)
def test_one_picture_is_reached_exactly(name: str, x: float, target: float, steps: int, shift: float) -> None:
    """Where all data is one picture, every sampler lands on it, in any number of steps."""

    def velocity(now: np.ndarray, sigma: float) -> np.ndarray:
        return (now - target) / sigma

    reached = SAMPLERS[name](velocity, np.array([x]), flow_sigmas(steps, shift))

    assert target == pytest.approx(float(reached[0]), abs=1e-8)


@given(steps=st.integers(1, 200), shift=st.floats(0.1, 10))
@settings(deadline=None)
def test_sigmas_fall_from_one_to_zero(steps: int, shift: float) -> None:
    """Whatever the shift, noise levels fall strictly, from all noise to none."""
    sigmas = flow_sigmas(steps, shift)

    assert steps + 1 == len(sigmas)
    assert (1.0, 0.0) == (sigmas[0], sigmas[-1])
    assert all(a > b for a, b in pairwise(sigmas))


@given(steps=st.integers(1, 60), shift=st.floats(0.3, 5), start=st.floats(0.01, 1))
@settings(deadline=None)
def test_a_start_from_a_picture_takes_all_its_steps(steps: int, shift: float, start: float) -> None:
    """The levels fall strictly from the shifted start to 0 in as many steps as from noise; start 1 is from noise."""
    sigmas = flow_sigmas(steps, shift, start)

    assert steps + 1 == len(sigmas)
    assert sigmas[0] == pytest.approx(shift * start / (1 + (shift - 1) * start))
    assert 0.0 == sigmas[-1]
    assert all(a > b for a, b in pairwise(sigmas))
    assert flow_sigmas(steps, shift) == flow_sigmas(steps, shift, 1.0)


@pytest.mark.parametrize(
    ("steps", "shift", "start"),
    [(0, 1.0, 1.0), (-1, 1.0, 1.0), (4, 0.0, 1.0), (4, -1.0, 1.0), (4, 1.0, 0.0), (4, 1.0, 1.1)],
)
def test_senseless_schedules_are_refused(steps: int, shift: float, start: float) -> None:
    """No steps, a shift that is not positive or a start outside (0, 1] is an error and not an empty picture."""
    with pytest.raises(ValueError, match="steps"):
        flow_sigmas(steps, shift, start)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_each_step_is_announced_once(name: str) -> None:
    """`on_step` counts 1 to steps, and the network is called once per step."""
    calls: list[float] = []
    done: list[int] = []

    def velocity(x: np.ndarray, sigma: float) -> np.ndarray:
        calls.append(sigma)
        return x

    SAMPLERS[name](velocity, np.zeros(1), flow_sigmas(5), done.append)

    assert [1, 2, 3, 4, 5] == done
    assert flow_sigmas(5)[:-1] == calls


@pytest.mark.train
@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_torch_and_numpy_agree(name: str) -> None:
    """One sampler serves both kinds of array."""
    torch = pytest.importorskip("torch")
    x = np.linspace(-2, 2, 7)

    with_numpy = SAMPLERS[name](gaussian_velocity, x, flow_sigmas(6, 1.5))
    with_torch = SAMPLERS[name](gaussian_velocity, torch.from_numpy(x), flow_sigmas(6, 1.5))

    assert np.allclose(with_numpy, with_torch.numpy(), atol=1e-12)
