"""Image screens of an installation: kept below its home, named by its settings, refused when they are not what they were."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from deploy.commands.safety import app
from deploy.compose import Parts
from deploy.screen_book import find_screen, installed_screens, keep_screen, open_screens
from safety.onnx_screen import ScreenFiles
from safety.screen_card import ScreenCard
from safety.screens import nsfwjs
from schemas.errors import BadSettings, ScreenMissing
from schemas.settings import Settings

FIXTURE = Path(__file__).parents[2] / "fixtures" / "safety" / "make_tiny_classifier.py"


@pytest.fixture(scope="module")
def tiny() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_tiny_classifier", FIXTURE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault("make_tiny_classifier", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def files(tiny: ModuleType) -> ScreenFiles:
    return ScreenFiles(model=tiny.tiny_model(), card=ScreenCard.model_validate(tiny.tiny_card()))


def settings(home: Path, **more: Any) -> Settings:
    return Settings(home=home, **more)


def test_an_installed_screen_is_opened_by_its_name(files: ScreenFiles, tmp_path: Path) -> None:
    """Installed once, named in the settings: Parts opens it, and its digest may be pinned there."""
    kept = keep_screen(tmp_path, "tiny", files)

    for entry in ("tiny", f"tiny@{kept.model_sha256}", f"tiny@{kept.model_sha256.upper()}"):
        (screen,) = Parts(settings=settings(tmp_path, image_screens=(entry,))).image_screens
        assert (screen.name, screen.model_sha256) == ("tiny", files.model_sha256)
    with pytest.raises(ScreenMissing, match="not the configured one"):
        open_screens(settings(tmp_path, image_screens=(f"tiny@{'0' * 64}",)), tmp_path)


def test_installing_again_replaces(files: ScreenFiles, tiny: ModuleType, tmp_path: Path) -> None:
    """A second installation under the name takes the place of the first, and nothing else is left behind."""
    keep_screen(tmp_path, "tiny", files)
    other = ScreenFiles(model=files.model, card=ScreenCard.model_validate(tiny.tiny_card(version="2")))
    keep_screen(tmp_path, "tiny", other)

    assert find_screen(tmp_path, "tiny").open().version == "2"
    assert [one.name for one in installed_screens(tmp_path)] == ["tiny"]
    assert [path.name for path in (tmp_path / "screens").iterdir()] == ["tiny"]


@pytest.mark.parametrize("what", ["model.onnx", "model.json", "installed.json"])
def test_a_swapped_file_is_refused(what: str, files: ScreenFiles, tmp_path: Path) -> None:
    """A model or a card that is not the one that was installed does not run: a card decides what counts as what."""
    kept = keep_screen(tmp_path, "tiny", files)
    path = kept.folder / what
    if what == "model.json":
        card = json.loads(path.read_bytes())
        card["labels"][0]["weight"] = 0.01
        path.write_text(json.dumps(card))
    else:
        path.write_bytes(path.read_bytes()[:-3])

    with pytest.raises(ScreenMissing):
        open_screens(settings(tmp_path, image_screens=("tiny",)), tmp_path)


def test_a_known_name_needs_the_known_model(files: ScreenFiles, tmp_path: Path) -> None:
    """Another model that calls itself nsfwjs is refused, whatever the files beside it say."""
    keep_screen(tmp_path, nsfwjs.NAME, files)

    with pytest.raises(ScreenMissing, match="install nsfwjs"):
        open_screens(settings(tmp_path, image_screens=(nsfwjs.NAME,)), tmp_path)


def test_a_file_by_its_path(tiny: ModuleType, tmp_path: Path) -> None:
    """A classifier of the operator's own by path and digest, in the list or in the older single setting."""
    path, sha256 = tiny.write_screen(tmp_path)

    listed = open_screens(settings(tmp_path, image_screens=(f"{path}@{sha256}",)), tmp_path)
    single = open_screens(settings(tmp_path, image_screen=str(path), image_screen_sha256=sha256), tmp_path)
    assert [screen.model_sha256 for screen in (*listed, *single)] == [sha256, sha256]
    with pytest.raises(BadSettings, match="digest"):
        open_screens(settings(tmp_path, image_screen=str(path)), tmp_path)


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"image_screens": ("absent",)}, ScreenMissing),
        ({"image_screens": ("tiny@12",)}, BadSettings),
        ({"image_screens": ("../tiny",)}, BadSettings),
        ({"image_screens": ("guard",)}, BadSettings),
        ({"image_screens": ("tiny", "tiny@" + "0" * 64)}, ScreenMissing),
    ],
    ids=str,
)
def test_what_cannot_be_opened(
    more: dict[str, Any], error: type[Exception], files: ScreenFiles, tmp_path: Path
) -> None:
    """A name that is not installed, a malformed entry, a path without digest, a guard without an address: refused at start."""
    keep_screen(tmp_path, "tiny", files)

    with pytest.raises(error):
        open_screens(settings(tmp_path, **more), tmp_path)


