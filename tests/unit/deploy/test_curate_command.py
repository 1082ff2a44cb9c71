"""`aquatint curate`: options, sources and destinations, plain words."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer
from curation_sources import write_source
from typer.testing import CliRunner

from deploy.commands.curate import curate
from deploy.curation_place import open_source
from schemas.errors import BadSettings

OFF = ["--no-near", "--no-text", "--workers", "1"]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AQUATINT_HOME", str(tmp_path / "home"))
    app = typer.Typer()
    app.command()(curate)
    return app


def test_a_folder_becomes_shards(tmp_path: Path, command: typer.Typer) -> None:
    """Counts, steps that did not run and the report's place are printed; options reach the result."""
    write_source(tmp_path / "source", 5)
    (tmp_path / "source" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0junk")
    arguments = [
        "source",
        "out",
        *OFF,
        "--bucket",
        "64x64",
        "--bucket",
        "96x64",
        "--format",
        "png",
        "--shard-samples",
        "2",
    ]
    result = CliRunner().invoke(command, arguments)
    index = json.loads((tmp_path / "out" / "index.json").read_text())

    assert 0 == result.exit_code, result.output
    assert "6 seen, 5 kept in 3 shards" in result.output
    assert re.search(r"1 +corrupt", result.output)
    assert "Text in pictures was not looked for: switched off." in result.output
    assert "out/report.html" == result.output.splitlines()[-1]
    assert [2, 2, 1] == [shard["samples"] for shard in index["shards"]]
    assert {"64x64": 5} == index["buckets"]


def test_a_file_of_options_and_the_command_line(tmp_path: Path, command: typer.Typer) -> None:
    """The command line goes before the file, and what neither says keeps its default."""
    write_source(tmp_path / "source", 3)
    (tmp_path / "c.toml").write_text(
        '[buckets]\nsizes = [[32, 32]]\nfit = "pad"\n[shards]\nformat = "webp"\n'
    )
    result = CliRunner().invoke(command, ["source", "out", *OFF, "--config", "c.toml", "--bucket", "64x64"])
    settings = json.loads((tmp_path / "out" / "report.json").read_text())["settings"]

    assert 0 == result.exit_code, result.output
    assert [[64, 64]] == settings["buckets"]["sizes"]
    assert ("pad", "webp") == (settings["buckets"]["fit"], settings["shards"]["format"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing", "out"], "no such folder"),
        (["source", "source/out"], "inside the source"),
        (["source", "out", "--bucket", "big"], "WIDTHxHEIGHT"),
        (["source", "out", "--bucket", "100x100"], "multiples of 8"),
        (["source", "out", "--config", "missing.toml"], "missing.toml"),
        (["source", "out", "--rewrite-url", "http://127.0.0.1:1"], "rewrite.model"),
        (["ftp://host/x", "out"], "s3://bucket/prefix"),
        (["source", "out", "--clip-weights", "none.pt"], "nothing is downloaded"),
    ],
)
def test_mistakes_are_plain(tmp_path: Path, command: typer.Typer, arguments: list[str], words: str) -> None:
    """A mistake ends in one typed error that says what is wrong."""
    write_source(tmp_path / "source", 2)
    result = CliRunner().invoke(command, [*arguments, *OFF])

    assert isinstance(result.exception, BadSettings)
    assert words in str(result.exception)


def test_the_key_stays_out(tmp_path: Path, command: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The endpoint's key comes from the environment and is in no file that is written."""
    monkeypatch.setenv("AQUATINT_CAPTION_KEY", "sesame-open")
    monkeypatch.setenv("AQUATINT_CAPTION_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("AQUATINT_CAPTION_MODEL", "m")
    write_source(tmp_path / "source", 2)
    (tmp_path / "c.toml").write_text("[rewrite]\nretries = 0\n[buckets]\nsizes = [[64, 64]]\n")
    result = CliRunner().invoke(command, ["source", "out", *OFF, "--config", "c.toml"])

    assert 0 == result.exit_code, result.output
    assert {"failed": 2} == json.loads((tmp_path / "out" / "report.json").read_text())["report"]["rewrites"]
    assert all(
        b"sesame-open" not in path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()
    )


def test_file_addresses(tmp_path: Path) -> None:
    """file:// names a folder as well."""
    write_source(tmp_path / "source", 1)

    assert ["p000.png", "p000.txt"] == sorted(
        entry.name for entry in open_source(f"file://{tmp_path}/source", endpoint_url="", region="").entries()
    )
