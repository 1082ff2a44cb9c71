"""What a picture says about where it comes from, and how far that can be trusted."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Frozen

#: IPTC NewsCodes: created wholly by a trained model, or out of somebody's picture by one.
SourceType = Literal["trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"]
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"

#: What whoever reads the signature learns: that nothing was changed since, or also who an outside authority says signed.
Trust = Literal["none", "integrity, not identity", "operator certificate"]

#: What the file says about training other models with it (CAWG training and data mining).
TrainingUse = Literal["unstated", "not_allowed", "allowed"]

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Credentials(Frozen):
    """The C2PA manifest of a file; nothing is signed only where the operator turned it off."""

    signed: bool = False
    #: Of the signing certificate, DER.
    certificate_sha256: Sha256 | None = None
    issuer: str = ""
    trust: Trust = "none"
    time_stamped: bool = False


class Watermark(Frozen):
    """A mark in the pixels that the eye does not see."""

    #: In the C2PA list of soft binding algorithms, e.g. "com.adobe.trustmark.Q".
    name: str
    #: In the notation of that algorithm.
    payload: str = Field(pattern=r"^[0-9A-Za-z*+/=._-]{1,200}$")


class Provenance(Frozen):
    """What was written into a file, for its receipt."""

    digital_source_type: SourceType
    c2pa: Credentials
    watermark: Watermark | None = None


class Pdq(Frozen):
    """PDQ of the published pixels: finds the picture again after its metadata is gone."""

    #: 256 bits as 64 hexadecimal characters.
    hash: Sha256
    #: 0 to 100; below 50 the picture is too plain for a match to mean anything.
    quality: int = Field(ge=0, le=100)
