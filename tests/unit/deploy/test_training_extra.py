"""A host without the [train] extra is told so in one sentence."""

from pathlib import Path

import pytest

from deploy.commands import train as command
from deploy.training_extra import missing_for_training
from schemas.errors import BadSettings


def test_training_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a dry run: it names the packages and the command, before anything is read."""
    monkeypatch.setattr(command, "missing_for_training", lambda: ("torch", "peft"))

    with pytest.raises(BadSettings, match=r"torch, peft.*aquatint\[train\]"):
        command.train(Path("nowhere.toml"), dry_run=True)


def test_missing_packages_are_those_that_cannot_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only names are looked up: nothing heavy is imported to find out."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "torch" else object())

    assert ("torch",) == missing_for_training()
