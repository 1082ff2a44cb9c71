"""What every object store promises, on each of them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import threading
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from schemas.errors import ObjectMissing, OutOfRange, Unauthorised
from services import Aws
from storage.objects.directory import DirectoryStore
from storage.objects.memory import MemoryStore
from storage.objects.prefixed import PrefixedStore
from storage.objects.reader import open_object
from storage.objects.s3 import S3Store, connect
from storage.objects.signed_link import LinkSigner
from storage.objects.store import ObjectStore

SIGNER = LinkSigner(secret=b"s" * 32, base_url="https://images.example/v1/objects")
#: Keys that every store must hold and give back unchanged.
AWKWARD_KEYS = [
    "plain.png",
    "images/ab/" + "ab" * 32 + ".png",
    "a b/c d.csv",
    "plus+plus.csv",
    "50% off.csv",
    "%2F.csv",
    "a%2Fb",
    "%~",
    "...",
    ".hidden/.file",
    "trailing./dot.",
    " leading and trailing ",
    "Ünïcödé/日本語/👟.csv",
    "e\u0301.txt",
    "\u00e9.txt",
    "Upper/CASE.png",
    "upper/case.png",
    "q?&=#;:@$,!*'()[]{}|\\^`\"<>~",
    "x" * 1000,
    "é" * 500,
    "deep/" * 199 + "end",
]
#: Keys that none takes, whoever asks.
HOSTILE_KEYS = [
    "",
    "/",
    "/etc/passwd",
    "../outside",
    "a/../../outside",
    "..",
    ".",
    "a/./b",
    "a//b",
    "a/",
    "nul\0byte",
    "line\nbreak",
    "del\x7f",
    "x" * 1025,
    "é" * 513,
    "\ud800",
]


@pytest.fixture(params=["memory", "directory", "s3", "prefixed"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "directory":
        return DirectoryStore.open(tmp_path / "objects", bucket="results", signer=SIGNER)
    if request.param == "s3":
        aws: Aws = request.getfixturevalue("s3")
        return S3Store(bucket=request.getfixturevalue("bucket"), client=s3_client(aws))
    memory = MemoryStore(bucket="results", signer=SIGNER)
    if request.param == "prefixed":
        memory.put("tenant-b/secret.png", b"of another tenant")
        return PrefixedStore(memory, "tenant-a")
    return memory


@functools.cache
def s3_client(aws: Aws) -> object:
    return connect(
        endpoint_url=aws.endpoint_url,
        region=aws.region,
        access_key_id=aws.access_key_id,
        secret_access_key=aws.secret_access_key,
    )


def test_probe_sees_exclusive_creation(store: ObjectStore) -> None:
    """Each of them refuses a second create and can delete; the probe leaves nothing behind."""
    capabilities = store.probe()

    assert capabilities.conditional_create and capabilities.delete
    assert list(store.list()) == []


def test_what_was_put_comes_back(store: ObjectStore) -> None:
    """Bytes, size, media type, metadata and SHA-256 are those that were given."""
    data = bytes(range(256)) * 5
    put = store.put(
        "images/ab/abcd.png", data, media_type="image/png", metadata={"job": "job_1", "n": "a b; c"}
    )
    info = store.head("images/ab/abcd.png")

    assert put.created and put.sha256 == hashlib.sha256(data).hexdigest()
    assert store.get("images/ab/abcd.png") == data
    assert info is not None
    assert (info.key, info.size, info.media_type) == ("images/ab/abcd.png", len(data), "image/png")
    assert info.metadata == {"job": "job_1", "n": "a b; c"}
    assert (info.etag, info.sha256) == (put.etag, put.sha256)


def test_an_empty_object_is_an_object(store: ObjectStore) -> None:
    """Zero bytes are stored, listed and read, also by range."""
    store.put("empty", b"")

    assert store.get("empty") == b"" and store.get_range("empty", 0, 10) == b""
    assert [(entry.key, entry.size) for entry in store.list()] == [("empty", 0)]


def test_create_leaves_what_is_there(store: ObjectStore) -> None:
    """The second put of a key reports the first one's etag and digest and changes nothing."""
    first = store.put("k", b"first", media_type="text/plain", metadata={"by": "first"})
    second = store.put("k", b"second", media_type="text/csv", metadata={"by": "second"})
    info = store.head("k")

    assert (second.created, second.etag, second.sha256) == (False, first.etag, first.sha256)
    assert store.get("k") == b"first"
    assert info is not None and (info.media_type, info.metadata) == ("text/plain", {"by": "first"})


