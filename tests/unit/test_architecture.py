"""The rooms keep to themselves: import direction, nothing at import, and a map that leads to real files."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("schemas", "storage", "models", "safety", "workers", "handlers", "deploy")

#: What each room may import of ours; DESIGN's two chains plus its named exceptions.
ALLOWED = {
    "schemas": set(),
    "storage": {"schemas"},
    "models": {"schemas"},
    "safety": {"schemas", "models"},
    "workers": {"schemas", "models", "safety", "storage"},
    "handlers": {"schemas", "storage", "safety"},
    "deploy": set(ROOMS),
}
#: Finer than rooms: workers know no database; handlers use prompt screening and words about images, never pixels.
FORBIDDEN = {
    "workers": ("storage.ledger", "sqlalchemy", "alembic"),
    "handlers": (
        "safety.image_screen",
        "safety.output_screen",
        "safety.output_sanity",
        "onnxruntime",
        "torch",
        "numpy",
    ),
    "storage": ("torch", "fastapi"),
    "schemas": ("sqlalchemy", "kombu", "boto3", "fastapi", "torch"),
}
HEAVY = ("torch", "diffusers", "transformers", "tensorrt", "modal", "skia")


def modules() -> list[Path]:
    return sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def imported_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def starts_with(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_one_way(room: str) -> None:
    """A room imports only the rooms before it in its chain, and none of the libraries it must not know."""
    wrong = []
    for path in (ROOT / room).rglob("*.py"):
        for name in imported_names(path):
            top = name.split(".")[0]
            if top in ROOMS and top != room and top not in ALLOWED[room]:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
            if any(starts_with(name, banned) for banned in FORBIDDEN.get(room, ())):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")

    assert [] == wrong


def test_package_files_are_empty() -> None:
    """No `__init__.py` does anything: importing a room imports nothing else."""
    filled = [
        str(p.relative_to(ROOT)) for p in modules() if p.name == "__init__.py" and p.read_text().strip()
    ]

    assert [] == filled


def importable() -> list[str]:
    names = []
    for path in modules():
        parts = path.relative_to(ROOT).with_suffix("").parts
        if (
            "migrations" in parts
            or parts[:2] in (("models", "training"), ("models", "networks"))
            or parts[-1] in ("__init__", "modal_app", "modal_dispatch")
        ):
            continue  # scripts of Alembic, the [train] extra and the [modal] extra
        names.append(".".join(parts))
    return names


WATCH = """
import os, socket, sys, threading
read = []
class Environ(dict):
    def __getitem__(self, key): note(key); return dict.__getitem__(self, key)
    def get(self, key, default=None): note(key); return dict.get(self, key, default)
def note(key):
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.split(".")[0] in ROOMS: read.append((name, key)); return
        if name.startswith("importlib") or "frozen" in name: frame = frame.f_back; continue
        return
os.environ = Environ(os.environ)
def refuse(*a, **k): raise AssertionError("a socket was opened at import")
socket.socket.connect = refuse
before = threading.active_count()
import importlib
for name in NAMES: importlib.import_module(name)
heavy = [m for m in HEAVY if m in sys.modules]
assert not heavy, f"imported: {heavy}"
assert not read, f"environment read at import: {read}"
assert threading.active_count() == before, f"threads started at import: {threading.enumerate()}"
"""


def test_nothing_happens_at_import() -> None:
    """Importing every module starts no thread, opens no connection, reads no setting and loads no heavy library."""
    program = f"ROOMS={ROOMS!r}\nNAMES={importable()!r}\nHEAVY={HEAVY!r}\n{WATCH}"

    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert 0 == result.returncode, result.stderr[-2000:]


def test_only_deploy_reads_the_environment() -> None:
    """Settings arrive as values: `os.environ` appears in no other room."""
    wrong = [
        str(path.relative_to(ROOT))
        for path in modules()
        if path.parts[len(ROOT.parts)] not in ("deploy",)
        and "training" not in path.parts
        and re.search(r"os\.(environ|getenv)", path.read_text(encoding="utf-8"))
    ]

    assert [] == wrong


def test_every_file_on_the_map_exists() -> None:
    """ARCHITECTURE.md names files to open, in order, to follow one event; each is there."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = re.findall(
        r"`((?:schemas|storage|models|safety|workers|handlers|deploy|tests|benchmarks|examples)/[\w./-]+)`",
        text,
    )

    assert len(named) > 10
    assert [] == [name for name in named if not (ROOT / name).exists()]


def test_no_file_hides_its_idea() -> None:
    """No module is called utils, helpers, common or manager."""
    assert [] == [str(p) for p in modules() if p.stem in ("utils", "helpers", "common", "manager")]
