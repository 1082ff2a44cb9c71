"""`aquatint generate` with files and adapters: the same checks as over HTTP, one plain sentence when something is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pictures import a_mask, a_picture, as_file
from PIL import Image
from rich.console import Console
from toy_model import adapter_files
from toy_parts import ToyParts

from deploy import generate_one as module
from deploy.environment import load_settings
from deploy.generate_one import Brought, generate_one
from deploy.installed_adapters import FOLDER
from models.inputs import fit_to
from schemas.errors import BadImage, BadInput, BadSettings, InputMissing, MissingField, OutOfRange
from schemas.settings import Settings
from storage.ledger import adapters


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home folder, and a model folder with an adapter that comes with it."""
    monkeypatch.setattr(module, "Parts", ToyParts)
    place = tmp_path / "model" / FOLDER / "acme"
    place.mkdir(parents=True)
    for name, data in adapter_files("acme").items():
        (place / name).write_bytes(data)
    variables = {
        "AQUATINT_HOME": str(tmp_path / "home"),
        "AQUATINT_MODEL": str(tmp_path / "model"),
        "AQUATINT_UPLOAD_SCREENING": "installed",  # no classifier is installed here
    }
    return load_settings(variables, None)


def a_file(folder: Path, name: str, picture: Image.Image) -> Path:
    path = folder / name
    path.write_bytes(as_file(picture))
    return path


def draw(settings: Settings, folder: Path, brought: Brought, **asked: object) -> np.ndarray:
    output = folder / "out.png"
    generate_one(settings, "red mug", output, {"seed": 1, **asked}, brought, Console(quiet=True))
    return np.asarray(Image.open(output).convert("RGB"))


def test_files_reach_the_picture(settings: Settings, tmp_path: Path) -> None:
    """What the mask keeps is the file's own pixels; control and adapter change the rest."""
    photo = a_picture(64, 64)
    image, mask = a_file(tmp_path, "photo.png", photo), a_file(tmp_path, "mask.png", a_mask(64, 64))
    painted = draw(settings, tmp_path, Brought(image=image, mask=mask))
    assert np.array_equal(painted[:, :28], fit_to(np.asarray(photo), 64, 64)[:, :28])
    plain = draw(settings, tmp_path, Brought())
    lines = draw(settings, tmp_path, Brought(control={"edges": image}, control_weight=2.0))
    branded = draw(settings, tmp_path, Brought(adapters=["acme:0.8"]))
    assert not np.array_equal(plain, lines) and not np.array_equal(plain, branded)


@pytest.mark.parametrize(
    ("brought", "error", "field"),
    [
        (Brought(image=Path("none.png")), InputMissing, "image"),
        (Brought(image=Path("junk.png")), BadImage, "image"),
        (Brought(control={"sketch": Path("junk.png")}), BadImage, "control-sketch"),
        (Brought(mask=Path("good.png")), MissingField, "image"),
        (Brought(control_weight=1.0), MissingField, "control-edges"),
        (Brought(control={"edges": Path("good.png"), "sketch": Path("good.png")}), OutOfRange, "control"),
        (Brought(adapters=["nobody"]), InputMissing, "adapters.0.name"),
        (Brought(adapters=["acme:much"]), BadInput, "adapters.0.weight"),
        (Brought(adapters=["../acme"]), OutOfRange, "adapters.0.name"),
    ],
)
def test_what_cannot_be_used_is_named(
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    brought: Brought,
    error: type[Exception],
    field: str,
) -> None:
    """Each mistake is a typed error with its option or field, before the model is opened."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "junk.png").write_bytes(b"junk")
    a_file(tmp_path, "good.png", a_picture())
    monkeypatch.setattr(ToyParts, "renderer", lambda self: pytest.fail("the model was opened"))
    with pytest.raises(error) as caught:
        draw(settings, tmp_path, brought)
    assert caught.value.field == field  # type: ignore[attr-defined]


def test_an_adapter_that_comes_with_the_model_is_kept_for_its_tenant(settings: Settings) -> None:
    """Naming it puts its files into the tenant's store, where a worker looks; a tenant's own of that name comes first."""
    parts = ToyParts(settings=settings)
    row = parts.find_adapter("bolt", "acme")
    assert row is not None and parts.find_adapter("bolt", "other") is None
    keys = {entry.key for entry in parts.results_of("bolt").list("adapters/")}
    assert keys == {
        f"adapters/{row.digest}/adapter.json",
        f"adapters/{row.digest}/pytorch_lora_weights.safetensors",
    }
    assert list(parts.results_of("default").list("adapters/")) == []
    own = adapters.AdapterRow(tenant="bolt", name="acme", digest="5" * 64, model="toy", base_digest=row.base_digest, rank=1, created_at=1.0)  # fmt: skip
    with parts.ledger.begin() as conn:
        adapters.register(conn, own)
    found = parts.find_adapter("bolt", "acme")
    assert found is not None and found.digest == "5" * 64
    parts.ledger.close()


def test_a_broken_adapter_of_the_model_is_the_operators(settings: Settings) -> None:
    """Its description cannot be read: said with the setting, not as the caller's mistake."""
    (Path(settings.model) / FOLDER / "acme" / "adapter.json").write_text("{}")
    parts = ToyParts(settings=settings)
    with pytest.raises(BadSettings):
        parts.find_adapter("default", "acme")
    parts.ledger.close()
