"""A whole curation: everything accounted for, the same bytes every time, and a kill costs nothing but time."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from curation_sources import encoded, flipped, made_up, scene, write_source
from PIL import Image

from models.curation import curate as curation
from models.curation.caption_endpoint import CaptionEndpoint, Outcome, Rewrite
from models.curation.curate import curate
from models.curation.reasons import SENTENCES, Reason
from models.curation.report import CurationReport
from models.curation.run import CurationProgress, Tools
from models.curation.samples import export_files, read_samples
from models.curation.settings import CurationSettings, RewriteSettings, check_settings, read_settings
from models.curation.source import Source
from models.errors import CurationCancelled, CurationUnusable

#: what needs no extra: no near copies, no text, no scores
PLAIN = {
    "buckets": {"sizes": [[64, 64], [96, 64]], "max_crop": 0.2},
    "duplicates": {"near": False},
    "text": {"reader": "none"},
    "outliers": {"encoder": "none"},
    "shards": {"samples": 4, "format": "png"},
}


def settings(**sections: object) -> CurationSettings:
    return CurationSettings.model_validate(PLAIN | sections)


def files_of(dest: Path) -> dict[str, str]:
    """Digests of everything but what holds times."""
    names = [
        path
        for path in dest.iterdir()
        if path.is_file() and path.name not in ("report.json", "report.html", ".lock")
    ]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in names}


def hostile_source(folder: Path) -> Path:
    write_source(folder, 10)
    for name, data, _ in made_up():
        (folder / name).write_bytes(data)
    for name, data in flipped(5):
        (folder / name).write_bytes(data)
    (folder / "copy.bmp").write_bytes(encoded(scene(3), "BMP"))
    (folder / "flat.png").write_bytes(encoded(Image.new("RGB", (96, 96), (9, 9, 9))))
    (folder / "alone.txt").write_text("no picture")
    return folder


def test_every_input_is_accounted_for(tmp_path: Path) -> None:
    """Seen is kept plus dropped by reason, each input stands once in the decisions, and nothing crashed on the way."""
    source, dest = hostile_source(tmp_path / "source"), tmp_path / "out"
    report = curate(source, dest, settings(captions={"empty": "keep"}))
    lines = [json.loads(line) for line in (dest / "decisions.jsonl").read_text(encoding="utf-8").splitlines()]
    captions = sum(path.suffix == ".txt" and path.with_suffix(".png").exists() for path in source.iterdir())

    assert sum(1 for _ in source.iterdir()) - captions == report.seen == len(lines)
    assert report.seen == report.kept + sum(report.dropped.values())
    assert (
        report.kept == sum(line["decision"] == "kept" for line in lines) == sum(1 for _ in read_samples(dest))
    )
    assert len({line["name"] for line in lines}) == report.seen
    assert all(line.get("reason") for line in lines if line["decision"] == "dropped")
    assert {"duplicate", "blank", "animated", "mislabelled", "corrupt", "caption_without_picture"} < set(
        report.dropped
    )
    assert ["copy.bmp"] == [line["duplicate_of"] for line in lines if line["name"] == "p003.png"]


def test_samples_are_what_they_say(tmp_path: Path) -> None:
    """Each sample has the bucket's size, its own digest, its caption and where it came from; keys need no escaping."""
    dest = tmp_path / "out"
    curate(write_source(tmp_path / "source", 6, width=100, height=70), dest, settings())
    samples = list(read_samples(dest))

    assert 6 == len(samples)
    for sample in samples:
        picture = Image.open(io.BytesIO(sample.picture))
        assert (96, 64) == picture.size == (sample.facts["width"], sample.facts["height"])
        assert [96, 64] == sample.facts["bucket"]
        assert hashlib.sha256(sample.picture).hexdigest() == sample.facts["digest"]
        assert sample.key == sample.facts["source_digest"][:24]
        number = int(sample.facts["source"][1:4])
        assert f"picture number {number} of a shop" == sample.caption == sample.facts["caption_original"]
        assert "txt file" == sample.facts["caption_source"]
    with tarfile.open(dest / "shard-000000.tar") as shard:
        assert 4 == sum(name.endswith(".png") for name in shard.getnames())


