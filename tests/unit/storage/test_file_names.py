"""Keys and file names correspond one to one, and no name leaves the folder."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.objects.file_names import MAX_NAME_BYTES, EscapedNames, PlainNames
from storage.objects.store import is_storable

segment = st.text(st.sampled_from(list("aAé%~. +/日\\:2F")), min_size=1, max_size=300) | st.text(max_size=20)
keys = st.lists(segment, min_size=1, max_size=4).map("/".join).filter(is_storable)


@given(key=keys, escape_capitals=st.booleans())
def test_every_key_has_a_safe_path_and_comes_back(key: str, escape_capitals: bool) -> None:
    """The path has no hidden, overlong or empty component, and names this key again."""
    names = EscapedNames(escape_capitals=escape_capitals)
    path = names.path(key)

    assert path is not None and names.key(path) == key
    for name in path.split("/"):
        assert name and not name.startswith(".") and not name.endswith((".", " "))
        assert len(name.encode()) <= MAX_NAME_BYTES and name.isascii()
    assert not escape_capitals or (len(path) == len(path.lower()) and names.key(path) == key)


@given(first=keys, second=keys)
def test_two_keys_never_share_a_path(first: str, second: str) -> None:
    """With escaped capitals not even on a file system that ignores case."""
    names = EscapedNames(escape_capitals=True)

    assert first == second or str(names.path(first)).lower() != str(names.path(second)).lower()


@given(path=st.text(st.sampled_from(list("aA%~./ 2F41é")), max_size=12))
def test_a_found_path_is_an_object_only_under_its_own_name(path: str) -> None:
    """Either the path is the one we would write for its key, or it is no object; so with plain names."""
    for names in (EscapedNames(escape_capitals=False), EscapedNames(escape_capitals=True), PlainNames()):
        key = names.key(path)
        assert key is None or names.path(key) == path


@pytest.mark.parametrize("key", ["", ".", "..", "../a", "a/../b", "a//b", "/a", "a/", "\0", "a\nb"])
def test_no_path_for_a_key_that_leaves_the_folder(key: str) -> None:
    """There is no file name for it, so it can neither be written nor read."""
    assert EscapedNames(escape_capitals=False).path(key) is None
    assert PlainNames().path(key) is None


def test_plain_names_are_not_hidden() -> None:
    """In a drop folder hidden files and folders are somebody's work in progress."""
    names = PlainNames()

    assert names.path("Shop/50% off + é.csv") == "Shop/50% off + é.csv"
    assert [names.path(key) for key in (".a", "a/.b", ".a/b", "x" * 256)] == [None] * 4
