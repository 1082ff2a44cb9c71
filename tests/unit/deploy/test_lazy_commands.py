"""The commands of the command line: all there, and none pays for what another needs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from deploy.cli import app
from deploy.lazy_commands import COMMANDS


def test_help_lists_every_command() -> None:
    """Commands that are loaded later stand in the help like the others."""
    shown = CliRunner().invoke(app, ["--help"])
    assert shown.exit_code == 0
    for name in ("run", "generate", "submit", *COMMANDS):
        assert f"\n  {name} " in shown.output


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_command_can_be_asked_for_help(name: str) -> None:
    """Its module loads with the core alone, and its options are described."""
    shown = CliRunner().invoke(app, [name, "--help"])
    assert shown.exit_code == 0, shown.output
    assert "Usage" in shown.output and name in shown.output


def test_an_unknown_command_is_refused() -> None:
    """With the usage, not a traceback."""
    assert CliRunner().invoke(app, ["nonsense"]).exit_code == 2


def test_starting_loads_no_command() -> None:
    """Importing the command line imports none of the modules behind it."""
    program = (
        "import sys, deploy.cli; print([name for name in sys.modules if name.startswith('deploy.commands.')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
