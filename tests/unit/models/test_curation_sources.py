"""Where pictures and captions come from: folders with traps, listings, archives."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from curation_sources import encoded, scene

from models.curation.archives import members
from models.curation.caption_tables import caption_in_json, read_rows
from models.curation.index import Index, Item
from models.curation.listing import list_source
from models.curation.places import FolderPlace, MemoryPlace
from models.curation.pool import Pool
from models.curation.reasons import Reason, Refused
from models.curation.run import Run, Tools
from models.curation.settings import CurationSettings
from models.curation.source import Source
from models.errors import CurationUnusable

PNG = encoded(scene(1))
Listed = Callable[[Source], dict[str, Item]]


@pytest.fixture
def listed(tmp_path: Path) -> Listed:
    """Lists a source and gives its items by name."""

    def list_it(source: Source) -> dict[str, Item]:
        with Index(tmp_path / "index.sqlite") as index, Pool(1) as pool:
            list_source(
                Run(
                    source=source,
                    dest=tmp_path,
                    settings=CurationSettings(),
                    tools=Tools(),
                    index=index,
                    pool=pool,
                )
            )
            return {item.name: item for item in index.items("1")}

    return list_it


def tar_of(*files: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def test_a_folder_with_every_trap(tmp_path: Path, listed: Listed) -> None:
    """Links out of the source, rings, folders named like pictures and pipes: each has its reason, and the walk ends."""
    root, outside = tmp_path / "source", tmp_path / "outside.png"
    (root / "deep" / "x.png").mkdir(parents=True)
    outside.write_bytes(PNG)
    (root / "a.png").write_bytes(PNG)
    (root / "deep" / "x.png" / "inside.png").write_bytes(PNG)
    (root / "out.png").symlink_to(outside)
    (root / "in.png").symlink_to(root / "a.png")
    (root / "loop").symlink_to(root)
    (root / "ring.png").symlink_to(root / "ring.png")
    (root / "dangling.png").symlink_to(root / "nowhere.png")
    os.mkfifo(root / "pipe.png")
    Path(os.fsdecode(os.fsencode(root) + b"/bad-\xff.png")).write_bytes(PNG)

    found = listed(Source.open(root))

    assert {
        "a.png": None,
        "deep/x.png/inside.png": None,
        "in.png": None,
        "out.png": Reason.OUTSIDE_SOURCE,
        "loop": Reason.LINK_TO_FOLDER,
        "ring.png": Reason.UNREADABLE,
        "dangling.png": Reason.UNREADABLE,
        "pipe.png": Reason.NOT_A_FILE,
        "bad-\\xff.png": Reason.BAD_NAME,
    } == {name: item.reason for name, item in found.items()}


def test_reading_never_leaves_the_folder(tmp_path: Path) -> None:
    """Whatever name is asked for, nothing outside the folder is read, and a pipe does not make us wait."""
    root = tmp_path / "source"
    root.mkdir()
    (tmp_path / "secret.png").write_bytes(PNG)
    os.mkfifo(root / "pipe")
    (root / "folder").mkdir()
    place = FolderPlace(root)
    reasons = {}
    for name in ("../secret.png", str(tmp_path / "secret.png"), "pipe", "folder", "missing.png", "a\0b"):
        with pytest.raises(Refused) as refused:
            place.read(name, 0, 100)
        reasons[name] = refused.value.reason

    assert [Reason.OUTSIDE_SOURCE] * 2 == [reasons["../secret.png"], reasons[str(tmp_path / "secret.png")]]
    assert Reason.NOT_A_FILE == reasons["pipe"]
    assert reasons["folder"] in (Reason.NOT_A_FILE, Reason.UNREADABLE)
    assert Reason.MISSING_FILE == reasons["missing.png"]
    assert Reason.UNREADABLE == reasons["a\0b"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read(tmp_path: Path, listed: Listed) -> None:
    """A folder without permission is an input with a reason."""
    root = tmp_path / "source"
    (root / "closed").mkdir(parents=True)
    (root / "closed").chmod(0)
    try:
        assert Reason.UNREADABLE == listed(Source.open(root))["closed"].reason
    finally:
        (root / "closed").chmod(0o755)


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permission denied is a reason, not a crash."""
    (tmp_path / "a.png").write_bytes(PNG)

    def refuse(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(Refused) as refused:
        FolderPlace(tmp_path).read("a.png", 0, 10)

    assert Reason.UNREADABLE == refused.value.reason


def test_captions_beside_pictures(listed: Listed) -> None:
    """Text before JSON, the name with or without the picture's suffix; a caption alone is accounted for."""
    files = {
        "a.png": PNG,
        "a.txt": b"x",
        "a.json": b"{}",
        "b.jpg": PNG,
        "b.jpg.json": b"{}",
        "alone.txt": b"x",
        "c.png": PNG,
    }
    found = listed(Source(place=MemoryPlace(files)))

    assert {"a.png": "a.txt", "b.jpg": "b.jpg.json", "c.png": "", "alone.txt": ""} == {
        n: i.caption_name for n, i in found.items()
    }
    assert Reason.CAPTION_WITHOUT_PICTURE == found["alone.txt"].reason


def test_caption_tables_in_a_folder(listed: Listed) -> None:
    """Tables speak of the pictures of their own folder; the last row about one counts."""
    files = {
        "one/p.png": PNG,
        "two/p.png": PNG,
        "one/captions.csv": b'\xef\xbb\xbfFile_Name,Text\np.png,"red, round mug"\nmissing.png,x\n',
        "two/metadata.jsonl": b'{"image": "p.png", "caption": "old"}\n\n{"image": "./p.png", "caption": "new"}\n',
    }
    found = listed(Source(place=MemoryPlace(files)))

    assert {"one/p.png": "red, round mug", "two/p.png": "new"} == {
        name: item.caption_original for name, item in found.items()
    }


def test_a_listing_is_the_whole_source(tmp_path: Path, listed: Listed) -> None:
    """Only what the listing names is seen; twice the same is said, a path out of the folder is never read."""
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.png").write_bytes(PNG)
    (tmp_path / "set" / "unlisted.png").write_bytes(PNG)
    listing = tmp_path / "set" / "list.csv"
    listing.write_text(
        f"path,caption\na.png,first\n{tmp_path}/set/a.png,second\n../../etc/passwd,x\n/etc/passwd,y\n"
    )
    source = Source.open(listing)
    found = listed(source)

    assert {"a.png", "../../etc/passwd", "/etc/passwd"} == set(found)
    assert 4 == sum(1 for _ in source.rows(next(e for e in source.entries() if e.name == "list.csv")))
    for name in ("../../etc/passwd", "/etc/passwd"):
        with pytest.raises(Refused) as refused:
            source.place.read(name, 0, 10)
        assert Reason.OUTSIDE_SOURCE == refused.value.reason


def test_archives_are_looked_into(listed: Listed) -> None:
    """Members are pictures with captions, also under one name twice; nothing is unpacked."""
    tar = tar_of(("k1.png", PNG), ("k1.txt", b"mug"), ("../../evil.png", PNG), ("k1.png", PNG))
    source = Source(place=MemoryPlace({"s.tar": tar}))
    found = listed(source)

    assert {"s.tar/k1.png", "s.tar/../../evil.png", "s.tar/k1.png#2"} == set(found)
    item = found["s.tar/k1.png"]
    assert "s.tar/k1.txt" == item.caption_name
    assert PNG == source.place.read(item.piece.file, item.piece.start, item.piece.length)


def test_broken_archives() -> None:
    """What can be listed is listed; the rest is one refusal, however the archive is broken."""
    tar = tar_of(*((f"k{n}.png", PNG) for n in range(5)))
    cut = list(members(MemoryPlace({"s": tar[: len(PNG) + 2000]}), "s", len(PNG) + 2000))
    junk = list(members(MemoryPlace({"s": b"\x1f\x8b" + bytes(3000)}), "s", 3002))
    lying = bytearray(tar)
    lying[124:136] = b"77777777777\0"  # a size of eight gigabytes in the first header
    lied = list(members(MemoryPlace({"s": bytes(lying)}), "s", len(tar)))

    assert None is cut[0].refusal
    assert cut[-1].refusal in (Reason.BROKEN_ARCHIVE, Reason.CORRUPT)
    assert [Reason.BROKEN_ARCHIVE] == [m.refusal for m in junk]
    assert all(m.refusal is not None for m in lied)


def test_links_in_archives_are_no_files() -> None:
    """A link inside an archive is refused, wherever it points."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("passwd.png")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    found = list(members(MemoryPlace({"s": buffer.getvalue()}), "s", len(buffer.getvalue())))

    assert [("passwd.png", Reason.NOT_A_FILE)] == [(m.name, m.refusal) for m in found]


def test_tables_that_cannot_be_read() -> None:
    """A table without a column for pictures, or with a broken row, is named with its row."""
    with pytest.raises(CurationUnusable, match="no column names the pictures"):
        list(read_rows(io.BytesIO(b"caption\nx\n"), "captions.csv"))
    with pytest.raises(CurationUnusable, match="row 2: not valid JSON"):
        list(read_rows(io.BytesIO(b'{"image": "a"}\n{oops\n'), "captions.jsonl"))
    with pytest.raises(CurationUnusable, match="row 1: longer than"):
        list(read_rows(io.BytesIO(b"x" * 200_000), "captions.jsonl"))


def test_captions_in_json() -> None:
    """The known fields of an object, or a bare string; anything else is no caption, however deep."""
    assert "mug" == caption_in_json('{"caption": "mug", "width": 3}')
    assert "mug" == caption_in_json('"mug"')
    assert "" == caption_in_json('{"caption": 3}')
    assert "" == caption_in_json("[1]")
    assert "" == caption_in_json("{")
    assert "" == caption_in_json("[" * 100_000)


def test_a_source_that_is_none(tmp_path: Path, listed: Listed) -> None:
    """Nothing there, or nothing in it, is said at once."""
    with pytest.raises(CurationUnusable, match="no such folder"):
        Source.open(tmp_path / "missing")
    (tmp_path / "picture.png").write_bytes(PNG)
    with pytest.raises(CurationUnusable, match=r"a folder, a \.csv"):
        Source.open(tmp_path / "picture.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CurationUnusable, match="nothing in it"):
        listed(Source.open(tmp_path / "empty"))
