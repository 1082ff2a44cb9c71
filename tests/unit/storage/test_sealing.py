"""Sealing without a ledger: what opens, what does not, and what a sealed text tells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import KeyMissing, SealBroken
from storage.sealing import (
    MasterKeys,
    derive_key,
    is_sealed,
    new_data_key,
    seal_bytes,
    taken_apart,
    unseal_bytes,
)

SECRET, OTHER = b"s" * 32, b"o" * 32


@given(st.text(), st.text(max_size=20), st.text(max_size=20))
def test_a_text_comes_back_from_its_seal(text: str, purpose: str, row: str) -> None:
    """Whatever the text, it comes back, and its sealed form shows nothing of it."""
    key = new_data_key("acme", 3)
    sealed = key.seal(text, purpose, row)

    assert key.unseal(sealed, purpose, row) == text
    assert is_sealed(sealed) and taken_apart(sealed)[0] == 3
    assert len(text) < 8 or text not in sealed


def test_a_sealed_text_cannot_be_moved() -> None:
    """A text opens for its own tenant, purpose and row alone, so rows cannot be swapped in a stolen pen."""
    key = new_data_key("acme", 1)
    sealed = key.seal("a red mug", "image.spec", "img_1")
    stranger = type(key)(tenant="other", number=1, key=key.key)

    for opener, purpose, row in (
        (key, "image.alt", "img_1"),
        (key, "image.spec", "img_2"),
        (stranger, "image.spec", "img_1"),
    ):
        with pytest.raises(SealBroken):
            opener.unseal(sealed, purpose, row)


@given(st.data())
def test_a_changed_text_does_not_open(data: st.DataObject) -> None:
    """One changed character anywhere is noticed."""
    key = new_data_key("acme", 1)
    sealed = key.seal("a red mug on a table", "image.spec", "img_1")
    place = data.draw(st.integers(0, len(sealed) - 1))
    letter = data.draw(st.sampled_from("AZaz09+/.").filter(lambda one: one != sealed[place]))

    with pytest.raises(SealBroken):
        key.unseal(sealed[:place] + letter + sealed[place + 1 :], "image.spec", "img_1")


def test_equal_texts_look_different() -> None:
    """Nobody can tell from the ledger that two prompts are the same."""
    key = new_data_key("acme", 1)

    assert len({key.seal("a red mug", "image.spec", "img_1") for _ in range(100)}) == 100


def test_a_data_key_is_wrapped_under_one_secret_for_one_tenant() -> None:
    """A wrapped key opens under its secret, for its tenant and number, and says which secret it needs."""
    key = new_data_key("acme", 2)
    wrapped = MasterKeys(SECRET).wrap(key)

    assert MasterKeys(SECRET).unwrap(wrapped, "acme", 2).key == key.key
    with pytest.raises(KeyMissing):
        MasterKeys(OTHER).unwrap(wrapped, "acme", 2)
    for tenant, number in (("other", 2), ("acme", 1)):
        with pytest.raises(SealBroken):
            MasterKeys(SECRET).unwrap(wrapped, tenant, number)


def test_the_secret_before_still_opens() -> None:
    """While both secrets are given, old wraps open and new ones are made under the new secret."""
    key = new_data_key("acme", 1)
    old = MasterKeys(SECRET).wrap(key)
    both = MasterKeys(OTHER, SECRET)

    assert both.unwrap(old, "acme", 1).key == key.key
    assert both.knows(old) and not MasterKeys(OTHER).knows(old)
    assert MasterKeys(OTHER).unwrap(both.wrap(key), "acme", 1).key == key.key


def test_keys_of_purposes_and_tenants_differ() -> None:
    """No two purposes or tenants share a key, and the same ones always do."""
    made = {derive_key(SECRET, purpose, tenant) for purpose in ("a", "b") for tenant in ("", "acme", "b")}

    assert len(made) == 6
    assert derive_key(SECRET, "a", "acme") == derive_key(SECRET, "a", "acme")
    assert derive_key(SECRET, "ab", "c") != derive_key(SECRET, "a", "bc")


def test_no_key_shows_in_a_text_for_people() -> None:
    """What a debugger or a log would print of a key or a secret holds nothing of it."""
    key = new_data_key("acme", 1)

    assert key.key.hex() not in repr(key) and repr(key.key) not in repr(key)
    assert SECRET.decode() not in repr(MasterKeys(SECRET))


def test_bytes_are_sealed_for_their_context() -> None:
    """Bytes open with the same key and context alone."""
    key = derive_key(SECRET, "quarantine", "acme")
    sealed = seal_bytes(key, b"pixels", b"here")

    assert unseal_bytes(key, sealed, b"here") == b"pixels"
    for wrong_key, context in ((derive_key(SECRET, "quarantine", "b"), b"here"), (key, b"there")):
        with pytest.raises(SealBroken):
            unseal_bytes(wrong_key, sealed, context)
    with pytest.raises(SealBroken):
        unseal_bytes(key, sealed[:5], b"here")
