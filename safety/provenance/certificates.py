"""Who signs: the operator's certificate, or a chain of our own that proves integrity and no identity."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import BadSettings
from schemas.provenance import Trust

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

#: Without a time stamp a signature counts only while its certificate does: a leaf signs for a year and is good for ten.
LEAF_DAYS, SIGNING_DAYS = 3650, 365
#: The root outlives many leaves, so that an anchor stays good.
ROOT_DAYS = 7300
#: Clocks of two hosts disagree a little.
BACKDATED = timedelta(hours=1)
ORGANISATION = "Aquatint installation, self-signed"
ROOT_FILE = "root.pem"

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class SigningIdentity:
    """A private key on P-256 and the PEM chain that vouches for it, leaf first."""

    chain: str
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    certificate_sha256: str
    issuer: str
    not_before: datetime
    not_after: datetime
    trust: Trust


def operator_identity(certificate: str, key: str) -> SigningIdentity:
    """From PEM texts: a chain, leaf first, and its key; BadSettings says what is wrong with them."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    chain = _chain(certificate)
    try:
        private = serialization.load_pem_private_key(key.encode(), password=None)
    except (ValueError, TypeError) as error:
        raise BadSettings("the key is no unencrypted PEM private key", field="AQUATINT_C2PA_KEY") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name != "secp256r1":
        raise BadSettings("an ECDSA key on P-256 is needed (ES256)", field="AQUATINT_C2PA_KEY")
    if _public(private.public_key()) != _public(chain[0].public_key()):
        raise BadSettings("the key does not belong to the first certificate", field="AQUATINT_C2PA_KEY")
    return _identity(chain, private, "operator certificate")


class SelfMade:
    """A chain in a folder, made on first use, with a new leaf each year; safe between processes and threads.

    Raises BadSettings when the folder cannot be used.
    """

    def __init__(self, folder: Path, *, clock: Clock = utc_now) -> None:
        self._folder, self._clock = folder, clock
        self._lock, self._current = threading.Lock(), None

    _current: SigningIdentity | None

    @property
    def root_file(self) -> Path:
        """The root certificate, for whoever wants to trust this installation."""
        return self._folder / ROOT_FILE

    def current(self) -> SigningIdentity:
        """The identity in force; another process may have renewed it meanwhile."""
        with self._lock:
            if self._current is None or self._is_ending(self._current):
                self._current = self._stored_or_made()
            return self._current

    def _is_ending(self, identity: SigningIdentity) -> bool:
        return self._clock() >= identity.not_before + timedelta(days=SIGNING_DAYS)

    def _stored_or_made(self) -> SigningIdentity:
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _sole_writer(self._folder / ".lock"):
                stored = self._stored()
                return stored if stored is not None and not self._is_ending(stored) else self._made()
        except OSError as error:
            raise BadSettings(
                f"the certificate folder cannot be used: {error.strerror}", field="AQUATINT_HOME"
            ) from error

    def _stored(self) -> SigningIdentity | None:
        try:
            text = (self._folder / "signer.pem").read_text(encoding="ascii")
            found = operator_identity(text, text)
        except (FileNotFoundError, UnicodeDecodeError, BadSettings):
            return None  # absent or damaged: nobody outside depends on a leaf of ours, so it is made anew
        return _identity(_chain(found.chain), found.key, "integrity, not identity")

    def _made(self) -> SigningIdentity:
        root, root_key = self._root()
        key, leaf = _new_leaf(root, root_key, self._clock())
        chain = _pem(leaf) + _pem(root)
        _write(self._folder / "signer.pem", _key_pem(key) + chain, private=True)
        _write(self.root_file, _pem(root), private=False)
        return _identity(_chain(chain), key, "integrity, not identity")

    def _root(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        """The root in the folder while it outlives a new leaf, else a new one."""
        path = self._folder / "root-key.pem"
        with contextlib.suppress(FileNotFoundError, UnicodeDecodeError, BadSettings):
            text = path.read_text(encoding="ascii")
            found = operator_identity(text, text)
            if found.not_after > self._clock() + timedelta(days=LEAF_DAYS):
                return _chain(found.chain)[0], found.key
        key, root = _new_root(self._clock())
        _write(path, _key_pem(key) + _pem(root), private=True)
        return root, key


def _identity(
    chain: list[x509.Certificate], key: ec.EllipticCurvePrivateKey, trust: Trust
) -> SigningIdentity:
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    leaf = chain[0]
    named = [
        *leaf.issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME),
        *leaf.issuer.get_attributes_for_oid(NameOID.COMMON_NAME),
    ]
    return SigningIdentity(
        chain="".join(_pem(one) for one in chain),
        key=key,
        certificate_sha256=leaf.fingerprint(hashes.SHA256()).hex(),
        issuer=str(named[0].value)[:200] if named else "",
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        trust=trust,
    )


def _chain(text: str) -> list[x509.Certificate]:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError as error:
        raise BadSettings("there is no PEM certificate in it", field="AQUATINT_C2PA_CERTIFICATE") from error


def _new_root(now: datetime) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Aquatint root")
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        _builder(name, name, key.public_key(), now, ROOT_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(own, critical=False)
    )
    return key, builder.sign(key, hashes.SHA256())


def _new_leaf(
    root: x509.Certificate, root_key: ec.EllipticCurvePrivateKey, now: datetime
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """As C2PA 2.2 section 14.5 wants signing certificates: no CA, digitalSignature, an accepted extended key usage."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(_name("Aquatint signer"), root.subject, key.public_key(), now, LEAF_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return key, builder.sign(root_key, hashes.SHA256())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    from cryptography import x509

    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - BACKDATED).not_valid_after(now + timedelta(days=days))


def _name(common: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _public(key: CertificatePublicKeyTypes) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _pem(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _write(path: Path, text: str, *, private: bool) -> None:
    """As a whole or not at all; a private one is never readable to others, not for a moment."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o644)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


@contextlib.contextmanager
def _sole_writer(path: Path) -> Iterator[None]:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
