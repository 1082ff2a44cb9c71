"""Signatures: ours are what others verify, and ours refuse what others would."""

from __future__ import annotations

import base64
import json
import time

import openai
import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from handlers.webhooks.signature import TOLERANCE_SECONDS, _hkdf, sign, tenant_secret, verify
from schemas.errors import BadSettings, SignatureRefused

MASTER = bytes(range(32))
SECRET = tenant_secret(MASTER, "acme")
BODY = b'{"type":"batch.completed","data":{"id":"batch_1"}}'


def signed(body: bytes, *secrets: str, at: float | None = None, id: str = "dlv_1") -> dict[str, str]:
    stamp = int(time.time() if at is None else at)
    return {
        "webhook-id": id,
        "webhook-timestamp": str(stamp),
        "webhook-signature": sign(secrets, id, stamp, body),
    }


@settings(deadline=None)
@given(
    st.text(min_size=0, max_size=300).map(
        lambda text: json.dumps({"text": text}, ensure_ascii=False).encode("utf-8", "replace")
    )
)
def test_reference_package_accepts_our_signature(body: bytes) -> None:
    """The `standardwebhooks` package verifies every body that we sign."""
    assert Webhook(SECRET).verify(body, signed(body, SECRET)) == json.loads(body)


def test_reference_package_accepts_the_new_secret_during_a_rotation() -> None:
    """With two secrets, a receiver that holds either one accepts; one that holds neither refuses."""
    old, new, other = (tenant_secret(bytes([number]) * 32, "acme") for number in range(3))
    headers = signed(BODY, old, new)
    Webhook(old).verify(BODY, headers)
    Webhook(new).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(BODY, headers)


def test_openai_sdk_accepts_our_signature() -> None:
    """The `openai` SDK verifies and unwraps what we sign, and refuses another body."""
    body = json.dumps(
        {
            "id": "evt_1",
            "object": "event",
            "created_at": 1,
            "type": "batch.completed",
            "data": {"id": "batch_1"},
        }
    ).encode()
    webhooks = openai.OpenAI(api_key="unused", webhook_secret=SECRET).webhooks
    assert webhooks.unwrap(body, signed(body, SECRET)).type == "batch.completed"
    with pytest.raises(openai.InvalidWebhookSignatureError):
        webhooks.verify_signature(body + b" ", signed(body, SECRET))


def test_our_verifier_accepts_the_reference_signature() -> None:
    """A message signed by the reference package passes our verifier, which returns its id."""
    from datetime import UTC, datetime

    now = datetime.now(UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": "v1a,AAAA v1,bm8= garbage " + Webhook(SECRET).sign("msg_1", now, BODY.decode()),
    }
    assert verify([SECRET], headers, BODY, now.timestamp()) == "msg_1"


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 199), st.integers(1, 255))
def test_any_changed_byte_is_refused(body: bytes, place: int, change: int) -> None:
    """A message whose body differs in one byte, or whose id or time differs, is refused with a typed error."""
    headers = signed(body, SECRET, at=1000)
    assert verify([SECRET], headers, body, 1000) == "dlv_1"
    changed = bytearray(body or b"\0")
    changed[place % len(changed)] ^= change
    for wrong_headers, wrong_body in (
        (headers, bytes(changed)),
        (headers | {"webhook-id": "dlv_2"}, body),
        (headers | {"webhook-timestamp": "1001"}, body),
    ):
        with pytest.raises(SignatureRefused):
            verify([SECRET], wrong_headers, wrong_body, 1000)


@pytest.mark.parametrize("late", [-TOLERANCE_SECONDS - 1, TOLERANCE_SECONDS + 1])
def test_old_and_future_messages_are_refused(late: int) -> None:
    """Outside the tolerance of 300 s, either way, a good signature does not help."""
    headers = signed(BODY, SECRET, at=10_000)
    assert verify([SECRET], headers, BODY, 10_000 + TOLERANCE_SECONDS)
    with pytest.raises(SignatureRefused) as refused:
        verify([SECRET], headers, BODY, 10_000 + late)
    assert refused.value.field == "webhook-timestamp"


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize(
    "value", ["", "\udcff", "٣", "1e9", "-5", "v1", "v1,", "v1,é", "99999999999999999999"]
)
def test_malformed_headers_are_refused_and_never_break_the_verifier(name: str, value: str) -> None:
    """Hostile header values end in SignatureRefused and in no other error."""
    with pytest.raises(SignatureRefused):
        verify([SECRET], signed(BODY, SECRET, at=1000) | {name: value}, BODY, 1000)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_!!",
        "AAAA",
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
    ],
)
def test_unfit_secrets_are_refused(secret: str) -> None:
    """A secret without its prefix, or shorter than 24 or longer than 64 bytes, is the operator's mistake."""
    with pytest.raises(BadSettings):
        sign([secret], "dlv_1", 1, b"")


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=80), st.binary(max_size=80), st.integers(1, 100))
def test_key_derivation_is_rfc_5869(master: bytes, info: bytes, length: int) -> None:
    """Our HKDF gives the bytes that the `cryptography` package gives."""
    assert _hkdf(master, info, length) == HKDF(SHA256(), length, None, info).derive(master)


def test_tenants_have_secrets_of_their_own() -> None:
    """Equal for the same tenant and master, different for any other; a short master is refused."""
    assert tenant_secret(MASTER, "acme") == SECRET
    assert len({SECRET, tenant_secret(MASTER, "acme2"), tenant_secret(MASTER[::-1], "acme")}) == 3
    with pytest.raises(BadSettings):
        tenant_secret(b"short", "acme")


def test_ids_with_dots_are_never_signed() -> None:
    """A dot in the id would let one message pass for another."""
    with pytest.raises(ValueError):
        sign([SECRET], "a.b", 1, b"")
