"""`aquatint finetune`: pictures in, an adapter out, and plain words where something is missing."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer import Typer
from typer.testing import CliRunner

from deploy.commands import finetune as command
from models.adapters import ADAPTER_FILE, WEIGHTS_FILE
from models.training.finetune import FinetuneJob, FinetuneProgress, FinetuneResult, OnProgress
from schemas.errors import BadSettings, OutOfRange


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four pictures, two of them with captions, one copy of another, and one broken file."""
    monkeypatch.setenv("AQUATINT_HOME", str(tmp_path / "home"))
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((160, 160)).save(folder / f"{i}.png")
    (folder / "0.txt").write_text("a red mug")
    (folder / "1.txt").write_text("a {trigger} hat")
    (folder / "copy.png").write_bytes((folder / "0.png").read_bytes())
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


class Twin:
    """Stands in for the training: keeps the job and writes an adapter's files."""

    def __init__(self) -> None:
        self.jobs: list[FinetuneJob] = []
        self.registered: list[tuple[Path, str]] = []

    def finetune(self, job: FinetuneJob, on_progress: OnProgress) -> FinetuneResult:
        for step in (0, 20):
            on_progress(FinetuneProgress(stage="train", step=step, steps=20, loss=0.5, seconds_left=1.0))
        assert all(path.is_file() for path, _ in job.images)
        job.out.mkdir(parents=True)
        for name in (ADAPTER_FILE, WEIGHTS_FILE):
            (job.out / name).write_bytes(b"x")
        self.jobs.append(job)
        return FinetuneResult(
            folder=job.out, digest="d" * 64, scores_before={"brand_error": 0.5}, scores_after={"brand_error": 0.25},
            seconds=3.0, steps=20, samples=np.zeros((8, 8, 3), np.uint8),
        )  # fmt: skip

    def register(self, parts: object, folder: Path, tenant: str) -> None:
        self.registered.append((folder, tenant))


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch) -> Twin:
    """The command with the twin in place of training and registry."""
    made = Twin()
    monkeypatch.setattr(command, "finetune", made.finetune)
    monkeypatch.setattr(command, "require_training", lambda: None)
    monkeypatch.setattr("deploy.adapter_book.register_local", made.register)
    return made


def run(*arguments: str) -> str:
    app = Typer()
    app.command()(command.finetune_brand)
    result = CliRunner().invoke(app, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert 0 == result.exit_code, result.output
    return result.output


@pytest.mark.train
def test_pictures_are_sorted_out_and_the_adapter_is_usable_at_once(
    pictures: Path, twin: Twin, tmp_path: Path
) -> None:
    """Copies and broken files are left out with their reason, captions get the trigger, the page and the registration follow."""
    pytest.importorskip("imagehash", reason="imagehash is part of the [train] extra")
    pytest.importorskip("pdqhash", reason="pdqhash is part of the [train] extra")

    said = run("--images", str(pictures), "--name", "acme", "--steps", "20")

    job = twin.jobs[0]
    assert {"a red mug", "a acme style hat", "acme style"} == {caption for _, caption in job.images}
    assert 4 == len(job.images)
    assert 2 == said.count("left out")
    assert ("acme", "acme style", 20) == (job.name, job.trigger, job.steps)
    assert [(tmp_path / "home" / "adapters" / "acme", "default")] == twin.registered
    assert "--adapter acme:0.8" in said
    page = (job.out / "README.md").read_text()
    assert "| 0.5 | 0.25 |" in page
    assert (job.out / "before-after.png").is_file()


@pytest.mark.train
def test_nothing_is_registered_unless_asked(pictures: Path, twin: Twin, tmp_path: Path) -> None:
    """With --no-register and --out the adapter is only written, where it was asked for."""
    pytest.importorskip("imagehash", reason="imagehash is part of the [train] extra")
    pytest.importorskip("pdqhash", reason="pdqhash is part of the [train] extra")

    said = run(
        "--images",
        str(pictures),
        "--name",
        "acme",
        "--no-register",
        "--out",
        str(tmp_path / "here"),
        "--trigger",
        "",
    )

    assert [] == twin.registered
    assert tmp_path / "here" == twin.jobs[0].out
    assert "" == twin.jobs[0].trigger
    assert "--adapter" not in said


def test_without_the_extra_one_line_says_what_to_install(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is read or written where torch is missing; the sentence names it and the extra."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else found(name, *rest)
    )

    with pytest.raises(BadSettings, match=r"needs torch\b.*: .* pip install \"aquatint\[train\]\""):
        run("--images", str(pictures), "--name", "acme")


def test_a_refusal_names_its_field(pictures: Path, twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    """What training refuses is told as an option of the command, with its limit."""
    from models.errors import FinetuneRefused

    def refuse(*_: object) -> None:
        raise FinetuneRefused("images", "4 to 2000 pictures", 3)

    monkeypatch.setattr(command, "_pictures", refuse)

    with pytest.raises(OutOfRange, match="images: must be 4 to 2000 pictures, not 3"):
        run("--images", str(pictures), "--name", "acme")
