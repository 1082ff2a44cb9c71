"""What can be read by a key was let through: one module writes pictures and receipts, and it asks for permission first."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.errors import Unsupported
from schemas.object_keys import RESERVED_PREFIXES
from storage.objects.memory import MemoryStore
from workers import shelf

ROOT = Path(__file__).parents[2]
ROOMS = ("schemas", "storage", "models", "safety", "workers", "handlers", "deploy")
PICTURES = ("images/", "receipts/")

SHELF = "workers/shelf.py"
#: Every module that writes to an object store, with what it writes there.
WRITERS = {
    SHELF: "pictures, receipts and customers' copies, with a permission",
    "workers/adapter_shelf.py": "adapters",
    "handlers/finisher.py": "results of batches",
    "handlers/audit_roots.py": "roots of the audit log",
    "storage/kept_inputs.py": "pictures that requests bring",
    "storage/quarantine.py": "sealed pictures, in a store of their own",
    "deploy/installed_adapters.py": "adapters that come with the model",
    "deploy/curation_place.py": "curated training data",
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def called(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                names.add(node.func.id)
            elif isinstance(node.func, ast.Attribute):
                names.add(node.func.attr)
    return names


def stores(tree: ast.Module) -> bool:
    """Whether a module calls the `put` of an object store: with a key and bytes, or bound for later."""
    return any(_puts(node) for node in ast.walk(tree) if isinstance(node, ast.Call))


def _puts(call: ast.Call) -> bool:
    if _named(call.func, "partial"):
        return bool(call.args) and isinstance(call.args[0], ast.Attribute) and call.args[0].attr == "put"
    if not isinstance(call.func, ast.Attribute) or call.func.attr != "put" or len(call.args) != 2:
        return False
    return not _named(call.args[0], "conn") and not _named(call.func.value, "shelf")


def _named(expression: ast.expr, name: str) -> bool:
    return isinstance(expression, ast.Name) and expression.id == name


def texts(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_one_module_writes_pictures_and_receipts() -> None:
    """Of the modules that name a picture or a receipt, or spell such a key out, the shelf alone writes objects."""
    makes_keys = {name for name, tree in modules() if called(tree) & {"image_key", "receipt_key"}}
    spells_keys = {name for name, tree in modules() for text in texts(tree) if text.startswith(PICTURES)}

    assert (makes_keys | spells_keys) & set(WRITERS) == {SHELF}


def test_every_writer_of_objects_is_known() -> None:
    """A module that begins to write to an object store has to be looked at, and added here with what it writes."""
    inside = ("storage/objects/", "storage/broker/")
    writing = {name for name, tree in modules() if not name.startswith(inside) and stores(tree)}

    assert writing == set(WRITERS)


def test_the_shelf_asks_before_it_encodes_or_stores() -> None:
    """In the function that stores a picture, nothing is called before the permission has been redeemed."""
    tree = ast.parse((ROOT / SHELF).read_text(encoding="utf-8"))
    (put,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "put")
    statements = [node for node in put.body if not _is_docstring(node)]
    first = next(node for node in ast.walk(statements[0]) if isinstance(node, ast.Call))

    assert isinstance(first.func, ast.Attribute) and first.func.attr == "redeem"


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


@pytest.mark.parametrize("prefix", RESERVED_PREFIXES)
def test_a_customers_copy_cannot_lie_among_ours(prefix: str) -> None:
    """A copy below any prefix of ours is refused, so that it cannot be taken for a picture, a receipt or a result."""
    from microbatches import a_task

    from workers.encode import Encoded

    store = MemoryStore(bucket="results")
    with pytest.raises(Unsupported):
        shelf._copy(a_task(1, copy_key=f"{prefix}x"), Encoded(data=b"x", media_type="image/png"), store)
    assert list(store.list("")) == []


def test_the_prefixes_of_pictures_are_ours() -> None:
    """What the tests above look for is what the keys begin with."""
    assert set(PICTURES) <= set(RESERVED_PREFIXES)
