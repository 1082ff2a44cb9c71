"""Runs every benchmark in a process of its own and keeps the results as JSON: `make bench`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
#: Module name to the arguments of a full run.
BENCHMARKS = {"control_plane": [], "starter": [], "safety": []}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the JSON files")
    parser.add_argument("names", nargs="*", help=f"which to run ({', '.join(BENCHMARKS)}); all when none is named")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - BENCHMARKS.keys():
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    failed = [name for name in arguments.names or BENCHMARKS if not run_one(name, arguments.out / f"{name}.json")]
    for name in failed:
        print(f"{name} did not finish", file=sys.stderr)
    return len(failed)


def run_one(name: str, path: Path) -> bool:
    """True when it finished; its figures are then in `path` and on the screen."""
    print(f"== {name}", flush=True)
    command = [sys.executable, "-m", f"benchmarks.{name}", "--out", str(path), *BENCHMARKS[name]]
    if subprocess.run(command, cwd=HERE.parent, check=False).returncode:
        return False
    print(json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=2))
    return True


if __name__ == "__main__":
    sys.exit(main())
