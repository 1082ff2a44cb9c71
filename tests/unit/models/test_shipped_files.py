"""What ships in the repository is what it should be, and no more."""

from __future__ import annotations

from pathlib import Path

MODELS = Path(__file__).parents[3] / "models"


def test_shipped_graphs_carry_no_traces_of_the_machine_that_made_them() -> None:
    """The exporter writes stack traces with paths into every node; they are taken out before a file is shipped."""
    graphs = sorted(MODELS.rglob("*.onnx"))

    assert len(graphs) >= 4
    assert [] == [path.name for path in graphs if b"stack_trace" in path.read_bytes()]


def test_the_starter_model_keeps_to_its_budget() -> None:
    """The folder stays below 25 MB, each file below 10 MB."""
    sizes = {path.name: path.stat().st_size for path in (MODELS / "starter").rglob("*") if path.is_file()}

    assert sum(sizes.values()) <= 25_000_000
    assert max(sizes.values()) < 10_000_000
