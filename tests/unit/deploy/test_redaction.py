"""What the redactor takes out of a text, what it leaves, and that it costs bounded time."""

from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from deploy.redaction import (
    MAX_TEXT_CHARS,
    Redactor,
    exception_text,
    is_card,
    is_iban,
    message_of,
)
from schemas.errors import PromptRefused

KEY = b"k" * 32
CLEAN = Redactor(KEY, ["s3cr3t-of-this-installation"])


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("write to jane.doe+shop@mail.example.co.uk today", "jane.doe"),
        ("call +49 (30) 1234-5678 now", "1234"),
        ("call +441632960961", "960961"),
        ("card 4111 1111 1111 1111 declined", "4111"),
        ("card 378282246310005", "378282"),
        ("pay to DE89 3704 0044 0532 0130 00", "3704"),
        ("pay to GB82WEST12345698765432", "WEST"),
        ("GET https://b.s3.amazonaws.com/k?X-Amz-Expires=9&X-Amz-Signature=abcdef failed", "abcdef"),
        ("GET https://h.example/a/b?who=jane failed", "jane"),
        ("amqp://user:hunter22@broker:5672//", "hunter22"),
        ("Authorization: Bearer abcdefgh.ijkl", "abcdefgh"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.sig-nature", "eyJ"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9"),
        ("key AKIAIOSFODNN7EXAMPLE is wrong", "IOSFODNN"),
        ("-----BEGIN PRIVATE KEY-----\nMIGHAgEA\n-----END PRIVATE KEY-----", "MIGHAgEA"),
        ("it said s3cr3t-of-this-installation", "s3cr3t"),
    ],
)
def test_what_must_not_be_told_is_taken_out(text: str, gone: str) -> None:
    """Each kind of personal or secret text is replaced, and a word says by what."""
    cleaned = CLEAN.text(text)

    assert gone not in cleaned and "[" in cleaned


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23T03:20:15.123456Z",
        "released 8 images in 1.25 s, lease until 1800000000.25",
        "digest 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "img_01jd8x6k3v8m4q2w7z5n1c9b0t of job_01jd8x6k3v8m4q2w7z5n1c9b0t",
        "order 4111 1111 1111 1112",
        "starter@0123456789ab/128x128/12",
        "http://127.0.0.1:8632/readyz",
        "DE00 3704 0044 0532 0130 00",
        "version 1.2.3-4, 35 mm f/1.4, +3 more",
        "0000000000000000",
    ],
)
def test_ordinary_texts_stay(text: str) -> None:
    """Times, ids, digests, numbers without a right check digit and plain addresses of machines stay readable."""
    assert CLEAN.text(text) == text


@given(st.integers(10**11, 10**17))
def test_one_digit_decides_about_a_card(number: int) -> None:
    """Of ten numbers that differ in the last digit exactly one is a card's."""
    assert sum(is_card(f"{number}{last}") for last in range(10)) == 1


def test_an_account_is_known_by_its_check_digits() -> None:
    """One wrong character makes it any text."""
    assert is_iban("DE89370400440532013000") and not is_iban("DE89370400440532013001")


def test_a_prompt_leaves_a_hash_of_its_tenant(tmp_path: object) -> None:
    """Equal prompts of one tenant can be correlated; those of two tenants, or of two installations, cannot."""
    one = CLEAN.event({"event": "e", "tenant": "a", "prompt": "a red mug"})
    again = CLEAN.event({"event": "f", "tenant": "a", "prompt": "a red mug"})
    other = CLEAN.event({"event": "e", "tenant": "b", "prompt": "a red mug"})
    elsewhere = Redactor(b"x" * 32).event({"event": "e", "tenant": "a", "prompt": "a red mug"})

    assert one["prompt_hmac"] == again["prompt_hmac"] and one["prompt_chars"] == 9
    assert len({line["prompt_hmac"] for line in (one, other, elsewhere)}) == 3
    assert "mug" not in json.dumps([one, other])


def test_what_is_nested_is_cleaned_too() -> None:
    """Lists, mappings, bytes and objects are looked through, to a bounded depth and number."""

    class Said:
        def __str__(self) -> str:
            return "jane@example.org"

    deep: list[object] = ["canary"]
    for _ in range(50):
        deep = [deep]
    line = CLEAN.event(
        {
            "event": "e",
            "a": {"prompt": "canary", "b": [{"mail": "jane@example.org"}], "jane@example.org": 1},
            "raw": b"canary",
            "said": Said(),
            "deep": deep,
            "many": ["canary?"[:6] * 0 + "x"] * 1000,
        }
    )

    assert "canary" not in json.dumps(line) and "jane" not in json.dumps(line)
    assert len(line["many"]) == 200


@pytest.mark.parametrize("unit", ["a@", "+1 ", "1 ", "https://h?", "a.", "DE89", "://:", "Bearer ", "eyJ.", "-----BEGIN "])
def test_a_hostile_text_costs_bounded_time(unit: str) -> None:
    """However a text is put together, work grows with its length and no faster, and ends at a bound."""

    def cost(length: int) -> float:
        text = (unit * length)[:length]
        times = []
        for _ in range(3):
            before = time.process_time()
            CLEAN.text(text)
            times.append(time.process_time() - before)
        return min(times)

    assert cost(MAX_TEXT_CHARS) < 40 * max(cost(MAX_TEXT_CHARS // 8), 0.002)
    assert len(CLEAN.text("x" * 10**6)) < MAX_TEXT_CHARS + 100


def test_exceptions_that_quote_are_not_quoted() -> None:
    """A traceback names places and types; what a customer sent, which some messages quote, is withheld."""

    class Body(BaseModel):
        steps: int

    sent = "canary"

    def fail() -> None:
        try:
            Body.model_validate({"steps": sent})
        except ValidationError as error:
            raise RuntimeError("the planner stopped") from error

    told = ""
    try:
        fail()
    except RuntimeError as error:
        told = exception_text(error)

    assert "canary" not in told and "ValidationError" in told and "the planner stopped" in told
    assert re.search(r'File ".*test_redaction\.py", line \d+, in fail', told)
    for error in (KeyError("canary"), ValueError("canary"), FileNotFoundError(2, "no such file", "canary")):
        assert "canary" not in message_of(error)
    assert message_of(PromptRefused("canary")) == "prompt_refused"
    assert message_of(RuntimeError("out of memory")) == "out of memory"
