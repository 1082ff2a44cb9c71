"""Certificates and watermarks as the settings name them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from deploy.home import Home
from safety.provenance.certificates import SelfMade, SigningIdentity, operator_identity
from safety.provenance.watermark import Watermarker
from schemas.errors import BadSettings
from schemas.settings import Settings

_MODEL_FILE = re.compile(r"(.+)@([0-9a-f]{64})")


def signing_identity(settings: Settings, home: Home) -> Callable[[], SigningIdentity]:
    """The operator's identity, else this installation's own; BadSettings when it cannot be had now."""
    certificate, key = settings.c2pa_certificate, settings.c2pa_key.get_secret_value()
    if bool(certificate) != bool(key):
        missing = "AQUATINT_C2PA_KEY" if certificate else "AQUATINT_C2PA_CERTIFICATE"
        raise BadSettings("a certificate and its key belong together", field=missing)
    if certificate:
        given = operator_identity(
            _pem(certificate, "AQUATINT_C2PA_CERTIFICATE"), _pem(key, "AQUATINT_C2PA_KEY")
        )
        return lambda: given
    own = SelfMade(home.certificates)
    own.current()
    return own.current


def _pem(value: str, field: str) -> str:
    """The text itself, also with its line ends written as \\n, or what is in the file of that name."""
    if "-----BEGIN" in value:
        return value.replace("\\n", "\n")
    try:
        return Path(value).expanduser().read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise BadSettings("neither PEM text nor a readable file of it", field=field) from error


def open_watermarker(settings: Settings) -> Watermarker | None:
    """TrustMark from the operator's weights, None without any; BadSettings for weights that are not those named."""
    if not settings.watermark_encoder and not settings.watermark_decoder:
        return None
    from safety.provenance.trustmark import TrustMark

    encoder = _model_file(settings.watermark_encoder, "AQUATINT_WATERMARK_ENCODER")
    decoder = _model_file(settings.watermark_decoder, "AQUATINT_WATERMARK_DECODER")
    return TrustMark.open(encoder=encoder, decoder=decoder)


def _model_file(value: str, field: str) -> tuple[Path, str]:
    found = _MODEL_FILE.fullmatch(value)
    if found is None:
        raise BadSettings("write PATH@SHA256", field=field)
    return Path(found[1]).expanduser(), found[2]
