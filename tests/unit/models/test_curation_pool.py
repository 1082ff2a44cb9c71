"""The pool: in order, and one crash takes nobody with it."""

from __future__ import annotations

import os

import pytest

from models.curation.pool import Crashed, Pool


def doubled(number: int) -> int:
    """Dies on thirteen, as a decoder might."""
    if number == 13:
        os._exit(1)
    return 2 * number


def test_one_worker_stays_here() -> None:
    """With one worker nothing is pickled and nothing starts."""
    here = os.getpid()
    with Pool(1) as pool:
        assert [(1, here), (2, here)] == list(pool.map(lambda _: os.getpid(), [1, 2]))


def test_a_crash_is_one_result() -> None:
    """The task that killed its process is marked; all others, also those under way beside it, have their results in order."""
    with Pool(2) as pool:
        results = list(pool.map(doubled, range(10, 18)))

    assert list(range(10, 18)) == [task for task, _ in results]
    assert [Crashed() if task == 13 else 2 * task for task, _ in results] == [result for _, result in results]


def test_errors_come_through() -> None:
    """An exception is no crash: it reaches the caller."""
    with Pool(2) as pool, pytest.raises(TypeError):
        list(pool.map(doubled, ["x", None]))