def test_replace_changes_everything(store: ObjectStore) -> None:
    """Without if_absent the last put wins, in bytes, etag, media type and metadata."""
    first = store.put("k", b"first", media_type="text/plain", metadata={"by": "first"})
    second = store.put("k", b"other", if_absent=False)
    info = store.head("k")

    assert second.created and second.etag != first.etag
    assert store.get("k") == b"other"
    assert info is not None and (info.metadata, info.etag, info.sha256) == ({}, second.etag, second.sha256)


def test_ranges(store: ObjectStore) -> None:
    """A range is cut at the end and empty behind it."""
    etag = store.put("k", b"0123456789").etag

    assert store.get_range("k", 2, 3) == b"234"
    assert store.get_range("k", 8, 100, etag=etag) == b"89"
    assert store.get_range("k", 10, 5) == b""
    assert store.get_range("k", 0, 0) == b""


def test_a_range_of_a_replaced_object_is_refused(store: ObjectStore) -> None:
    """Pieces of two versions are never mixed."""
    etag = store.put("k", b"0123456789").etag
    store.put("k", b"abcdefghij", if_absent=False)

    with pytest.raises(ObjectMissing):
        store.get_range("k", 0, 3, etag=etag)


def test_a_missing_object(store: ObjectStore) -> None:
    """Reading raises ObjectMissing, head is None, deleting is no error."""
    for read in (store.get, lambda key: store.get_range(key, 0, 1), lambda key: open_object(store, key)):
        with pytest.raises(ObjectMissing):
            read("nothing/here")
    assert store.head("nothing/here") is None
    store.delete("nothing/here")


def test_delete(store: ObjectStore) -> None:
    """A deleted object is gone, and its key is free again, without the old description."""
    store.put("a/k", b"first", metadata={"by": "first"})
    store.delete("a/k")

    assert store.head("a/k") is None and list(store.list()) == []
    assert store.put("a/k", b"first").created
    info = store.head("a/k")
    assert info is not None and info.metadata == {}


@pytest.mark.parametrize("key", AWKWARD_KEYS, ids=lambda key: ascii(key[:24]))
def test_awkward_keys_are_kept(store: ObjectStore, key: str) -> None:
    """Percent, plus, spaces, dots, any script and 1024 bytes: read, listed and deleted under the same name."""
    assert store.put(key, key.encode()).created
    info = store.head(key)

    assert store.get(key) == key.encode()
    assert info is not None and info.key == key
    assert [entry.key for entry in store.list()] == [key]
    store.delete(key)
    assert store.head(key) is None


@pytest.mark.parametrize(
    "key", ["x" * 1024, "é" * 512, "\U0001f45f" * 256], ids=["ascii", "two bytes", "four bytes"]
)
def test_the_longest_key(store: ObjectStore, key: str) -> None:
    """1024 bytes are a key everywhere; below a prefix they are too many, and refused as such."""
    if isinstance(store, PrefixedStore):
        with pytest.raises(OutOfRange):
            store.put(key, b"x")
        return
    store.put(key, b"x")

    assert [entry.key for entry in store.list()] == [key] and store.get(key) == b"x"


def test_similar_keys_are_different_objects(store: ObjectStore) -> None:
    """Keys that differ only in case, Unicode form or escaping never share an object."""
    keys = ["a b", "a+b", "a%20b", "a%2520b", "A b", "e\u0301", "\u00e9", "x/y", "x%2Fy"]
    for key in keys:
        assert store.put(key, key.encode()).created

    assert {key: store.get(key) for key in keys} == {key: key.encode() for key in keys}


