"""What only a folder can do wrong: killed writers, full and read-only disks, foreign files, changed names."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import ObjectMissing, OutOfRange, StoreDenied, StoreFull, StoreUnfit, Unsupported
from storage.objects import directory
from storage.objects.directory import DirectoryStore

ROOT = Path(__file__).parents[3]
WRITER = """
    import os, resource, sys
    from pathlib import Path
    from schemas.errors import AquatintError
    from storage.objects.directory import DirectoryStore
"""


def run_writer(body: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    script = textwrap.dedent(WRITER) + textwrap.dedent(body)
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, **options)


def files_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("call", "nth", "visible"),
    [("write", 1, False), ("fsync", 1, False), ("link", 1, False), ("unlink", 2, True)],
)
def test_a_writer_killed_in_the_middle_leaves_no_half_object(
    tmp_path: Path, call: str, nth: int, visible: bool
) -> None:
    """SIGKILL at each step of a put: the object is absent or whole, and the next put settles it."""
    victim = run_writer(
        """
        call, left, real = sys.argv[2], int(sys.argv[3]), getattr(os, sys.argv[2])
        def halt(*arguments, **options):
            global left
            left -= 1
            if left:
                return real(*arguments, **options)
            if call == "write":
                real(arguments[0], bytes(arguments[1])[:100_000])
            sys.stdout.write("now\\n")
            sys.stdout.flush()
            sys.stdin.read()
        store = DirectoryStore.open(Path(sys.argv[1]), bucket="results")
        setattr(os, call, halt)
        store.put("images/k.png", b"x" * 500_000, metadata={"a": "b"})
        """,
        tmp_path,
        call,
        nth,
        stdin=subprocess.PIPE,
    )
    assert victim.stdout is not None and victim.stdout.readline() == "now\n"
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    store = DirectoryStore.open(tmp_path, bucket="results")

    found = store.head("images/k.png")
    assert (found is not None) == visible
    assert found is None or store.get("images/k.png") == b"x" * 500_000
    assert store.put("images/k.png", b"x" * 500_000).created == (found is None)
    assert store.get("images/k.png") == b"x" * 500_000


def test_writers_killed_at_random_leave_only_whole_objects(tmp_path: Path) -> None:
    """Several rounds of SIGKILL while a process puts without a pause: every object that is listed is complete."""
    for _ in range(4):
        victim = run_writer(
            """
            store = DirectoryStore.open(Path(sys.argv[1]), bucket="results")
            for number in range(100_000):
                store.put(f"k/{os.getpid()}-{number}", bytes([number % 251]) * 200_000)
                if number == 2:
                    print("going", flush=True)
            """,
            tmp_path,
        )
        assert victim.stdout is not None and victim.stdout.readline() == "going\n"
        os.kill(victim.pid, signal.SIGKILL)
        victim.communicate()
    store = DirectoryStore.open(tmp_path, bucket="results")
    entries = list(store.list())

    assert len(entries) >= 12
    for entry in entries:
        assert store.get(entry.key) == bytes([int(entry.key.rpartition("-")[2]) % 251]) * 200_000


def test_what_killed_writers_left_is_removed_by_age(tmp_path: Path) -> None:
    """Opening removes partial files that nobody has touched for an hour and leaves those of living writers."""
    DirectoryStore.open(tmp_path, bucket="results")
    old, young = tmp_path / ".partial" / "old", tmp_path / ".partial" / "young"
    old.write_bytes(b"half")
    young.write_bytes(b"half")
    ago = time.time() - directory.STRAY_AGE_SECONDS - 60
    os.utime(old, (ago, ago))
    store = DirectoryStore.open(tmp_path, bucket="results")

    assert not old.exists() and young.exists()
    assert list(store.list()) == []


def test_a_full_disk_is_store_full_and_leaves_nothing(tmp_path: Path) -> None:
    """The kernel refuses to let the file grow (RLIMIT_FSIZE): StoreFull, no object, no partial file."""
    writer = run_writer(
        """
        store = DirectoryStore.open(Path(sys.argv[1]), bucket="results")
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        try:
            store.put("k", b"x" * 500_000)
        except AquatintError as error:
            print(type(error).__name__, error)
        """,
        tmp_path,
    )
    said = writer.communicate()[0]

    assert said.startswith("StoreFull") and "results/k" in said
    assert files_below(tmp_path) == [".store.json"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["write", "fsync"])
def test_no_space_at_any_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int) -> None:
    """The disk or the quota is full when writing or when syncing: StoreFull, and the old object stays."""
    store = DirectoryStore.open(tmp_path, bucket="results")
    store.put("k", b"old")
    before = files_below(tmp_path)

    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        with pytest.raises(StoreFull) as full:
            store.put("k", b"new", if_absent=False)

    assert full.value.actor == "operator"
    assert store.get("k") == b"old" and files_below(tmp_path) == before


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A folder that other users can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="aquatint-store-") as place:
        Path(place).chmod(0o755)
        yield Path(place)


def test_a_folder_without_permission_is_store_denied(open_place: Path) -> None:
    """Someone who may read but not write gets StoreDenied for put and probe, and reads on."""
    store = DirectoryStore.open(open_place / "objects", bucket="results")
    store.put("a/k", b"data")
    for path in [open_place, *open_place.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    attempt = run_writer(
        """
        from storage.objects.file_names import EscapedNames
        if os.geteuid() == 0:
            os.setgroups([]), os.setgid(65534), os.setuid(65534)
        root = Path(sys.argv[1])
        store = DirectoryStore(root, bucket="results", names=EscapedNames(escape_capitals=False))
        for call in (lambda: store.put("a/new", b"x"), lambda: store.put("a/k", b"x", if_absent=False), store.probe,
                     lambda: DirectoryStore.open(root / "deeper", bucket="results")):
            try:
                call()
                print("accepted")
            except AquatintError as error:
                print(type(error).__name__)
        print(store.get("a/k"))
        """,
        open_place / "objects",
    )
    said = attempt.communicate()[0].split()
    for path in [open_place, *open_place.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)

    assert said == ["StoreDenied"] * 4 + ["b'data'"]
    assert [entry.key for entry in store.list()] == ["a/k"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A file in place of the folder, or a file system that takes none, is an operator's error with the path."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnfit, match="file"):
        DirectoryStore.open(tmp_path / "file" / "objects", bucket="results")
    if Path("/proc/self").exists():
        with pytest.raises((StoreDenied, StoreUnfit)) as refused:
            DirectoryStore.open(Path("/proc/aquatint"), bucket="results")
        assert "/proc/aquatint" in str(refused.value)


def test_an_object_in_the_way(tmp_path: Path) -> None:
    """ "a" and "a/b" cannot both be files: the later one is refused and the earlier one stays."""
    store = DirectoryStore.open(tmp_path, bucket="results")
    store.put("a", b"a")
    store.put("b/c", b"c")
    for key in ("a/b", "a/b/c", "b"):
        for if_absent in (True, False):
            with pytest.raises(Unsupported) as refused:
                store.put(key, b"x", if_absent=if_absent)
            assert refused.value.field == "key"

    assert [entry.key for entry in store.list()] == ["a", "b/c"]
    assert store.get("a") == b"a" and store.head("a/b") is None and store.head("b") is None


def test_symbolic_links_are_not_followed(tmp_path: Path) -> None:
    """A link that someone puts into the folder does not make us read outside it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    store = DirectoryStore.open_drop_folder(tmp_path / "uploads", bucket="uploads")
    (tmp_path / "uploads" / "link").symlink_to(tmp_path / "outside" / "secret")
    (tmp_path / "uploads" / "folder").symlink_to(tmp_path / "outside")
    os.mkfifo(tmp_path / "uploads" / "pipe")

    for key in ("link", "folder/secret", "pipe"):
        with pytest.raises(ObjectMissing):
            store.get(key)
        assert store.head(key) is None
    assert list(store.list()) == []