def test_webdataset_reads_the_shards(tmp_path: Path) -> None:
    """The library that named the format finds the same samples."""
    webdataset = pytest.importorskip("webdataset")
    dest = tmp_path / "out"
    curate(write_source(tmp_path / "source", 5), dest, settings())
    shards = [str(path) for path in sorted(dest.glob("*.tar"))]
    found = list(webdataset.WebDataset(shards, shardshuffle=False, empty_check=False))

    assert [sample.key for sample in read_samples(dest)] == [sample["__key__"] for sample in found]
    assert all({"png", "txt", "json"} <= set(sample) for sample in found)


def test_the_same_bytes_every_time(tmp_path: Path) -> None:
    """Equal input and settings give equal files, in whatever order a folder lists them and with however many workers."""
    source = write_source(tmp_path / "source", 9)
    first = curate(source, tmp_path / "one", settings())
    curate(source, tmp_path / "two", settings(workers=2))

    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    assert first == curate(source, tmp_path / "one", settings())


class _Killed(BaseException):
    """Stands in for a signal: nothing catches it."""


@pytest.mark.parametrize(
    ("step", "at"),
    [
        ("list", 0),
        ("inspect", 0),
        ("inspect", 5),
        ("duplicates", 0),
        ("write", 0),
        ("write", 4),
        ("write", 8),
    ],
)
def test_going_on_after_a_kill(tmp_path: Path, step: str, at: int) -> None:
    """Killed anywhere, the same call ends with the same files, and shards that were finished are not written again."""
    source = write_source(tmp_path / "source", 11)
    curate(source, tmp_path / "whole", settings())

    def kill(progress: CurationProgress) -> None:
        if (progress.step, progress.done) == (step, at) or (progress.step == step and progress.done > at):
            raise _Killed

    with pytest.raises(_Killed):
        curate(source, tmp_path / "cut", settings(), on_progress=kill)
    finished = {path.name: path.stat().st_ino for path in (tmp_path / "cut").glob("shard-*.tar")}
    curate(source, tmp_path / "cut", settings())

    assert files_of(tmp_path / "whole") == files_of(tmp_path / "cut")
    assert (
        finished.items()
        <= {path.name: path.stat().st_ino for path in (tmp_path / "cut").glob("shard-*.tar")}.items()
    )
    if step == "write":
        assert at // 4 == len(finished)


PROGRAM = """
import os, signal, sys
from pathlib import Path
from models.curation.curate import curate
from models.curation.settings import CurationSettings
def kill(progress):
    if progress.step == "write" and progress.done >= 4:
        os.kill(os.getpid(), signal.SIGKILL)
curate(Path(sys.argv[1]), Path(sys.argv[2]), CurationSettings.model_validate_json(sys.argv[3]), on_progress=kill)
"""


def test_sigkill(tmp_path: Path) -> None:
    """A real SIGKILL in the middle of writing leaves nothing that the next call trips over."""
    source, dest = write_source(tmp_path / "source", 11), tmp_path / "cut"
    killed = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(source), str(dest), settings().model_dump_json()], check=False
    )
    assert -9 == killed.returncode
    curate(source, tmp_path / "whole", settings())
    curate(source, dest, settings())

    assert files_of(tmp_path / "whole") == files_of(dest)


def test_stopping(tmp_path: Path) -> None:
    """Cancelled between two inputs, it says so, and goes on later."""
    source, calls = write_source(tmp_path / "source", 5), iter(range(100))
    with pytest.raises(CurationCancelled):
        curate(source, tmp_path / "out", settings(), cancelled=lambda: next(calls) >= 3)

    assert 5 == curate(source, tmp_path / "out", settings()).kept


def test_a_source_that_changes_meanwhile(tmp_path: Path) -> None:
    """A file that vanished or changed between reading and writing is left out with that reason, and still accounted for."""
    source = write_source(tmp_path / "source", 6)

    def meddle(progress: CurationProgress) -> None:
        if progress.step == "duplicates":
            (source / "p001.png").unlink(missing_ok=True)
            (source / "p002.png").write_bytes(encoded(scene(99)))

    report = curate(source, tmp_path / "out", settings(), on_progress=meddle)

    assert {"source_changed": 2} == report.dropped
    assert (6, 4, 4) == (report.seen, report.kept, sum(1 for _ in read_samples(tmp_path / "out")))


