"""`aquatint verify`: what a person, and a script, learn about a picture."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from microbatches import a_task
from PIL import Image
from signed_pictures import FORMATS, a_signer, anchor, signed_file, some_pixels, unsigned_file
from typer.testing import CliRunner

from deploy.commands import verify as command
from safety.provenance.certificates import SelfMade
from safety.provenance.xmp import Words, write_packet
from schemas.errors import AquatintError, BadInput, NotFound
from schemas.receipt import Receipt, RenderedWith
from schemas.request import Format
from schemas.settings import Settings
from storage.objects.memory import MemoryStore
from workers.encode import Encoder

app = typer.Typer()
app.command()(command.verify)


@pytest.fixture(autouse=True)
def plain_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "load_settings", lambda: Settings(home=tmp_path / "nowhere"))


def run(*arguments: object) -> Any:
    """The command as typed."""
    return CliRunner().invoke(app, [str(one) for one in arguments])


def written(folder: Path, data: bytes, name: str = "picture") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("format", FORMATS)
def test_an_intact_picture_is_told_in_sentences(tmp_path: Path, format: Format) -> None:
    """Made by AI, signed, not changed, and what the signature does not prove; exit code 0."""
    encoder = Encoder(stores=lambda tenant: MemoryStore(bucket="b"), signer=a_signer())
    result = run(written(tmp_path, encoder.encode(a_task(1, format=format), some_pixels()).data))

    assert 0 == result.exit_code
    for part in (
        "made by an AI model",
        "not changed since",
        "integrity, not identity",
        'Alt text (en): "Mug 1"',
    ):
        assert part in result.output


def test_a_trusted_root_shows_who_signed(tmp_path: Path) -> None:
    """With the root named, the identity counts."""
    root = written(tmp_path, anchor().encode(), "root.pem")
    result = run(written(tmp_path, signed_file()), "--trust", root)

    assert 0 == result.exit_code and "it shows who signed" in result.output


def test_a_picture_of_this_installation_is_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its own root, not by the name that anybody could claim."""
    certificates = tmp_path / "home" / "certificates"
    certificates.mkdir(parents=True)
    monkeypatch.setattr(command, "load_settings", lambda: Settings(home=tmp_path / "home"))
    picture = written(tmp_path, signed_file())
    (certificates / "root.pem").write_text(anchor())
    assert "installation on this machine" in run(picture).output

    (certificates / "root.pem").write_text(SelfMade(tmp_path / "other").current().chain)
    assert "installation on this machine" not in run(picture).output


def test_a_changed_picture_is_told_and_fails(tmp_path: Path) -> None:
    """Exit code 1, and a warning not to believe the rest."""
    data = bytearray(signed_file())
    data[-40] ^= 1
    result = run(written(tmp_path, bytes(data)))

    assert 1 == result.exit_code and "Do not believe" in result.output


def test_a_bare_picture_is_told_and_has_its_own_code(tmp_path: Path) -> None:
    """Exit code 2: nothing is signed; a marking that is only written is called that."""
    bare = run(written(tmp_path, unsigned_file("jpeg")))
    packet = write_packet("trainedAlgorithmicMedia", [Words(lang="en", alt="A mug")])
    marked = run(written(tmp_path, unsigned_file("jpeg", xmp=packet), "marked"))

    assert (2, 2) == (bare.exit_code, marked.exit_code)
    assert "says nothing about where it comes from" in bare.output
    assert "no intact signature covers it" in marked.output


def test_several_files_answer_with_the_worst(tmp_path: Path) -> None:
    """One changed picture among good ones fails; one bare one is reported where none is changed."""
    good, bare = written(tmp_path, signed_file(), "good"), written(tmp_path, unsigned_file(), "bare")
    broken = bytearray(signed_file())
    broken[-40] ^= 1

    assert 0 == run(good, good).exit_code
    assert 2 == run(good, bare).exit_code
    assert 1 == run(good, written(tmp_path, bytes(broken), "broken"), bare).exit_code


