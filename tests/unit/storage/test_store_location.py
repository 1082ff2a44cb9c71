"""Where stores may be, before anything is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import BadSettings
from schemas.object_event import ObjectCreated
from storage.objects.location import is_s3, localised, refuse_loop


@pytest.mark.parametrize(
    ("uploads", "results"),
    [
        ("s3://shop", "s3://shop"),
        ("s3://shop", "s3://shop/results"),
        ("s3://shop/in/", "s3://shop/in/out"),
        ("/data/uploads", "/data/uploads"),
        ("/data/uploads", "/data/uploads/results/"),
        ("/data/uploads", "/data/elsewhere/../uploads/results"),
        ("uploads", str(Path.cwd() / "uploads" / "results")),
    ],
)
def test_results_among_the_uploads_are_refused(uploads: str, results: str) -> None:
    """Every image would be announced as an upload; the sentence names the setting."""
    with pytest.raises(BadSettings) as wrong:
        refuse_loop(uploads=uploads, results=results)

    assert wrong.value.field == "results_store"


@pytest.mark.parametrize(
    ("uploads", "results"),
    [
        ("s3://shop/in", "s3://shop/out"),
        ("s3://shop/in", "s3://shop/inside"),
        ("s3://shop-in", "s3://shop"),
        ("/data/uploads", "/data/objects"),
        ("/data/uploads", "/data/uploads-results"),
        ("/data/all/uploads", "/data/all"),
        ("s3://shop", "/shop"),
    ],
)
def test_places_apart_are_accepted(uploads: str, results: str) -> None:
    """Neighbours with similar names are no loop."""
    refuse_loop(uploads=uploads, results=results)

    assert is_s3(uploads) == uploads.startswith("s3://")


@pytest.mark.parametrize(
    ("location", "named", "expected"),
    [
        ("s3://shop", ("shop", "a/b.csv"), "a/b.csv"),
        ("s3://shop/in/lists/", ("shop", "in/lists/a/b.csv"), "a/b.csv"),
        ("s3://shop/in", ("shop", "inside.csv"), None),
        ("s3://shop/in", ("shop", "in/"), None),
        ("s3://shop/in", ("other", "in/a.csv"), None),
        ("/data/uploads", ("uploads", "a/b.csv"), "a/b.csv"),
        ("/data/uploads", ("shop", "a/b.csv"), None),
    ],
)
def test_an_upload_gets_the_key_that_our_store_knows(
    location: str, named: tuple[str, str], expected: str | None
) -> None:
    """Without the prefix and under our own bucket name; what lies elsewhere is not ours to read."""
    event = ObjectCreated(bucket=named[0], key=named[1], version="v", size=7)
    found = localised(event, location=location, bucket="uploads")

    assert (found.key if found else None) == expected
    assert found is None or (found.bucket, found.version, found.size) == ("uploads", "v", 7)
