"""The loops of a process live and end together."""

from __future__ import annotations

import threading

from deploy.crew import Crew


def test_one_failure_ends_them_all() -> None:
    """A loop that raises stops its neighbours, and the exit code says so."""
    crew, seen = Crew(), threading.Event()

    def fails(_: threading.Event) -> None:
        raise RuntimeError("broken")

    def works(stop: threading.Event) -> None:
        stop.wait(60)
        seen.set()

    crew.add("works", works)
    crew.add("fails", fails)

    assert 1 == crew.wait()
    assert ["fails"] == crew.failed
    assert seen.is_set()


def test_a_loop_that_just_returns_is_a_failure_too() -> None:
    """Half a process would look alive: a loop that ends unasked ends the process."""
    crew = Crew()
    crew.add("leaves", lambda stop: None)

    assert 1 == crew.wait()


def test_an_orderly_stop_is_no_failure() -> None:
    """Loops that end because they were asked to give exit code 0, and the server in the main thread is told."""
    crew, told = Crew(), threading.Event()
    crew.on_stop = told.set
    crew.add("works", lambda stop: stop.wait(60) and None)
    crew.request_stop()

    assert 0 == crew.join()
    assert told.is_set()