@pytest.mark.parametrize("key", HOSTILE_KEYS, ids=lambda key: ascii(key[:24]))
def test_hostile_keys_are_refused(store: ObjectStore, key: str) -> None:
    """Writing and linking raise OutOfRange that names the field; reading finds nothing."""
    with pytest.raises(OutOfRange) as refused:
        store.put(key, b"x")
    with pytest.raises(OutOfRange):
        store.presign(key, expires_seconds=60)

    assert refused.value.field == "key"
    with pytest.raises(ObjectMissing):
        store.get(key)
    assert store.head(key) is None
    store.delete(key)


@pytest.mark.parametrize(
    ("media_type", "metadata"),
    [
        ("not a type", {}),
        ("text/plain\r\nX-Evil: 1", {}),
        ("text/plain", {"Upper": "x"}),
        ("text/plain", {"n": "line\nbreak"}),
        ("text/plain", {"n": "é"}),
        ("text/plain", {"n": " padded "}),
        ("text/plain", {"n": ""}),
        ("text/plain", {f"n{i}": "x" * 500 for i in range(4)}),
    ],
)
def test_descriptions_that_no_header_can_hold_are_refused(
    store: ObjectStore, media_type: str, metadata: dict[str, str]
) -> None:
    """The refusal names the field and nothing is stored."""
    with pytest.raises(OutOfRange) as refused:
        store.put("k", b"x", media_type=media_type, metadata=metadata)

    assert refused.value.field is not None and refused.value.field.startswith(("media_type", "metadata"))
    assert store.head("k") is None


def test_listing(store: ObjectStore) -> None:
    """Listings are in the order of UTF-8 bytes, by prefix (also within a name), and resume after a key."""
    keys = ["a-b", "a/1", "a/2", "a/10", "ab", "b/\U0001f45f", "b/\uff5e", "b/z", "B"]
    for key in keys:
        store.put(key, b"x" * len(key))

    def listed(prefix: str = "", start_after: str = "") -> list[str]:
        return [entry.key for entry in store.list(prefix, start_after=start_after)]

    assert listed() == sorted(keys, key=str.encode)
    assert listed("a/") == ["a/1", "a/10", "a/2"]
    assert listed("a/1") == ["a/1", "a/10"]
    assert listed("a") == ["a-b", "a/1", "a/10", "a/2", "ab"]
    assert listed("a/", "a/10") == ["a/2"]
    assert listed("a/", "a/1zzz") == ["a/2"]
    assert listed("nothing/") == [] and listed("a/1/") == []
    (entry,), info = store.list("ab"), store.head("ab")
    assert info is not None and (entry.size, entry.etag) == (2, info.etag)


def test_listing_pages(store: ObjectStore) -> None:
    """More entries than one page of S3 holds come back whole, and resuming gives the rest."""
    keys = [f"k{number:05d}" for number in range(1005)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.put(key, b""), keys))

    assert [entry.key for entry in store.list()] == keys
    assert [entry.key for entry in store.list(start_after="k01000")] == keys[1001:]


@pytest.mark.parametrize("same_bytes", [True, False])
def test_sixteen_creators_have_one_winner(store: ObjectStore, same_bytes: bool) -> None:
    """Of 16 simultaneous creates one reports success, and its bytes are what everybody reads."""
    store.probe()
    start = threading.Barrier(16)

    def create(writer: int) -> tuple[bytes, bool, str | None]:
        data = b"same" * 1000 if same_bytes else str(writer).encode() * 1000
        start.wait()
        put = store.put("race/k", data, metadata={"writer": str(writer)})
        return data, put.created, put.sha256

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(create, range(16)))
    winners = [data for data, created, _ in results if created]

    assert len(winners) == 1
    assert store.get("race/k") == winners[0]
    assert {sha256 for _, _, sha256 in results} == {hashlib.sha256(winners[0]).hexdigest()}


