"""The last step before a picture is stored: a C2PA manifest over the final bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from safety.provenance.certificates import SigningIdentity, utc_now
from safety.provenance.content_credentials import MANIFEST_TYPE, library
from safety.provenance.ingredients import Ingredient
from schemas.errors import SigningRefused, SigningUnavailable
from schemas.provenance import SOURCE_TYPES, Credentials, SourceType, TrainingUse, Watermark

_TRAINING = {"not_allowed": "notAllowed", "allowed": "allowed"}


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What the manifest says; no prompt, tenant or user."""

    source: SourceType
    #: The model and its version, as `softwareAgent`.
    model: str
    model_version: str
    ingredients: Sequence[Ingredient] = ()
    watermark: Watermark | None = None


class CredentialSigner:
    """Signs picture files as C2PA 2.x manifests (ISO 22144) with ES256; safe to share between threads.

    `identity` is asked before each signature, so a renewed certificate is used at once.
    """

    def __init__(
        self,
        identity: Callable[[], SigningIdentity],
        *,
        version: str,
        timestamp_url: str = "",
        training_use: TrainingUse = "unstated",
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.identity, self._clock = identity, clock
        self._version, self._timestamp_url, self._training_use = version, timestamp_url, training_use

    def sign(self, data: bytes, media_type: str, claim: Claim) -> tuple[bytes, Credentials]:
        """The file with its manifest, read back and found valid, and what a receipt says about it.

        Raises SigningRefused for a certificate or claim that no repeat would mend, SigningUnavailable otherwise.
        """
        identity = self.identity()
        if not identity.not_before <= self._clock() < identity.not_after:
            raise SigningRefused(
                "the signing certificate is not valid now", field="AQUATINT_C2PA_CERTIFICATE"
            )
        signed = self._signed(data, media_type, claim, identity)
        return signed, Credentials(
            signed=True,
            certificate_sha256=identity.certificate_sha256,
            issuer=identity.issuer,
            trust=identity.trust,
            time_stamped=bool(self._timestamp_url),
        )

    def _signed(self, data: bytes, media_type: str, claim: Claim, identity: SigningIdentity) -> bytes:
        import c2pa

        file, key = io.BytesIO(), _Key(identity)
        try:
            with (
                library() as context,
                c2pa.Builder(self._manifest(claim), context=context) as builder,
                c2pa.Signer.from_callback(
                    key, c2pa.C2paSigningAlg.ES256, identity.chain, self._timestamp_url or None
                ) as signer,
            ):
                for one in claim.ingredients:
                    if one.record:
                        builder.add_ingredient(dict(one.definition), MANIFEST_TYPE, io.BytesIO(one.record))
                builder.sign(signer, media_type, io.BytesIO(data), file)
        except c2pa.C2paError as error:
            if key.failure is not None:
                raise SigningUnavailable("the signing key did not answer") from key.failure
            # The authority is the only thing that is asked over a network, and the library does not say what failed.
            failed = SigningUnavailable if self._timestamp_url else SigningRefused
            raise failed("the C2PA library refused to sign") from error
        return file.getvalue()

    def _manifest(self, claim: Claim) -> dict[str, Any]:
        assertions: list[dict[str, Any]] = [
            {"label": "c2pa.actions.v2", "data": {"actions": _actions(claim)}, "created": True}
        ]
        if self._training_use != "unstated":
            use = {"use": _TRAINING[self._training_use]}
            entries = {f"cawg.{one}": use for one in ("ai_generative_training", "ai_training", "data_mining")}
            assertions.append({"label": "cawg.training-mining", "data": {"entries": entries}})
        if claim.watermark is not None:
            block = {"scope": {}, "value": claim.watermark.payload}
            binding = {"alg": claim.watermark.name, "blocks": [block]}
            assertions.append({"label": "c2pa.soft-binding", "data": binding})
        return {
            "claim_version": 2,
            "claim_generator_info": [{"name": "Aquatint", "version": self._version}],
            "assertions": assertions,
            "ingredients": [dict(one.definition) for one in claim.ingredients if not one.record],
        }


class _Key:
    """The callback; remembers why it failed, which the library does not hand on."""

    def __init__(self, identity: SigningIdentity) -> None:
        self._key = identity.key
        self.failure: Exception | None = None

    def __call__(self, data: bytes) -> bytes:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        try:
            return self._key.sign(data, ec.ECDSA(hashes.SHA256()))
        except Exception as error:
            self.failure = error
            raise


def _actions(claim: Claim) -> list[dict[str, Any]]:
    """Made from nothing, or opened and then changed; guides are named where they were used."""
    parents = [one.field for one in claim.ingredients if one.relationship == "parentOf"]
    guides = [one.field for one in claim.ingredients if one.relationship == "inputTo"]
    made: dict[str, Any] = {
        "action": "c2pa.edited" if parents else "c2pa.created",
        "digitalSourceType": SOURCE_TYPES + claim.source,
        "softwareAgent": {"name": claim.model, "version": claim.model_version},
    }
    if guides:
        made["parameters"] = {"ingredientIds": guides}
    opened = [{"action": "c2pa.opened", "parameters": {"ingredientIds": parents}}] if parents else []
    marked = [{"action": "c2pa.watermarked.bound"}] if claim.watermark is not None else []
    return [*opened, made, *marked]
