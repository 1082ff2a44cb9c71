"""Settings about signatures and watermarks: what they name is used, what does not fit is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import SecretStr
from signed_pictures import own_chain

from deploy.compose import Parts
from deploy.doctor import _signature, _watermark
from deploy.signing import open_watermarker
from schemas.errors import BadSettings
from schemas.settings import Settings


def parts(folder: Path, **changes: Any) -> Parts:
    return Parts(settings=Settings(home=folder, **changes))


def operators() -> tuple[str, str]:
    """A chain and its key as PEM texts."""
    made = own_chain().current()
    key = made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return made.chain, key


def test_pictures_are_signed_by_default(tmp_path: Path) -> None:
    """Without any setting there is a signer, with a certificate in the home folder that the next start finds again."""
    first, second = (parts(tmp_path).signer for _ in range(2))

    assert first is not None and second is not None
    assert first.identity().certificate_sha256 == second.identity().certificate_sha256
    assert (tmp_path / "certificates" / "root.pem").exists()


def test_signing_is_off_only_when_it_is_said(tmp_path: Path) -> None:
    """Off makes no certificate; another word is refused."""
    assert parts(tmp_path, c2pa="off").signer is None
    assert not (tmp_path / "certificates").exists()
    with pytest.raises(ValueError, match="c2pa"):
        Settings(home=tmp_path, c2pa="maybe")  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["text", "one line", "files"])
def test_an_operators_certificate_comes_as_text_or_file(tmp_path: Path, form: str) -> None:
    """As a PEM text, as one line with \\n, which some hosts need, or as the names of files."""
    chain, key = operators()
    if form == "one line":
        chain, key = chain.replace("\n", "\\n"), key.replace("\n", "\\n")
    if form == "files":
        for name, text in (("chain.pem", chain), ("key.pem", key)):
            (tmp_path / name).write_text(text)
        chain, key = str(tmp_path / "chain.pem"), str(tmp_path / "key.pem")
    signer = parts(tmp_path, c2pa_certificate=chain, c2pa_key=SecretStr(key)).signer

    assert signer is not None and "operator certificate" == signer.identity().trust
    assert own_chain().current().certificate_sha256 == signer.identity().certificate_sha256


def test_half_a_pair_and_unreadable_files_are_refused(tmp_path: Path) -> None:
    """The setting that is missing or wrong is named, and no key is shown."""
    chain, key = operators()
    wrong = [
        ({"c2pa_certificate": chain}, "AQUATINT_C2PA_KEY"),
        ({"c2pa_key": SecretStr(key)}, "AQUATINT_C2PA_CERTIFICATE"),
        ({"c2pa_certificate": "nowhere.pem", "c2pa_key": SecretStr(key)}, "AQUATINT_C2PA_CERTIFICATE"),
        ({"c2pa_certificate": chain, "c2pa_key": SecretStr("nowhere.pem")}, "AQUATINT_C2PA_KEY"),
    ]
    for changes, field in wrong:
        with pytest.raises(BadSettings) as caught:
            assert parts(tmp_path, **changes).signer
        assert field == caught.value.field and "PRIVATE" not in str(caught.value)


@pytest.mark.parametrize("value", ["encoder.onnx", "encoder.onnx@abc", f"nowhere.onnx@{'0' * 64}"])
def test_watermark_weights_must_be_named_with_their_digest(value: str) -> None:
    """No weights are run that are not the ones named; half a pair is refused, too."""
    with pytest.raises(BadSettings) as caught:
        open_watermarker(Settings(watermark_encoder=value, watermark_decoder=value))
    assert "AQUATINT_WATERMARK_ENCODER" == caught.value.field
    assert open_watermarker(Settings()) is None


def test_the_doctor_says_plainly_what_is_missing(tmp_path: Path) -> None:
    """Whose certificate, what it proves, that there is no watermark, and that signing is off where it is."""
    default, off = parts(tmp_path), parts(tmp_path, c2pa="off")

    assert ("ready", True) == (
        _signature(default).mark,
        "integrity, not identity" in _signature(default).note,
    )
    assert ("optional", True) == (_signature(off).mark, "AQUATINT_C2PA" in _signature(off).note)
    assert "watermark is missing" in _watermark(default).note
    assert "missing" == _signature(parts(tmp_path, c2pa_certificate="x")).mark
