"""Listed pictures: found again after the changes that copies go through, and nothing else is."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from safety import hash_match
from safety.hash_index import HashIndex
from safety.hash_match import HashScreen, ListedHash, known_picture, read_lists
from safety.image_screen import ImageScreen, Pixels, ScreenFault, checked_scores
from safety.perceptual_hash import hashes_of
from schemas.errors import BadSettings

pytest.importorskip("pdqhash")


def a_scene(seed: int, width: int = 320, height: int = 240) -> Pixels:
    """Soft shapes in several scales, which compress and shrink as photographs do."""
    rng, picture = np.random.default_rng(seed), np.zeros((height, width, 3))
    for cells in (3, 5, 9, 17):
        grid = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        picture += np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC), float) / 4
    return picture.clip(0, 255).astype(np.uint8)


def pdq(picture: Pixels) -> str:
    return hashes_of(picture).pdq[0].astype(">u8").tobytes().hex()


def phash(picture: Pixels) -> str:
    return hashes_of(picture).phash[0].astype(">u8").tobytes().hex()


def compressed(picture: Pixels) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=70)
    return np.asarray(Image.open(file))


def smaller(picture: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(picture).resize((200, 150), Image.Resampling.BICUBIC))


COPIES = {
    "itself": lambda one: one,
    "compressed": compressed,
    "smaller": smaller,
    "brighter": lambda one: (one * 0.9 + 20).astype(np.uint8),
    "mirrored": np.fliplr,
    "upside down": np.flipud,
    "turned": np.rot90,
    "turned back": lambda one: np.rot90(one, 3),
    "mirrored and turned": lambda one: np.rot90(np.fliplr(one)),
    "mirrored, compressed and smaller": lambda one: smaller(compressed(np.ascontiguousarray(np.fliplr(one)))),
}


@pytest.mark.parametrize("algorithm", ["pdq", "phash"])
@pytest.mark.parametrize("copy", sorted(COPIES))
def test_copies_are_recognised(copy: str, algorithm: str) -> None:
    """Either hash finds a listed picture after each ordinary change, and says by whose id."""
    listed = [
        ListedHash(
            hash=(pdq if algorithm == "pdq" else phash)(a_scene(seed)), id=str(seed), category="illicit"
        )
        for seed in range(12)
    ]
    screen = HashScreen(listed)
    for seed in (0, 7):
        matches = screen.match(np.ascontiguousarray(COPIES[copy](a_scene(seed))))
        assert [(match.id, match.algorithm) for match in matches] == [(str(seed), algorithm)]


def test_other_pictures_are_not() -> None:
    """Pictures that are not listed match nothing among those that are."""
    listed = [ListedHash(hash=pdq(a_scene(seed)), id=str(seed), category="illicit") for seed in range(40)]
    screen = HashScreen(listed)
    assert not any(screen.match(a_scene(seed)) for seed in range(1000, 1040))


def test_plain_pictures_match_nothing() -> None:
    """The hash of a picture without detail is the hash of every such picture: it is no finding."""
    plain = np.full((64, 64, 3), 200, np.uint8)
    assert HashScreen([ListedHash(hash=pdq(plain), id="plain", category="illicit")]).match(plain) == []


def test_it_is_an_image_screen_that_covers_nothing() -> None:
    """It answers like a classifier, for the categories of its lists, and vouches for none of them."""
    screen = HashScreen(
        [
            ListedHash(hash=pdq(a_scene(1)), id="a", category="sexual_minors"),
            ListedHash(hash=phash(a_scene(2)), id="b", category="policy_custom:old-logo"),
        ]
    )
    assert isinstance(screen, ImageScreen)
    assert screen.categories == ("policy_custom:old-logo", "sexual_minors") and screen.covers == ()
    answers = checked_scores(screen.check([a_scene(1), a_scene(2), a_scene(3)]), 3, screen.categories)
    assert answers == [
        {"policy_custom:old-logo": 0.0, "sexual_minors": 1.0},
        {"policy_custom:old-logo": 1.0, "sexual_minors": 0.0},
        {"policy_custom:old-logo": 0.0, "sexual_minors": 0.0},
    ]


def test_another_list_is_another_screen() -> None:
    """Its digest is that of its content, whatever the files are called or how they are ordered."""
    one, two = (ListedHash(hash=pdq(a_scene(seed)), id=str(seed), category="illicit") for seed in (1, 2))
    assert HashScreen([one, two]).model_sha256 == HashScreen([two, one]).model_sha256
    assert HashScreen([one]).model_sha256 != HashScreen([one, two]).model_sha256


def test_the_self_test_knows_its_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash library that hashes differently, or an index that loses its rows, is found out before the first picture."""
    screen = HashScreen([ListedHash(hash=pdq(a_scene(1)), id="a", category="illicit")])
    screen.self_test()
    with monkeypatch.context() as patched:
        patched.setattr(
            hash_match, "hashes_of", lambda picture: hashes_of(np.ascontiguousarray(255 - picture))
        )
        with pytest.raises(ScreenFault, match="bits off"):
            screen.self_test()
    monkeypatch.setattr(HashIndex, "near", lambda self, word: (np.zeros(0, int), np.zeros(0, np.uint8)))
    with pytest.raises(ScreenFault, match="own hashes"):
        screen.self_test()