def test_destinations_that_will_not_do(tmp_path: Path) -> None:
    """Inside the source, not empty, not a folder, made with other settings: said before anything is done."""
    source = write_source(tmp_path / "source", 3)
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.doc").write_text("x")
    with pytest.raises(CurationUnusable, match="inside the source"):
        curate(source, source / "out", settings())
    with pytest.raises(CurationUnusable, match="not a folder"):
        curate(source, tmp_path / "file", settings())
    with pytest.raises(CurationUnusable, match="not empty"):
        curate(source, tmp_path / "full", settings())
    curate(source, tmp_path / "out", settings())
    with pytest.raises(CurationUnusable, match="other settings"):
        curate(source, tmp_path / "out", settings(shards={"samples": 5}))


def test_two_at_once(tmp_path: Path) -> None:
    """A second curation into the same folder is refused while the first one runs."""
    source, refused = write_source(tmp_path / "source", 3), []

    def second(progress: CurationProgress) -> None:
        if progress.step == "inspect" and not refused:
            with pytest.raises(CurationUnusable, match="another curation"):
                curate(source, tmp_path / "out", settings())
            refused.append(True)

    curate(source, tmp_path / "out", settings(), on_progress=second)

    assert refused


def test_pictures_without_captions(tmp_path: Path) -> None:
    """A source without captions is kept and the report says so; one missing among others is left out."""
    pictures = {f"p{n}.png": (encoded(scene(n)), "") for n in range(3)}
    bare = curate(Source.of_bytes(pictures), tmp_path / "bare", settings())
    some = curate(
        Source.of_bytes(pictures | {"q.png": (encoded(scene(9)), "a mug")}), tmp_path / "some", settings()
    )

    assert (3, {}) == (bare.kept, bare.dropped)
    assert "No picture of this source has a caption" in bare.notes["captions"]
    assert (1, {"no_caption": 3}) == (some.kept, some.dropped)


def test_padding_is_masked(tmp_path: Path) -> None:
    """What was added to fill a bucket is marked, so that training can look past it."""
    pictures = {"tall.png": (encoded(scene(1, 60, 120)), "a")}
    report = curate(
        Source.of_bytes(pictures), tmp_path / "out", settings(buckets={"sizes": [[64, 64]], "fit": "pad"})
    )
    sample = next(read_samples(tmp_path / "out"))
    pixels = np.asarray(Image.open(io.BytesIO(sample.picture)))

    assert 1 == report.padded
    assert [[0, 0, 16, 64], [48, 0, 64, 64]] == sample.facts["masked"]
    assert (pixels[0:64, 0:16] == pixels[0, 0]).all()


def test_small_pictures_are_not_blown_up(tmp_path: Path) -> None:
    """Beyond the limit of enlargement a picture is left out; within it the report counts it."""
    pictures = {"small.png": (encoded(scene(1, 50, 50)), "a"), "fair.png": (encoded(scene(2, 64, 64)), "b")}
    strict = curate(Source.of_bytes(pictures), tmp_path / "strict", settings())
    loose = curate(
        Source.of_bytes(pictures),
        tmp_path / "loose",
        settings(buckets={"sizes": [[64, 64]], "max_upscale": 1.5}),
    )

    assert {"too_small": 1} == strict.dropped
    assert (2, 1) == (loose.kept, loose.enlarged)


class _Endpoint(CaptionEndpoint):
    """Fails for odd pictures; counts how often it is asked."""

    asked = 0

    def rewrite(self, caption: str, pixels: np.ndarray | None) -> Rewrite:
        type(self).asked += 1
        assert pixels is not None
        if int(caption.split()[2]) % 2:
            return Rewrite(outcome=Outcome.FAILED)
        return Rewrite(outcome=Outcome.REWRITTEN, caption=f"better {caption}")


def test_rewritten_captions(tmp_path: Path) -> None:
    """A rewritten caption keeps its original beside it, a failure keeps the cleaned one, and both are counted."""
    asks = RewriteSettings(url="http://127.0.0.1:1", model="m", concurrency=2)
    source = write_source(tmp_path / "source", 6)

    def kill(progress: CurationProgress) -> None:
        if progress.step == "rewrite" and progress.done == 4:
            raise _Killed

    for stop in (kill, None):
        with _Endpoint(asks) as endpoint:
            if stop is not None:
                with pytest.raises(_Killed):
                    curate(
                        source,
                        tmp_path / "out",
                        settings(rewrite=asks),
                        tools=Tools(endpoint=endpoint),
                        on_progress=stop,
                    )
            else:
                report = curate(
                    source, tmp_path / "out", settings(rewrite=asks), tools=Tools(endpoint=endpoint)
                )
    captions = {
        sample.facts["source"]: (sample.caption, sample.facts["caption_original"])
        for sample in read_samples(tmp_path / "out")
    }

    assert {"failed": 3, "rewritten": 3} == report.rewrites
    assert ("better picture number 2 of a shop", "picture number 2 of a shop") == captions["p002.png"]
    assert ("picture number 3 of a shop",) * 2 == captions["p003.png"]
    assert _Endpoint.asked <= 10  # six pictures, and at most those under way when it was killed again


