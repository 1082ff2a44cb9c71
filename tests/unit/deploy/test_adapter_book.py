"""Adapters without a server, and an installation that can or cannot train."""

from __future__ import annotations

from pathlib import Path

import pytest
from finetune_lane import with_pictures
from toy_model import CARD, adapter_files
from typer.testing import CliRunner

from deploy import training_extra
from deploy.adapter_book import register_local
from deploy.commands.adapters import app
from deploy.compose import Parts
from deploy.roles import ROLES
from models.card import CARD_FILE
from schemas.errors import BadInput, BadSettings, NotFound, OutOfRange, Unsupported
from schemas.finetune import FinetuneRequest
from schemas.object_keys import adapter_key
from schemas.settings import Settings
from storage.ledger import adapters


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An installation of the toy model, by settings and by environment alike."""
    model = tmp_path / "model"
    model.mkdir()
    (model / CARD_FILE).write_text(CARD.model_dump_json())
    made = Settings(home=tmp_path / "home", model=str(model))
    monkeypatch.setenv("AQUATINT_HOME", str(made.home))
    monkeypatch.setenv("AQUATINT_MODEL", made.model)
    monkeypatch.setenv("COLUMNS", "200")
    return made


def a_folder(place: Path, name: str = "acme", **changes: str) -> Path:
    place.mkdir(exist_ok=True)
    for file, data in adapter_files(name, **changes).items():
        (place / file).write_bytes(data)
    return place


def test_a_local_adapter_is_stored_and_named(settings: Settings, tmp_path: Path) -> None:
    """Its files lie in the tenant's store under its digest, and the tenant's requests find it by name."""
    parts = Parts(settings=settings)
    row = register_local(parts, a_folder(tmp_path / "adapter"), "default")
    with parts.ledger.read() as conn:
        assert adapters.find(conn, "default", "acme") == row
        assert adapters.find(conn, "other", "acme") is None
    assert (row.base_digest, row.model, row.rank) == (CARD.base_digest, "toy", 2)
    for file, data in adapter_files("acme").items():
        assert parts.results.get(adapter_key(row.digest, file)) == data


def test_what_is_no_adapter_of_this_model_is_refused(settings: Settings, tmp_path: Path) -> None:
    """Nothing is stored of a folder that is incomplete, altered, badly named, or made for other weights."""
    parts = Parts(settings=settings)
    with pytest.raises(BadInput, match=r"adapter\.json|pytorch_lora"):
        register_local(parts, tmp_path / "nothing", "default")
    altered = a_folder(tmp_path / "altered")
    (altered / "pytorch_lora_weights.safetensors").write_bytes(b"x")
    with pytest.raises(BadInput, match="not the file"):
        register_local(parts, altered, "default")
    (altered / "adapter.json").write_text("{}")
    with pytest.raises(BadInput, match="cannot be read"):
        register_local(parts, altered, "default")
    with pytest.raises(OutOfRange):
        register_local(parts, a_folder(tmp_path / "named", "no spaces"), "default")
    with pytest.raises(Unsupported, match="was trained on"):
        register_local(parts, a_folder(tmp_path / "other", base_digest="0" * 64), "default")
    assert list(parts.results.list("adapters/")) == []


def test_the_commands(settings: Settings, tmp_path: Path) -> None:
    """Added, listed, replaced under another name, removed; a name that is not there is said so."""
    folder, runner = a_folder(tmp_path / "adapter"), CliRunner()
    assert "no adapters yet" in runner.invoke(app, ["list"]).output
    assert runner.invoke(app, ["add", str(folder)]).exit_code == 0
    assert runner.invoke(app, ["add", str(folder), "--name", "second"]).exit_code == 0
    listed = runner.invoke(app, ["list"]).output
    assert "acme" in listed and "second" in listed and "toy" in listed
    assert runner.invoke(app, ["remove", "acme"]).exit_code == 0
    assert "acme" not in runner.invoke(app, ["list"]).output
    assert isinstance(runner.invoke(app, ["remove", "acme"]).exception, NotFound)
    assert isinstance(runner.invoke(app, ["add", str(tmp_path)]).exception, BadInput)


def test_finetunes_are_taken_where_they_can_be_done(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the installed packages, unless the operator says that trainers run elsewhere, or that none is wanted."""
    request = FinetuneRequest(name="acme", images=("uploads/brand/",))

    def refusal(mode: str, missing: tuple[str, ...]) -> str:
        monkeypatch.setattr(training_extra, "missing_for_training", lambda: missing)
        parts = Parts(settings=settings.model_copy(update={"finetuning": mode}))
        with_pictures(parts.uploads)
        try:
            parts.finetunes.spec(request, "default")
        except Unsupported as refused:
            return refused.detail
        return ""

    assert refusal("auto", ()) == "" == refusal("on", ("torch",))
    assert "pip install 'aquatint[train]'" in refusal("auto", ("torch",))
    assert "AQUATINT_FINETUNING" in refusal("off", ())


def test_a_trainer_without_its_packages_says_what_to_install(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence with the command, before anything is opened; a person's mistake and no traceback."""
    monkeypatch.setattr(training_extra, "missing_for_training", lambda: ("torch", "peft"))
    with pytest.raises(BadSettings, match=r"pip install 'aquatint\[train\]'.*torch, peft"):
        ROLES["trainer"](Parts(settings=settings))
