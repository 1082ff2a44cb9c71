"""Curation: pictures per second with every step on, and how long a million hashes take to compare.

    python -m benchmarks.curation [--pictures 400] [--hashes 1000000] [--out FILE]

The pictures are rendered here (512 px JPEG, one in ten a copy, with captions) or, without the renderer, drawn at random. The
hashes are random words with planted neighbours at every distance up to the radius; the run fails unless each is found.
Memory is that of the process itself (anonymous) and, apart, that of its files in the page cache, which the kernel takes
back when it needs it.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.machine import describe
from models.curation.curate import curate
from models.curation.near_search import Words, near_pairs
from models.curation.settings import CurationSettings

SIDE = 512
PLANTED = 10_000
SETTINGS = {"buckets": {"area_side": 256}, "captions": {"empty": "keep"}}


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--hashes", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    found: dict[str, Any] = {"benchmark": "curation", "machine": describe()}
    with tempfile.TemporaryDirectory(prefix="curation-") as folder:
        if args.hashes:
            found["pdq"] = search(args.hashes, 4, 31, Path(folder))
            found["phash"] = search(args.hashes, 1, 10, Path(folder))
        if args.pictures:
            found |= pictures_per_second(args.pictures, Path(folder))
    text = json.dumps(found, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


def search(count: int, width: int, radius: int, folder: Path) -> dict[str, Any]:
    """Times the search among `count` hashes of `width` words; raises when a planted pair is missed."""
    words, planted = planted_words(count, width, radius, folder)
    left = planted.copy()
    pairs, wall, cpu = 0, time.perf_counter(), time.process_time()
    with Memory() as memory:
        for part in near_pairs(words, radius, folder):
            pairs += len(part.first)
            left = left[~np.isin(left[:, 1], part.second)]
    if len(left):
        raise AssertionError(f"{len(left)} of {len(planted)} planted pairs were missed")
    return {
        "hashes": count,
        "bits": 64 * width,
        "radius": radius,
        "planted_pairs_found": len(planted),
        "pairs": pairs,
        "seconds": round(time.perf_counter() - wall, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "peak_own_mib": memory.own,
        "peak_mapped_mib": memory.mapped,
    }


def planted_words(count: int, width: int, radius: int, folder: Path) -> tuple[Words, npt.NDArray[np.int64]]:
    """Random hashes in a file, and the rows (first, second) of pairs made to lie 0 to `radius` bits apart."""
    rng = np.random.default_rng(1)
    words = np.memmap(folder / f"words-{width}", np.uint64, mode="w+", shape=(count, width))
    for start in range(0, count, 1 << 16):
        part = words[start : start + (1 << 16)]
        part[:] = rng.integers(0, 2**64, part.shape, np.uint64)
    rows = rng.choice(count, 2 * min(PLANTED, count // 4), replace=False).reshape(-1, 2)
    rows.sort(axis=1)
    for number, (first, second) in enumerate(rows):
        words[second] = words[first]
        for bit in rng.choice(64 * width, number % (radius + 1), replace=False):
            words[second, bit // 64] ^= np.uint64(1 << int(bit % 64))
    return words, rows


class Memory:
    """Peak memory of this process while it is open, in MiB: its own, and mapped files."""

    own = mapped = 0.0

    def __enter__(self) -> Memory:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            lines = Path("/proc/self/status").read_text().splitlines()
            sizes = {
                line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith("Rss")
            }
            self.own = round(max(self.own, sizes["RssAnon"]), 1)
            self.mapped = round(max(self.mapped, sizes["RssFile"] + sizes["RssShmem"]), 1)


def pictures_per_second(count: int, folder: Path) -> dict[str, Any]:
    """A whole curation of `count` pictures, with one process and with one per core, with and without text."""
    source = folder / "source"
    kind = write_pictures(source, count)
    runs = {}
    for workers, reader in itertools.product(sorted({1, os.cpu_count() or 1}), ("auto", "none")):
        dest = folder / f"out-{workers}-{reader}"
        cpu, wall = os.times(), time.perf_counter()
        options = SETTINGS | {"workers": workers, "text": {"reader": reader}}
        report = curate(source, dest, CurationSettings.model_validate(options))
        spent = os.times()
        runs[f"{workers} workers, text {'found' if reader == 'auto' else 'not looked for'}"] = {
            "images_per_second": round(report.seen / (time.perf_counter() - wall), 1),
            "cpu_ms_per_image": round(1000 * (sum(spent[:4]) - sum(cpu[:4])) / report.seen, 1),
            "seconds_by_step": dict(report.seconds),
            "kept": report.kept,
            "dropped": dict(report.dropped),
            "did_not_run": dict(report.notes),
        }
    return {"pictures": count, "picture_kind": kind, "runs": runs}


def write_pictures(folder: Path, count: int) -> str:
    """Pictures with captions beside them; what they are is returned."""
    folder.mkdir()
    try:
        from models.catalogue.captions import caption
        from models.catalogue.world import sample_scene
        from models.training.renderer import render
    except ImportError:
        for number in range(count):
            picture = Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8))
            _write(folder, number, picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC), "")
        return "random"
    for number in range(count):
        scene = sample_scene(Random(number - number % 10 if number % 10 == 1 else number))
        seed = number - 1 if number % 10 == 1 else number
        picture = Image.fromarray(render(scene, seed, SIDE, SIDE))
        _write(folder, number, picture, caption(scene, Random(number)))
    return "renders"


def _write(folder: Path, number: int, picture: Image.Image, said: str) -> None:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80 if number % 10 == 1 else 92)
    (folder / f"p{number:06d}.jpg").write_bytes(buffer.getvalue())
    if said:
        (folder / f"p{number:06d}.txt").write_text(said)


if __name__ == "__main__":
    sys.exit(main())
