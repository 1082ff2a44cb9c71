"""Fetching a brand's pictures and captions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import BadImage, BadInput, InputMissing, InputRefused, OutOfRange
from schemas.finetune import MAX_IMAGE_BYTES, FinetuneSpec
from schemas.object_keys import input_key
from storage.objects.memory import MemoryStore
from workers.brand_pictures import Stores, fetch_pictures
from workers.captions import caption_of, read_listing
from workers.tuning import Called

PNG, JPEG, WEBP = b"\x89PNG\r\n\x1a\nrest", b"\xff\xd8\xffrest", b"RIFF....WEBP"


def a_spec(**fields: Any) -> FinetuneSpec:
    values = {
        "name": "acme",
        "images": "uploads/brand/",
        "caption": "a mug, {trigger}",
        "trigger": "acme style",
        "model": "starter",
        "base_digest": "5" * 64,
        "rank": 8,
        "steps": 10,
        "minutes": None,
        "seed": 1,
    }
    return FinetuneSpec.model_validate(values | fields)


@pytest.fixture
def stores() -> Stores:
    return Stores(uploads=MemoryStore(bucket="uploads"), results=MemoryStore(bucket="results"))


def fetched(
    spec: FinetuneSpec, stores: Stores, folder: Path, cancelled: Callable[[], bool] = lambda: False
) -> dict[str, tuple[bytes, str]]:
    """Reference to the bytes and caption that lie in the folder for it."""
    folder.mkdir(exist_ok=True)
    found = fetch_pictures(spec, stores, folder, cancelled=cancelled).references
    return {
        reference: (
            (folder / name).read_bytes(),
            (folder / name).with_suffix(".txt").read_text(encoding="utf-8"),
        )
        for name, reference in found.items()
    }


def test_captions_from_the_listing_from_beside_or_from_the_request(stores: Stores, tmp_path: Path) -> None:
    """The listing first, then a .txt beside the picture, then the request's own with the trigger in its slot."""
    for number in range(4):
        stores.uploads.put(f"brand/sub/{number}.png", PNG)
    stores.uploads.put("brand/sub/0.txt", b"beside, not used")
    stores.uploads.put("brand/sub/1.txt", "\ufeffa  red\nmug ü".encode())
    stores.uploads.put("brand/notes.pdf", b"%PDF")
    stores.uploads.put("brand/captions.csv", b"image,caption\nsub/0.png,a blue bowl\n2.png,a cup\n")
    found = fetched(a_spec(captions="uploads/brand/captions.csv"), stores, tmp_path)
    assert {name: caption for name, (_, caption) in found.items()} == {
        "uploads/brand/sub/0.png": "a blue bowl",
        "uploads/brand/sub/1.png": "a red mug ü",
        "uploads/brand/sub/2.png": "a cup",
        "uploads/brand/sub/3.png": "a mug, acme style",
    }


def test_single_pictures_from_all_three_places(stores: Stores, tmp_path: Path) -> None:
    """Uploads, earlier results and bytes that were sent before; files are called by what they are."""
    sha = hashlib.sha256(b"no picture").hexdigest()
    stores.uploads.put("a.gif", JPEG)
    stores.uploads.put("b", WEBP)
    stores.results.put("images/aa/x.png", PNG)
    stores.results.put(input_key(sha), b"no picture")
    names = ["uploads/a.gif", "uploads/b", "results/images/aa/x.png", f"inputs/{sha}"]
    found = fetched(a_spec(images=names), stores, tmp_path)
    assert [data for data, _ in found.values()] == [JPEG, WEBP, PNG, b"no picture"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".txt") == [
        "00001.jpg",
        "00002.webp",
        "00003.png",
        "00004.png",
    ]


def test_only_clean_copies_reach_the_folder(stores: Stores, tmp_path: Path) -> None:
    """What lies there was re-encoded; of a picture that cannot be read nothing does, and curation counts it as dropped."""

    def clean(data: bytes) -> bytes:
        if data == JPEG:
            raise BadImage
        return b"\x89PNG\r\n\x1a\nclean"

    for number, data in enumerate((PNG, JPEG, WEBP, PNG)):
        stores.uploads.put(f"brand/{number}.png", data)
    found = fetched(a_spec(), replace(stores, clean=clean), tmp_path)
    mine = b"\x89PNG\r\n\x1a\nclean"
    assert [data for data, _ in found.values()] == [mine, b"", mine, mine]