def test_a_drop_folder_takes_file_names_as_they_are(tmp_path: Path) -> None:
    """A file that a person drops in is an object under its own name; hidden ones are none."""
    store = DirectoryStore.open_drop_folder(tmp_path, bucket="uploads")
    (tmp_path / "Shop").mkdir()
    (tmp_path / "Shop" / "50% Mugs + more.CSV").write_bytes(b"sku\n")
    (tmp_path / "été.csv").write_bytes(b"x")
    (tmp_path / ".half.csv").write_bytes(b"x")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "file").write_bytes(b"x")
    (tmp_path / os.fsdecode(b"latin-\xe9.csv")).write_bytes(b"x")
    info = store.head("Shop/50% Mugs + more.CSV")

    assert [entry.key for entry in store.list()] == ["Shop/50% Mugs + more.CSV", "été.csv"]
    assert store.get("Shop/50% Mugs + more.CSV") == b"sku\n"
    assert info is not None and (info.media_type, info.sha256, info.size) == ("text/csv", None, 4)
    assert store.head(".half.csv") is None
    for key in (".half.csv", "a/.b", "x" * 256):
        with pytest.raises(OutOfRange):
            store.put(key, b"x")
    assert store.put("new/Mugs.csv", b"y").created and (tmp_path / "new" / "Mugs.csv").read_bytes() == b"y"