def test_phash_is_the_one_that_others_compute() -> None:
    """Equal to imagehash, bit for bit, so that its lists can be used."""
    imagehash = pytest.importorskip("imagehash")
    for picture in (known_picture(), *(a_scene(seed) for seed in range(20))):
        assert phash(picture) == str(imagehash.phash(Image.fromarray(picture)))


def test_pdq_of_the_reduced_picture_is_close_to_that_of_the_whole() -> None:
    """Lists hold hashes of whole pictures; what reducing first costs leaves most of the radius."""
    import pdqhash

    for seed in range(6):
        scene = a_scene(seed, 1024, 768)
        reduced = np.unpackbits(hashes_of(scene).pdq.astype(">u8").view(np.uint8), axis=1)
        for position, (twin, most) in enumerate([(scene, 8), (np.fliplr(scene), 8), (np.rot90(scene), 20)]):
            whole = pdqhash.compute(np.ascontiguousarray(twin))[0]
            assert int((whole != reduced[position]).sum()) <= most


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(4, 31), (4, 10), (1, 6), (1, 0), (2, 13)]))
def test_the_index_misses_nothing(seed: int, shape: tuple[int, int]) -> None:
    """It finds exactly what a look at every hash finds, also where many share their bits."""
    width, radius = shape
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 2**64, (200, width), dtype=np.uint64)
    words[100:] = words[:100]
    for row in range(50, 200):
        for bit in rng.choice(64 * width, rng.integers(0, 2 * radius + 2), replace=False):
            words[row, bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
    index = HashIndex(words, radius)
    for query in words[::20]:
        distances = np.bitwise_count(words ^ query).sum(axis=1)
        rows, found = index.near(query)
        assert rows.tolist() == np.flatnonzero(distances <= radius).tolist()
        assert found.tolist() == distances[rows].tolist()


A, B = "0f" * 32, "ab" * 8


def test_lists_are_read_in_three_forms(tmp_path: Path) -> None:
    """Lines, columns and JSON lines; the category from the line, the note above it or the file's name."""
    (tmp_path / "illicit.partner.txt").write_text(f"# from a partner\n{A}  case 1\n{B}\n\n")
    (tmp_path / "x.txt").write_text(f"# category: policy_custom:old-logo\n{A.upper()},logo\n")
    (tmp_path / "extremism.csv").write_text(f"id,hash,category\n1,{A},\n2,{B},hate_symbols\n")
    lines = [{"hash": A, "id": 7, "category": "sexual"}, {"hash": B, "category": "sexual"}]
    (tmp_path / "any.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "README.md").write_text("not a list")
    found = [(one.hash, one.id, one.category) for one in read_lists(tmp_path)]
    assert found == [
        (A, "7", "sexual"),
        (B, "any.jsonl:2", "sexual"),
        (A, "1", "extremism"),
        (B, "2", "hate_symbols"),
        (A, "case 1", "illicit"),
        (B, "illicit.partner.txt:3", "illicit"),
        (A, "logo", "policy_custom:old-logo"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("illicit.txt", f"{A}\n{A}00", "illicit.txt, line 2"),
        ("illicit.txt", "zz" * 32, "line 1"),
        ("secret.txt", A, "'secret' is no category"),
        ("illicit.jsonl", "{", "line 1"),
        ("illicit.jsonl", "[1]", "line 1"),
        ("illicit.csv", f"other\n{A}", "line 2"),
    ],
)
def test_a_list_that_cannot_be_read_says_where(tmp_path: Path, name: str, content: str, told: str) -> None:
    """The operator learns the file and the line; a list is never used in part."""
    (tmp_path / name).write_text(content)
    with pytest.raises(BadSettings, match=told) as caught:
        read_lists(tmp_path)
    assert caught.value.field == "AQUATINT_HASH_LISTS"


def test_no_folder_is_told_apart_from_an_empty_one(tmp_path: Path) -> None:
    """An empty folder lists nothing; a missing one is a mistake."""
    assert read_lists(tmp_path) == []
    with pytest.raises(BadSettings):
        read_lists(tmp_path / "none")
