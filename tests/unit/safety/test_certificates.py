"""Who signs: a chain of one's own, renewed in time, or the operator's, refused when it does not fit."""

from __future__ import annotations

import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from safety.provenance.certificates import (
    ROOT_DAYS,
    SIGNING_DAYS,
    SelfMade,
    SigningIdentity,
    operator_identity,
)
from schemas.errors import BadSettings

START = datetime(2026, 11, 23, tzinfo=UTC)


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def certificates(identity: SigningIdentity) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(identity.chain.encode())


def key_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def test_keys_are_readable_to_their_owner_alone(tmp_path: Path) -> None:
    """Both private keys are 0600; the root certificate is public and holds no key."""
    own = SelfMade(tmp_path / "c")
    own.current()

    for name in ("signer.pem", "root-key.pem"):
        assert 0o600 == stat.S_IMODE((tmp_path / "c" / name).stat().st_mode)
    assert "PRIVATE" not in own.root_file.read_text()


def test_the_chain_holds_together(tmp_path: Path) -> None:
    """Leaf signed by root, leaf no authority, and the label says that it proves no identity."""
    identity = SelfMade(tmp_path).current()
    leaf, root = certificates(identity)

    leaf.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert "integrity, not identity" == identity.trust


def test_a_restart_keeps_the_certificate(tmp_path: Path) -> None:
    """Another process with the same folder signs with the same certificate."""
    first, second = SelfMade(tmp_path).current(), SelfMade(tmp_path).current()

    assert first.certificate_sha256 == second.certificate_sha256
    assert key_pem(first.key) == key_pem(second.key)


def test_there_is_a_new_leaf_each_year_under_the_same_root(tmp_path: Path) -> None:
    """A running process changes its key in time; whoever trusts the root goes on trusting."""
    clock = Clock()
    own = SelfMade(tmp_path, clock=clock)
    first = own.current()
    clock.now += timedelta(days=SIGNING_DAYS - 1)
    assert own.current().certificate_sha256 == first.certificate_sha256

    clock.now += timedelta(days=2)
    second = own.current()

    assert second.certificate_sha256 != first.certificate_sha256
    assert certificates(second)[1] == certificates(first)[1]


def test_a_signature_counts_for_years(tmp_path: Path) -> None:
    """The last picture that a leaf signs is good for nine more years: without a time stamp it ends with its certificate."""
    identity = SelfMade(tmp_path, clock=Clock()).current()

    assert identity.not_after - START > timedelta(days=SIGNING_DAYS + 9 * 365 - 1)


def test_a_root_that_would_end_first_is_renewed_too(tmp_path: Path) -> None:
    """No leaf outlives its root."""
    clock = Clock()
    own = SelfMade(tmp_path, clock=clock)
    old = certificates(own.current())[1]
    clock.now += timedelta(days=ROOT_DAYS - 100)
    leaf, root = certificates(own.current())

    assert root != old and leaf.not_valid_after_utc <= root.not_valid_after_utc


@pytest.mark.parametrize(
    "damage", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_damaged_file_is_made_anew(tmp_path: Path, damage: str) -> None:
    """A half-written or spoilt certificate does not stop an installation."""
    first = SelfMade(tmp_path).current()
    (tmp_path / "signer.pem").write_text(damage)
    second = SelfMade(tmp_path).current()

    assert second.certificate_sha256 != first.certificate_sha256
    assert certificates(second)[1] == certificates(first)[1]


def test_workers_that_start_together_agree(tmp_path: Path) -> None:
    """Many that find an empty folder end with one certificate."""
    found: list[str] = []

    def start() -> None:
        found.append(SelfMade(tmp_path).current().certificate_sha256)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert 8 == len(found) and 1 == len(set(found))


def test_a_folder_that_cannot_be_made_is_a_bad_setting(tmp_path: Path) -> None:
    """The operator is told which setting to mend."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BadSettings) as caught:
        SelfMade(tmp_path / "file" / "c").current()

    assert "AQUATINT_HOME" == caught.value.field


def test_an_operators_certificate_is_used_as_it_is(tmp_path: Path) -> None:
    """Chain and key of an operator give an identity that is labelled as theirs."""
    made = SelfMade(tmp_path).current()
    given = operator_identity(made.chain, key_pem(made.key))

    assert made.certificate_sha256 == given.certificate_sha256
    assert "operator certificate" == given.trust


def test_an_operators_certificate_must_fit(tmp_path: Path) -> None:
    """No certificate, no key, a key of another kind and another's key are refused, naming the setting."""
    chain = SelfMade(tmp_path).current().chain
    other = key_pem(ec.generate_private_key(ec.SECP256R1()))
    wrong = {
        ("nothing", other): "AQUATINT_C2PA_CERTIFICATE",
        (chain, "nothing"): "AQUATINT_C2PA_KEY",
        (chain, key_pem(rsa.generate_private_key(65537, 2048))): "AQUATINT_C2PA_KEY",
        (chain, key_pem(ec.generate_private_key(ec.SECP384R1()))): "AQUATINT_C2PA_KEY",
        (chain, other): "AQUATINT_C2PA_KEY",
    }
    for (certificate, key), field in wrong.items():
        with pytest.raises(BadSettings) as caught:
            operator_identity(certificate, key)
        assert field == caught.value.field


def test_no_key_shows_in_a_representation(tmp_path: Path) -> None:
    """An identity that lands in a log shows no private key."""
    identity = SelfMade(tmp_path).current()

    assert "PRIVATE" not in repr(identity) and "key=" not in repr(identity)