def test_foreign_files_in_a_store_are_no_objects(tmp_path: Path) -> None:
    """Files whose names we would not have written are neither listed nor read, so no key has two files."""
    store = DirectoryStore.open(tmp_path, bucket="results")
    for name in ("%41.png", "%zz", "100%", "é.png", "%2F", "a%~"):
        (tmp_path / name).write_bytes(b"x")

    assert list(store.list()) == []
    assert store.head("A.png") is None and store.head("é.png") is None


def test_capitals_on_a_file_system_that_ignores_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There capitals are escaped, the choice is kept in the store, and a careless move is refused."""
    with monkeypatch.context() as patch:
        patch.setattr(directory, "_takes_capitals_for_small", lambda folder: True)
        folded = DirectoryStore.open(tmp_path / "folded", bucket="results")
        folded.put("A.png", b"A")
        folded.put("a.png", b"a")
    reopened = DirectoryStore.open(tmp_path / "folded", bucket="results")
    names = {path.name.lower() for path in (tmp_path / "folded").iterdir() if not path.name.startswith(".")}

    assert (reopened.get("A.png"), reopened.get("a.png")) == (b"A", b"a")
    assert len(names) == 2
    DirectoryStore.open(tmp_path / "exact", bucket="results")
    monkeypatch.setattr(directory, "_takes_capitals_for_small", lambda folder: True)
    with pytest.raises(StoreUnfit, match="moved"):
        DirectoryStore.open(tmp_path / "exact", bucket="results")


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"format": 2, "escape_capitals": False})])
def test_a_store_of_an_unknown_version_is_refused(tmp_path: Path, text: str) -> None:
    """Names are never guessed: a marker that is not understood is StoreUnfit."""
    (tmp_path / ".store.json").write_text(text)

    with pytest.raises(StoreUnfit, match=r"store\.json"):
        DirectoryStore.open(tmp_path, bucket="results")


def test_a_file_system_without_hard_links_is_unfit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them creation cannot be atomic and exclusive, so the store says so instead of risking it."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    store = DirectoryStore.open(tmp_path, bucket="results")
    monkeypatch.setattr(os, "link", refuse)
    for call in (store.probe, lambda: store.put("k", b"x")):
        with pytest.raises(StoreUnfit, match="hard links"):
            call()


def test_a_lost_description_costs_only_the_description(tmp_path: Path) -> None:
    """When the file beside an object is gone or cut short, the object is read as before."""
    store = DirectoryStore.open(tmp_path, bucket="results")
    store.put("k.png", b"x", media_type="image/png", metadata={"a": "b"})
    (about,) = (tmp_path / ".about").rglob("*.json")
    about.write_bytes(b'{"media')
    info = store.head("k.png")

    assert store.get("k.png") == b"x"
    assert info is not None and (info.media_type, info.sha256, info.metadata) == ("image/png", None, {})
