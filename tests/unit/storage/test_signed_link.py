"""Links open exactly one object, for exactly as long as was said."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import BadSettings, Unauthorised
from storage.objects.signed_link import LinkSigner, sign_path, verify_path
from storage.objects.store import is_storable

SECRET = b"0123456789abcdef0123456789abcdef"

keys = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40).filter(is_storable)


def taken_apart(path: str) -> tuple[str, str, str, str]:
    parts = urlsplit("https://host/" + path)
    bucket, _, key = parts.path[1:].partition("/")
    query = parse_qs(parts.query, strict_parsing=True)
    return unquote(bucket), unquote(key), query["expires"][0], query["signature"][0]


@given(key=keys, bucket=st.sampled_from(["results", "a/b", "b ü%"]), expires=st.integers(1, 2**40))
def test_a_link_survives_the_address(key: str, bucket: str, expires: int) -> None:
    """Any bucket and key come back from the address as they were signed, and verify until the expiry."""
    named, found, until, signature = taken_apart(
        sign_path(SECRET, bucket=bucket, key=key, expires_at=expires)
    )

    assert (named, found, until) == (bucket, key, str(expires))
    verify_path(SECRET, bucket=named, key=found, expires=until, signature=signature, now=expires - 1)
    with pytest.raises(Unauthorised, match="expired"):
        verify_path(SECRET, bucket=named, key=found, expires=until, signature=signature, now=expires)


@pytest.mark.parametrize(
    "change",
    [
        {"key": "other"},
        {"bucket": "uploads"},
        {"bucket": "resultsk", "key": "ey"},
        {"expires": "2000000001"},
        {"expires": ""},
        {"expires": "never"},
        {"expires": "٢"},
        {"signature": ""},
        {"signature": "é" * 64},
        {"signature": "0" * 64},
        {"secret": b"another secret of thirty-two bytes"},
    ],
)
def test_a_changed_link_is_refused(change: dict[str, str | bytes]) -> None:
    """Whatever is changed, the answer is the same Unauthorised."""
    _, _, expires, signature = taken_apart(
        sign_path(SECRET, bucket="results", key="key", expires_at=2_000_000_000)
    )
    link = {
        "secret": SECRET,
        "bucket": "results",
        "key": "key",
        "expires": expires,
        "signature": signature,
    } | change

    with pytest.raises(Unauthorised, match="not valid"):
        verify_path(**link, now=0.0)  # type: ignore[arg-type]


def test_the_signer_says_until_when() -> None:
    """The expiry counts from the moment of signing."""
    moment = [1000.0]
    signer = LinkSigner(secret=SECRET, base_url="https://host/v1/objects/", now=lambda: moment[0])
    link = signer.link("results", "a/b.png", 60)
    _, _, expires, signature = taken_apart(link.removeprefix("https://host/v1/objects/"))

    assert link.startswith("https://host/v1/objects/results/a/b.png?") and expires == "1060"
    signer.verify(bucket="results", key="a/b.png", expires=expires, signature=signature)
    moment[0] = 1060.0
    with pytest.raises(Unauthorised):
        signer.verify(bucket="results", key="a/b.png", expires=expires, signature=signature)


def test_the_secret_is_long_and_unseen() -> None:
    """A short secret is refused, and no printout of the signer holds it."""
    with pytest.raises(BadSettings):
        LinkSigner(secret=b"short", base_url="https://host")

    assert "0123456789" not in repr(LinkSigner(secret=SECRET, base_url="https://host"))