def test_two_of_one_name(files: ScreenFiles, tiny: ModuleType, tmp_path: Path) -> None:
    """Verdicts name screens: two of one name could not be told apart."""
    keep_screen(tmp_path, "tiny", files)
    path, sha256 = tiny.write_screen(tmp_path)

    with pytest.raises(BadSettings, match="same name"):
        open_screens(settings(tmp_path, image_screens=("tiny", f"{path}@{sha256}")), tmp_path)


@pytest.mark.parametrize("name", ["../up", "UP", "", "guard", ".hidden", "a/b"])
def test_names_that_are_none(name: str, files: ScreenFiles, tmp_path: Path) -> None:
    """A name becomes a folder: nothing outside the folder of screens can be named."""
    with pytest.raises(BadSettings):
        keep_screen(tmp_path, name, files)


def test_the_guard_is_opened_without_a_call(tmp_path: Path) -> None:
    """Several screens at once; the guard is only asked when it is tested or used."""
    named = settings(
        tmp_path, image_screens=("guard",), image_guard_url="http://127.0.0.1:9/v1", image_guard_model="shield",
        image_guard_categories=("sexual", "violence_graphic"),
    )  # fmt: skip

    (guard,) = open_screens(named, tmp_path)
    assert guard.categories == ("sexual", "violence_graphic")


def run(home: Path, monkeypatch: pytest.MonkeyPatch, *words: str, **environment: str) -> str:
    monkeypatch.chdir(home)
    monkeypatch.setenv("AQUATINT_HOME", str(home))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})
    return result.output + (str(result.exception) if result.exception else "")


def test_screens_tells_what_is_there(
    files: ScreenFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without anything it says how to begin; then name, coverage, self-test and digest, and what the policy still lacks."""
    assert "aquatint safety install nsfwjs" in run(tmp_path, monkeypatch, "screens")
    keep_screen(tmp_path, "tiny", files)

    told = run(tmp_path, monkeypatch, "screens", AQUATINT_IMAGE_SCREENS="tiny")
    assert "sexual, violence_graphic" in told
    assert "passed" in told
    assert files.model_sha256[:16] in told
    assert "hate_symbols" in told.splitlines()[-2]


def test_install_refuses_what_it_does_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another classifier, another release, another package, and weights without a named commit and digest."""
    package = tmp_path / "some.tgz"
    package.write_bytes(b"something")

    assert "no classifier" in run(tmp_path, monkeypatch, "install", "other")
    assert "never compared" in run(tmp_path, monkeypatch, "install", "nsfwjs", "--version", "1.0.0")
    assert "known releases" in run(tmp_path, monkeypatch, "install", "nsfwjs", "--from", str(package))
    assert "which commit" in run(tmp_path, monkeypatch, "install", "marqo", "--revision", "main")
    assert "cannot be read" in run(tmp_path, monkeypatch, "install", "marqo", "--from", str(tmp_path))
    assert installed_screens(tmp_path) == []


def fake_npm(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    npm = folder / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(f"#!/bin/sh\n{script}\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}:/usr/bin:/bin")


def test_the_npm_client_fetches_and_nothing_of_it_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pinned release is packed without its scripts; what comes back is believed by its digest alone."""
    fake_npm(tmp_path, monkeypatch, f'echo "$@" > {tmp_path}/asked; printf other > "$5/nsfwjs.tgz"')

    assert "known releases" in run(tmp_path, monkeypatch, "install", "nsfwjs")
    asked = (tmp_path / "asked").read_text().split()
    assert asked[:4] == ["pack", f"nsfwjs@{nsfwjs.LATEST}", "--ignore-scripts", "--pack-destination"]
    assert installed_screens(tmp_path) == []


def test_without_npm_or_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the client is missing or fails, the operator reads how to bring the package, or what npm said last."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "--from FILE" in run(tmp_path, monkeypatch, "install", "nsfwjs")

    fake_npm(tmp_path, monkeypatch, "echo npm error network unreachable >&2; exit 1")
    assert "network unreachable" in run(tmp_path, monkeypatch, "install", "nsfwjs")


def test_a_hub_needs_a_client_a_commit_and_a_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are fetched at a named commit, and only what was named is taken."""
    asked: list[tuple[str, str, str]] = []
    hub = ModuleType("huggingface_hub")

    def download(repository: str, name: str, *, revision: str) -> str:
        asked.append((repository, name, revision))
        (tmp_path / name).write_bytes(b"{}")
        return str(tmp_path / name)

    hub.hf_hub_download = download  # type: ignore[attr-defined]
    commit = ["--revision", "c" * 40]
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "hub client is not installed" in run(tmp_path, monkeypatch, "install", "marqo", *commit)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert "which weights you mean" in run(tmp_path, monkeypatch, "install", "marqo", *commit)
    assert "not the one that was named" in run(
        tmp_path, monkeypatch, "install", "marqo", *commit, "--sha256", "0" * 64
    )
    assert asked[-1] == ("Marqo/nsfw-image-detection-384", "model.safetensors", "c" * 40)
    assert installed_screens(tmp_path) == []
