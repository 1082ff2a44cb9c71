"""Picture files: what they show, what they say, and what their receipts will say about them."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from microbatches import a_task
from PIL import Image
from signed_pictures import FORMATS, a_signer, signed_file, some_pixels, task_of, unsigned_file

from safety.picture_hash import distance, picture_hash
from safety.provenance.ingredients import ingredient_record
from safety.provenance.reading import read_picture
from schemas.description import Description
from schemas.errors import SigningRefused, StoreUnavailable
from schemas.object_keys import ingredient_key, input_key
from schemas.provenance import SOURCE_TYPES, Credentials, Watermark
from schemas.request import Format
from storage.objects.memory import MemoryStore
from workers.encode import EXTENSIONS, MEDIA_TYPES, Encoder

GENERATED = SOURCE_TYPES + "trainedAlgorithmicMedia"
COMPOSITE = SOURCE_TYPES + "compositeWithTrainedAlgorithmicMedia"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(bucket="results")


@pytest.fixture
def encoder(store: MemoryStore) -> Encoder:
    return Encoder(stores=lambda tenant: store, signer=a_signer())


@pytest.mark.parametrize("format", FORMATS)
def test_file_shows_the_picture_and_says_what_made_it(encoder: Encoder, format: Format) -> None:
    """Every format decodes to the picture and carries source type, alt text and a signature over both."""
    smooth = np.linspace(0, 255, 48 * 48 * 3).reshape(48, 48, 3).astype(np.uint8)
    encoded = encoder.encode(a_task(1, format=format), smooth)
    decoded = np.asarray(Image.open(io.BytesIO(encoded.data)).convert("RGB")).astype(int)
    facts = read_picture(encoded.data)

    assert f"image/{format}" == encoded.media_type == facts.media_type == MEDIA_TYPES[format]
    assert decoded.shape == (48, 48, 3) and abs(decoded - smooth).mean() < (0.1 if format == "png" else 4)
    assert (GENERATED, "valid") == (facts.xmp_source_type, facts.manifest.state)
    assert {"x-default": "Mug 1", "en": "Mug 1"} == facts.alt
    assert EXTENSIONS[format]


@pytest.mark.parametrize("format", FORMATS)
def test_all_languages_of_a_task_are_in_the_file(encoder: Encoder, format: Format) -> None:
    """Alt texts and long descriptions of every language that the task brings."""
    descriptions = (
        Description(lang="de", alt="Rote Tasse", long_description="Eine rote Tasse auf Holz."),
        Description(lang="en", alt="Red mug"),
    )
    task = a_task(1, format=format).model_copy(update={"descriptions": descriptions})
    facts = read_picture(encoder.encode(task, some_pixels()).data)

    assert {"x-default": "Rote Tasse", "de": "Rote Tasse", "en": "Red mug"} == facts.alt
    assert {"x-default", "de"} == set(facts.long_description)


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_pixels_give_the_same_picture(encoder: Encoder, format: Format) -> None:
    """Signatures differ from file to file; pixels and XMP do not, and without a signer neither do the bytes."""
    task = a_task(1, format=format)
    first, second = (encoder.encode(task, some_pixels()).data for _ in range(2))
    shown = [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in (first, second)]
    bare = Encoder(stores=lambda tenant: MemoryStore(bucket="b"), signer=None)

    assert first != second and np.array_equal(*shown)
    assert read_picture(first).alt == read_picture(second).alt
    assert bare.encode(task, some_pixels()) == bare.encode(task, some_pixels())


@pytest.mark.parametrize("format", ["jpeg", "webp", "avif"])
def test_quality_is_obeyed(encoder: Encoder, format: Format) -> None:
    """A lower quality gives a smaller file."""
    high, low = (
        encoder.encode(task_of(a_task(1), format=format, quality=quality), some_pixels(128)).data
        for quality in (95, 20)
    )
    assert len(low) < len(high)


def test_the_receipt_learns_what_was_written(encoder: Encoder) -> None:
    """Source type, certificate, how far to trust it, the watermark, and the hash that finds the picture again."""
    mark = Watermark(name="com.adobe.trustmark.Q", payload="1*0110")
    encoded = encoder.encode(a_task(1), some_pixels(), mark)

    assert encoded.provenance is not None and encoded.pdq is not None
    credentials = encoded.provenance.c2pa
    assert (
        credentials.signed
        and credentials.certificate_sha256
        and "integrity, not identity" == credentials.trust
    )
    assert mark == encoded.provenance.watermark == read_picture(encoded.data).manifest.watermark
    assert 0 == distance(encoded.pdq, picture_hash(some_pixels()))


def test_a_file_that_is_not_signed_is_said_to_be_unsigned(store: MemoryStore) -> None:
    """Where the operator turned signing off, XMP still marks the picture and the receipt hides nothing."""
    encoded = Encoder(stores=lambda tenant: store, signer=None).encode(a_task(1), some_pixels())
    facts = read_picture(encoded.data)

    assert encoded.provenance is not None and Credentials() == encoded.provenance.c2pa
    assert ("none", GENERATED) == (facts.manifest.state, facts.xmp_source_type) and facts.says_ai


def test_no_prompt_tenant_or_job_is_in_the_file(encoder: Encoder) -> None:
    """A file tells where it comes from and nothing about whoever asked for it."""
    task = task_of(a_task(1), prompt="a very secret launch", negative_prompt="a very secret dislike")
    task = task.model_copy(update={"tenant": "very-secret-tenant"})
    data = encoder.encode(task, some_pixels()).data

    for word in (b"secret", task.job.encode(), task.image.encode(), task.digest.encode()):
        assert word not in data


def test_an_edit_names_the_picture_that_came_as_it_was(encoder: Encoder, store: MemoryStore) -> None:
    """An input kept as it came is an ingredient, with its own manifest."""
    upload = signed_file("jpeg", seed=5)
    sha256 = hashlib.sha256(upload).hexdigest()
    store.put(input_key(sha256), upload, media_type="image/jpeg")
    facts = read_picture(encoder.encode(task_of(a_task(1), image=sha256, strength=0.5), some_pixels()).data)

    assert (COMPOSITE,) == facts.manifest.source_types and COMPOSITE == facts.xmp_source_type
    assert [("image", "parentOf", sha256, "valid")] == [
        (one.title, one.relationship, one.sha256, one.state) for one in facts.manifest.ingredients
    ]


def test_an_edit_names_the_picture_that_was_cleaned(encoder: Encoder, store: MemoryStore) -> None:
    """An input that was stripped on arrival has its record beside it; what lies in its place is not asked."""
    upload = signed_file("jpeg", seed=5)
    sha256 = hashlib.sha256(upload).hexdigest()
    store.put(input_key(sha256), unsigned_file("png", seed=5), media_type="image/png")
    store.put(ingredient_key(sha256), ingredient_record(upload, "image/jpeg"), media_type="application/c2pa")
    task = task_of(a_task(1), image=sha256, mask=sha256, strength=0.5)
    facts = read_picture(encoder.encode(task, some_pixels()).data)

    assert {("image", "valid"), ("mask", "valid")} == {
        (one.title, one.state) for one in facts.manifest.ingredients
    }


def test_an_edit_of_a_bare_picture_still_names_it(encoder: Encoder, store: MemoryStore) -> None:
    """A cleaned input without a record, and one that is gone by now, are named by their digests."""
    store.put(input_key("1" * 64), unsigned_file("png"), media_type="image/png")
    task = task_of(a_task(1), image="1" * 64, mask="2" * 64, strength=0.5)
    facts = read_picture(encoder.encode(task, some_pixels()).data)

    assert {("image", "1" * 64, "none"), ("mask", "2" * 64, "none")} == {
        (one.title, one.sha256, one.state) for one in facts.manifest.ingredients
    }


def test_what_the_store_cannot_tell_is_not_guessed(store: MemoryStore) -> None:
    """A store that does not answer stops the file: an ingredient must not be lost in silence."""

    class Away(MemoryStore):
        def get(self, key: str, **_: object) -> bytes:
            raise StoreUnavailable

    away = Away(bucket="results")
    encoder = Encoder(stores=lambda tenant: away, signer=a_signer())
    with pytest.raises(StoreUnavailable):
        encoder.encode(task_of(a_task(1), image="1" * 64, strength=0.5), some_pixels())


def test_a_spoilt_record_gives_no_file(encoder: Encoder, store: MemoryStore) -> None:
    """A record that is none ends in a typed error, not in a picture that forgets where it came from."""
    store.put(ingredient_key("1" * 64), b"no archive", media_type="application/c2pa")
    with pytest.raises(SigningRefused):
        encoder.encode(task_of(a_task(1), image="1" * 64, strength=0.5), some_pixels())