def test_a_picture_that_is_not_allowed_ends_the_fine_tune(stores: Stores, tmp_path: Path) -> None:
    """By its place in the list: an adapter must not learn what may not be drawn."""

    def judge(png: bytes) -> None:
        if png == WEBP:
            raise InputRefused("not allowed", limit={"decision": "block"})

    for number, data in enumerate((PNG, JPEG, WEBP, PNG)):
        stores.uploads.put(f"brand/{number}.png", data)
    with pytest.raises(InputRefused) as caught:
        fetched(a_spec(), replace(stores, judge=judge), tmp_path)
    assert (caught.value.field, caught.value.limit) == ("images.2", {"decision": "block"})


def test_hostile_names_stay_in_the_folder(stores: Stores, tmp_path: Path) -> None:
    """Whatever a key holds, local names are ours."""
    keys = ["-rf.png", "a\u202e.png", "c:d.png", "%2e%2e%2fetc.png", " .png", "x" * 200 + ".png"]
    for key in keys:
        stores.uploads.put(f"brand/{key}", PNG)
    fetched(a_spec(), stores, tmp_path / "in")
    assert sorted(path.name for path in (tmp_path / "in").glob("*.png")) == [
        f"{number:05d}.png" for number in range(1, 7)
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_what_is_missing_or_too_large_is_named(stores: Stores, tmp_path: Path) -> None:
    """A typed error with the place in the list; nothing larger than the limit is loaded."""
    for number in range(4):
        stores.uploads.put(f"{number}.png", PNG)
    names = [f"uploads/{number}.png" for number in range(4)]
    with pytest.raises(InputMissing) as missing:
        fetched(a_spec(images=[*names[:3], "uploads/9.png"]), stores, tmp_path)
    assert missing.value.field == "images.3"
    stores.uploads.put("2.png", bytes(MAX_IMAGE_BYTES + 1), if_absent=False)
    with pytest.raises(OutOfRange) as large:
        fetched(a_spec(images=names), stores, tmp_path)
    assert (large.value.field, large.value.limit) == ("images.2", MAX_IMAGE_BYTES)
    with pytest.raises(OutOfRange) as few:
        fetched(a_spec(), stores, tmp_path)
    assert (few.value.field, few.value.limit) == ("images", [4, 2000])
    with pytest.raises(Called):
        fetched(a_spec(images=names), stores, tmp_path, cancelled=lambda: True)


@pytest.mark.parametrize(
    ("name", "text", "row"),
    [
        ("captions.csv", b"image,caption\na.png,ok\nb.png\n", 2),
        ("captions.csv", b"picture,words\na.png,ok\n", 1),
        ("captions.jsonl", b'{"image": "a.png", "caption": "ok"}\n{"image": "b.png"\n', 2),
        ("captions.jsonl", b'["a.png", "ok"]\n', 1),
        ("captions.jsonl", b'{"image": "a.png", "caption": 7}\n', 1),
        ("captions.jsonl", json.dumps({"image": "a.png", "caption": "x" * 501}).encode(), 1),
        ("captions.csv", b"image,caption\n\xff,ok\n", None),
    ],
)
def test_a_bad_file_of_captions_is_refused_by_row(name: str, text: bytes, row: int | None) -> None:
    """Half a file of captions would teach half a brand: the first bad row ends it, with its number."""
    with pytest.raises(BadInput) as bad:
        read_listing(name, text)
    assert (bad.value.field, bad.value.row) == ("captions", row)


@given(st.binary(max_size=200), st.sampled_from(["captions.csv", "captions.jsonl"]))
def test_any_bytes_are_captions_or_a_typed_error(data: bytes, name: str) -> None:
    """No content of a listing can break the trainer."""
    try:
        listing = read_listing(name, data)
    except BadInput:
        return
    assert all(isinstance(text, str) for text in listing.values())


@given(st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=4), st.data())
def test_a_listing_may_name_pictures_from_any_folder_above(parts: list[str], data: st.DataObject) -> None:
    """Every tail of a key finds it, and the longest one first."""
    start = data.draw(st.integers(0, len(parts) - 1))
    tail = "/".join(parts[start:])
    assert caption_of({tail: "found"}, "/".join(parts)) == "found"
    both = {parts[-1]: "end", "/".join(parts): "whole"}
    assert caption_of(both, "/".join(parts)) == "whole"
    assert caption_of({"zzz": "other"}, "/".join(parts)) is None