def test_plain_files_for_small_sets(tmp_path: Path) -> None:
    """A few samples can be had as ordinary picture files with their captions."""
    curate(write_source(tmp_path / "source", 3), tmp_path / "out", settings())
    pairs = export_files(tmp_path / "out", tmp_path / "files")

    assert 3 == len(pairs)
    assert all(
        Image.open(path).size == (64, 64) and said.startswith("picture number") for path, said in pairs
    )


def test_settings_from_a_file(tmp_path: Path) -> None:
    """Options come from TOML; a misspelt one is named, and workers change nothing about the result's name."""
    path = tmp_path / "c.toml"
    path.write_text('workers = 3\n[buckets]\nsizes = [[128, 128]]\n[captions]\nempty = "keep"\n')
    loaded = check_settings(read_settings(path))

    assert ((128, 128),) == loaded.buckets.sizes
    assert loaded.digest == loaded.model_copy(update={"workers": 1}).digest
    with pytest.raises(CurationUnusable, match=r"buckets\.size: "):
        check_settings({"buckets": {"size": 3}})
    with pytest.raises(CurationUnusable, match=r"rewrite\.model"):
        check_settings({"rewrite": {"url": "http://x"}})
    path.write_text("[")
    with pytest.raises(CurationUnusable):
        read_settings(path)


class _Page(HTMLParser):
    """Collects what a reader without eyes, and a browser without a network, would meet."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_page(tmp_path: Path) -> None:
    """One file without scripts or addresses, every picture described, every colour readable, every name harmless."""
    source = hostile_source(tmp_path / "source")
    (source / "<script>alert(1)<.png").write_bytes(encoded(scene(40)))
    (source / "<script>alert(1)<.txt").write_text("<script>alert(2)</script> a mug with onclick=\"x\" 'y'")
    curate(source, tmp_path / "out", settings())
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    page = _Page()
    page.feed(text)
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    colours = dict(re.findall(r"--(\w+): (#\w{6})", text))

    assert not {"script", "link", "iframe", "object", "embed"} & {tag for tag, _ in page.tags}
    assert pictures
    assert all(p["alt"] and p["src"].startswith("data:image/jpeg;base64,") for p in pictures)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert all(a["href"].startswith("#") for tag, a in page.tags if tag == "a")
    assert all(a.get("aria-label") for tag, a in page.tags if tag == "svg")
    assert ("html", {"lang": "en"}) in page.tags
    for ink in ("ink", "soft", "good", "bad"):
        assert contrast(colours[ink], colours["paper"]) >= 4.5
        assert contrast(colours[ink], colours["ground"]) >= 4.5
    assert contrast(colours["bar"], colours["paper"]) >= 3


def test_every_reason_has_a_sentence() -> None:
    """No reason is left unexplained, and each sentence is one."""
    assert set(Reason) == set(SENTENCES)
    assert all(sentence.endswith(".") and sentence.count(".") == 1 for sentence in SENTENCES.values())


def test_progress_counts_up(tmp_path: Path) -> None:
    """Each step counts from where it is to its total, in the order of the steps."""
    seen: list[CurationProgress] = []
    curate(write_source(tmp_path / "source", 6), tmp_path / "out", settings(), on_progress=seen.append)
    steps = list(dict.fromkeys(progress.step for progress in seen))

    assert ["list", "inspect", "duplicates", "write"] == steps
    for step in ("inspect", "write"):
        done = [progress.done for progress in seen if progress.step == step]
        assert done == sorted(done)
        assert 6 == done[-1] == next(p.total for p in reversed(seen) if p.step == step)


def test_a_report_that_cannot_be_read(tmp_path: Path) -> None:
    """A damaged report is said, not overwritten."""
    source = write_source(tmp_path / "source", 3)
    report = curate(source, tmp_path / "out", settings())
    assert isinstance(report, CurationReport)
    (tmp_path / "out" / curation.REPORT_FILE).write_text("{")
    with pytest.raises(CurationUnusable, match="cannot be read"):
        curate(source, tmp_path / "out", settings())
