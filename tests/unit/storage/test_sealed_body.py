"""Messages on a broker's disk show no words, and open only where and for what they were meant."""

from __future__ import annotations

import json

import pytest

from schemas.errors import KeyMissing, SealBroken
from storage.broker.sealed_body import open_body, seal_body

KEY = b"k" * 32


def test_a_body_comes_back_and_shows_nothing() -> None:
    """What was sealed for a queue opens there, and the words are not to be seen under way."""
    text = json.dumps({"prompt": "a zanzibar mug"})
    sealed = seal_body(KEY, text, "work.1")

    assert "zanzibar" not in sealed
    assert open_body(KEY, json.loads(sealed), "work.1") == {"prompt": "a zanzibar mug"}


def test_without_a_key_messages_are_plain() -> None:
    """An installation without a secret, and messages from before there were keys, work as they did."""
    text = json.dumps({"prompt": "a mug"})

    assert seal_body(b"", text, "q") == text
    assert open_body(KEY, json.loads(text), "q") == {"prompt": "a mug"} == open_body(b"", json.loads(text), "q")


def test_a_body_opens_only_where_it_was_meant_to() -> None:
    """Another queue, another key, changed bytes and no key at all are refused by a typed error."""
    sealed = json.loads(seal_body(KEY, "{}", "work.1"))
    for key, payload, queue in (
        (KEY, sealed, "work.2"),
        (b"x" * 32, sealed, "work.1"),
        (KEY, {"sealed": sealed["sealed"][:-8] + "AAAAAAA="}, "work.1"),
        (KEY, {"sealed": 7}, "work.1"),
    ):
        with pytest.raises(SealBroken):
            open_body(key, payload, queue)
    with pytest.raises(KeyMissing):
        open_body(b"", sealed, "work.1")
