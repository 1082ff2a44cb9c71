"""Chores: run when they are due, in slices, and none holds up another."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest

from handlers.sweeps import Sweep, Sweeper, run_sweeps
from schemas.errors import Temporary
from storage.ledger.engine import Ledger


@dataclass
class Chore:
    """Has so much to do, one at a time."""

    backlog: int = 0
    error: Exception | None = None
    runs: list[float] = field(default_factory=list)

    def __call__(self, now: float) -> int:
        self.runs.append(now)
        if self.error:
            raise self.error
        done, self.backlog = min(1, self.backlog), max(0, self.backlog - 1)
        return done


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def drain(sweeper: Sweeper) -> int:
    """Steps until nothing is due."""
    steps = 0
    while sweeper.step():
        steps += 1
        assert steps < 100
    return steps


def test_a_chore_is_done_when_it_is_due_and_not_before() -> None:
    """Each has its own rhythm."""
    clock, often, seldom = Clock(), Chore(), Chore()
    sweeper = Sweeper(
        [Sweep(name="a", every_seconds=10, run=often), Sweep(name="b", every_seconds=100, run=seldom)],
        clock=clock,
    )
    for moment in (1000.0, 1005.0, 1010.0, 1020.0, 1100.0):
        clock.now = moment
        drain(sweeper)

    assert [1000.0, 1010.0, 1020.0, 1100.0] == often.runs
    assert [1000.0, 1100.0] == seldom.runs


def test_a_backlog_is_worked_off_without_holding_up_the_others() -> None:
    """Slices of two backlogs alternate."""
    clock, first, second = Clock(), Chore(backlog=3), Chore(backlog=3)
    order: list[str] = []

    def noting(name: str, chore: Chore) -> Sweep:
        def run(now: float) -> int:
            order.append(name)
            clock.now += 1  # time passes while a chore is done
            return chore(now)

        return Sweep(name=name, every_seconds=1000, run=run)

    drain(Sweeper([noting("a", first), noting("b", second)], clock=clock))

    assert list("abababab") == order
    assert first.backlog == second.backlog == 0


@pytest.mark.parametrize("error", [Temporary("busy"), RuntimeError("a fault")])
def test_a_chore_that_fails_is_tried_again_later(error: Exception) -> None:
    """Not at once, and the others are done."""
    clock, broken, sound = Clock(), Chore(error=error), Chore()
    sweeper = Sweeper(
        [Sweep(name="a", every_seconds=10, run=broken), Sweep(name="b", every_seconds=10, run=sound)],
        clock=clock,
    )
    drain(sweeper)
    assert (len(broken.runs), len(sound.runs)) == (1, 1)

    clock.now += 10
    drain(sweeper)
    assert (len(broken.runs), len(sound.runs)) == (2, 2)


def test_two_chores_of_one_name_are_a_mistake() -> None:
    """Their times would be mixed up."""
    with pytest.raises(ValueError, match="same name"):
        Sweeper([Sweep(name="a", every_seconds=1, run=Chore())] * 2)


def test_only_the_leader_sweeps(sqlite_ledger: Ledger) -> None:
    """While another process holds the lock, nothing is done here; when it lets go, this one takes over."""
    done, stop = threading.Event(), threading.Event()

    def run(_now: float) -> int:
        done.set()
        return 0

    sweeper = Sweeper([Sweep(name="a", every_seconds=1000, run=run)])
    other = sqlite_ledger.lock("sweeps")
    assert other.acquire()
    thread = threading.Thread(target=run_sweeps, args=(sweeper, sqlite_ledger, stop))
    thread.start()
    try:
        assert not done.wait(0.3)
        other.release()
        assert done.wait(30)
    finally:
        stop.set()
        thread.join(30)