def test_replacing_is_never_seen_half_done(store: ObjectStore) -> None:
    """A reader beside a writer sees whole versions only."""
    versions = [bytes([number]) * 300_000 for number in range(6)]
    store.put("k", versions[0])
    seen: list[bytes] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append(store.get("k"))

    reader = threading.Thread(target=read)
    reader.start()
    for version in versions[1:]:
        store.put("k", version, if_absent=False)
    done.set()
    reader.join()

    assert all(found in versions for found in seen)
    assert all(versions.index(a) <= versions.index(b) for a, b in pairwise(seen))


def test_open_object_is_a_seekable_file(store: ObjectStore) -> None:
    """Lines are read across blocks, seeking works from both ends."""
    lines = [f"row {number:07d}\n".encode() for number in range(200_000)]
    data = b"".join(lines)
    store.put("big.csv", data)

    with open_object(store, "big.csv") as file:
        assert sum(1 for _ in file) == len(lines)
        assert file.seek(-12, io.SEEK_END) == len(data) - 12 and file.read() == lines[-1]
        assert file.seek(12 * 150_000) and file.readline() == lines[150_000]
        assert file.seek(len(data) + 5) and file.read() == b""


def test_open_object_never_mixes_versions(store: ObjectStore) -> None:
    """When the object is replaced while it is read, reading on raises ObjectMissing."""
    store.put("big", b"a" * 3_000_000)
    with open_object(store, "big") as file:
        assert file.read(10) == b"a" * 10
        store.put("big", b"b" * 3_000_000, if_absent=False)

        with pytest.raises(ObjectMissing):
            file.read()


@pytest.mark.parametrize("key", ["images/ab/abcd.png", "a b/50% +ü.png"])
def test_a_link_opens_the_object_without_credentials(store: ObjectStore, key: str) -> None:
    """S3 serves the link itself; the others' links are accepted by the signer for exactly this object."""
    store.put(key, b"picture")
    link = store.presign(key, expires_seconds=600)

    if isinstance(store, S3Store):
        assert "X-Amz-Signature=" in link and "AWS4-HMAC-SHA256" in link
        with urllib.request.urlopen(link) as answer:
            assert answer.read() == b"picture"
        return
    parts = urlsplit(link)
    bucket, _, path = parts.path.removeprefix("/v1/objects/").partition("/")
    expires, signature = (parse_qs(parts.query)[name][0] for name in ("expires", "signature"))
    named = unquote(path).removeprefix("tenant-a/")
    SIGNER.verify(bucket=bucket, key=unquote(path), expires=expires, signature=signature)
    assert named == key and store.get(named) == b"picture"
    with pytest.raises(Unauthorised):
        SIGNER.verify(bucket=bucket, key=unquote(path) + "x", expires=expires, signature=signature)


@pytest.mark.parametrize("seconds", [0, -1, 7 * 24 * 3600 + 1])
def test_a_link_lives_at_most_seven_days(store: ObjectStore, seconds: int) -> None:
    """A lifetime that S3 would refuse is refused by all."""
    with pytest.raises(OutOfRange) as refused:
        store.presign("k", expires_seconds=seconds)

    assert refused.value.field == "expires_seconds"


@pytest.mark.parametrize("call", ["put", "get", "head", "delete"])
def test_a_tenant_cannot_leave_its_prefix(call: str) -> None:
    """Whatever the key, a prefixed store neither sees nor changes what lies outside."""
    memory = MemoryStore(bucket="results")
    memory.put("tenant-b/k", b"theirs")
    mine = PrefixedStore(memory, "tenant-a/")
    calls: dict[str, Callable[[str], object]] = {
        "put": lambda key: mine.put(key, b"x", if_absent=False),
        "get": mine.get,
        "head": mine.head,
        "delete": mine.delete,
    }

    for key in ("../tenant-b/k", "/../tenant-b/k", "x/../../tenant-b/k", "/tenant-b/k"):
        with contextlib.suppress(OutOfRange, ObjectMissing):
            assert calls[call](key) is None
    assert memory.get("tenant-b/k") == b"theirs"
    assert [entry.key for entry in memory.list()] == ["tenant-b/k"] and list(mine.list()) == []