def test_json_holds_the_same_facts(tmp_path: Path) -> None:
    """One object per line, for scripts."""
    path = written(tmp_path, signed_file())
    lines = run(path, path, "--json").output.splitlines()
    told = [json.loads(line) for line in lines]

    assert 2 == len(told) and "valid" == told[0]["manifest"]["state"] and told[0]["says_ai"]
    assert (str(path), 0) == (told[0]["file"], told[0]["exit_code"])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 999,
        b"\xff\xd8\xff" * 99,
        b"RIFF\0\0\0\0WEBPXMP \xff\xff\xff\xff",
    ],
)
def test_strange_files_are_told_and_hurt_nobody(tmp_path: Path, data: bytes) -> None:
    """Junk of every kind gives a sentence and a code, never a traceback."""
    result = run(written(tmp_path, data))

    assert result.exit_code in (1, 2) and result.output.strip()
    assert result.exception is None or isinstance(result.exception, SystemExit)


def test_a_strangers_text_cannot_steer_the_terminal(tmp_path: Path) -> None:
    """Escape sequences in an alt text are shown as text."""
    words = Words(lang="en", alt="\x9b2J \x85 \u202e [bold]mug[/bold]")
    result = run(
        written(tmp_path, unsigned_file("jpeg", xmp=write_packet("trainedAlgorithmicMedia", [words])))
    )

    assert "[bold]mug[/bold]" in result.output
    assert not any(char in result.output for char in "\x1b\x9b\x85\u202e")


def test_too_large_and_missing_files_get_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A typed error names what is wrong."""
    monkeypatch.setattr(command, "MAX_BYTES", 100)
    wrong: list[tuple[type[AquatintError], list[object]]] = [
        (BadInput, [written(tmp_path, signed_file())]),
        (NotFound, [tmp_path / "nowhere.png"]),
        (BadInput, [written(tmp_path, b"", "a"), "--trust", written(tmp_path, b"no pem", "b")]),
        (BadInput, [written(tmp_path, b"", "a"), "--receipt", written(tmp_path, b"{}", "c")]),
        (BadInput, ["a", "b", "--receipt", "c"]),
    ]
    for kind, arguments in wrong:
        assert kind is type(run(*arguments).exception), arguments


def a_receipt(data: bytes) -> Receipt:
    encoder = Encoder(stores=lambda tenant: MemoryStore(bucket="b"), signer=None)
    task = a_task(1)
    encoded = encoder.encode(task, some_pixels(256))
    facts = command.read_picture(data)
    return Receipt(
        digest=task.digest,
        spec=task.spec,
        image_key="images/x",
        image_sha256=facts.sha256,
        image_bytes=len(data),
        media_type="image/png",
        alt="",
        lang="en",
        verdicts=(),
        pdq=encoded.pdq,
        rendered_with=RenderedWith(aquatint="0", runtime="onnx", precision="int8", device="cpu"),
    )


def test_a_receipt_recognises_its_file_and_its_picture(tmp_path: Path) -> None:
    """The very file; the same picture in another file; another picture. Only the first is intact."""
    encoder = Encoder(stores=lambda tenant: MemoryStore(bucket="b"), signer=a_signer())
    original = encoder.encode(a_task(1), some_pixels(256)).data
    file = io.BytesIO()
    Image.open(io.BytesIO(original)).save(file, "JPEG", quality=80)
    other = io.BytesIO()
    Image.fromarray(some_pixels(256)[::-1, ::-1].transpose(1, 0, 2)).rotate(45).save(other, "PNG")
    receipt = written(tmp_path, a_receipt(original).model_dump_json().encode(), "receipt.json")
    told = {
        name: run(written(tmp_path, data, name), "--receipt", receipt)
        for name, data in (("same", original), ("resaved", file.getvalue()), ("other", other.getvalue()))
    }

    assert [0, 1, 1] == [one.exit_code for one in told.values()]
    assert "the very file" in told["same"].output
    assert "shows the same picture" in told["resaved"].output
    assert "another picture" in told["other"].output
