"""Ten thousand hostile uploads, each refused for a typed reason or turned into a clean picture: times, memory, counts.

    python -m benchmarks.hostile_uploads [--count 10000] [--seed 1] [--out results.json]

Every file goes the way of an upload: through a confined decoder process, then into a file of our own. Exits with 1 when
anything else than a BadImage or a whole clean picture comes out, or a limit on time or memory does not hold.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import resource
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.hostile_pictures import hostile_files
from benchmarks.machine import describe
from safety.decoding.pool import MEMORY_BYTES, SECONDS, DecoderPool
from safety.input_image import PictureReader
from schemas.errors import BadImage, DecoderBusy
from schemas.input_image import CleanPicture

_BUSY_RETRIES = 5


@dataclass
class Tally:
    """What became of the files."""

    outcomes: Counter[str] = field(default_factory=Counter)
    by_kind: dict[str, Counter[str]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    busy: int = 0
    processes: set[int] = field(default_factory=set)
    child_peak_bytes: int = 0

    def note(self, kind: str, outcome: str, seconds: float) -> None:
        self.outcomes[outcome] += 1
        self.by_kind.setdefault(kind, Counter())[outcome.partition(":")[0]] += 1
        self.seconds.append(seconds)


def run(count: int, seed: int) -> dict[str, Any]:
    """The figures of one run, one file at a time."""
    pool, tally = DecoderPool(at_once=1), Tally()
    reader, began, cpu = PictureReader(open=pool.open), time.perf_counter(), time.process_time()
    for number, (kind, data) in enumerate(hostile_files(seed, count)):
        start = time.perf_counter()
        try:
            outcome = _outcome(reader, data, tally)
        except Exception as error:
            outcome = f"FAULT: {type(error).__name__}"
            tally.faults.append(f"{kind} {seed}:{number}: {error!r}")
        tally.note(kind, outcome, time.perf_counter() - start)
        _watch(pool, tally)
        if number % 1000 == 999:
            print(f"{number + 1} files, {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    pool.close()
    return _figures(tally, time.perf_counter() - began, time.process_time() - cpu)


def _outcome(reader: PictureReader, data: bytes, tally: Tally) -> str:
    for _ in range(_BUSY_RETRIES):
        try:
            clean = reader.clean(data)
        except DecoderBusy:
            tally.busy += 1  # this machine had no time for it: nothing is learnt about the file
            continue
        except BadImage as error:
            return f"{error.code}: {re.sub(r'[0-9]+', '#', error.detail)}"
        require_clean(clean)
        return "decoded"
    raise TimeoutError("the machine is too busy for this measurement")


def require_clean(clean: CleanPicture) -> None:
    """AssertionError unless it is our own PNG: one frame, RGB or RGBA, of the size that was told, and only pixels in it."""
    with Image.open(io.BytesIO(clean.png), formats=["PNG"]) as picture:
        picture.load()
        facts = clean.facts
        assert picture.mode in ("RGB", "RGBA") and picture.size == (facts.width, facts.height)
    assert _chunks(clean.png) <= {b"IHDR", b"IDAT", b"IEND"}


def _chunks(png: bytes) -> set[bytes]:
    names, place = set(), 8
    while place < len(png):
        names.add(png[place + 4 : place + 8])
        place += 12 + int.from_bytes(png[place : place + 4], "big")
    return names


def _watch(pool: DecoderPool, tally: Tally) -> None:
    for process in pool._idle:
        tally.processes.add(process.pid)
        try:
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        except OSError:
            continue
        peak = re.search(r"VmHWM:\s+(\d+) kB", status)
        tally.child_peak_bytes = max(tally.child_peak_bytes, int(peak[1]) * 1024 if peak else 0)


def _figures(tally: Tally, wall: float, cpu: float) -> dict[str, Any]:
    ordered = sorted(tally.seconds)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "machine": describe(),
        "files": len(ordered),
        "wall_seconds": round(wall, 1),
        "cpu_seconds": {"ours": round(cpu, 1), "decoders": round(children.ru_utime + children.ru_stime, 1)},
        "milliseconds": {
            name: round(1000 * ordered[min(len(ordered) - 1, int(len(ordered) * share))], 2)
            for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
        },
        "limits": {"seconds": SECONDS, "memory_bytes": MEMORY_BYTES},
        "peak_mebibytes": {
            "decoder": round(max(children.ru_maxrss * 1024, tally.child_peak_bytes) / 2**20),
            "ours": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        },
        "decoder_processes": len(tally.processes),
        "machine_too_busy": tally.busy,
        "outcomes": dict(tally.outcomes.most_common()),
        "by_kind": {kind: dict(found.most_common()) for kind, found in sorted(tally.by_kind.items())},
        "faults": tally.faults,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    figures = run(options.count, options.seed)
    text = json.dumps(figures, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    return 1 if figures["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
