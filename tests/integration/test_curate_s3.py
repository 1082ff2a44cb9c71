"""Curation from a bucket and into one."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import typer
from curation_sources import encoded, scene, write_source
from typer.testing import CliRunner

from deploy.commands.curate import curate
from deploy.curation_place import StorePlace, open_source
from models.curation.curate import curate as run
from models.curation.reasons import Reason, Refused
from models.curation.settings import CurationSettings
from schemas.errors import AquatintError
from services import Aws

PLAIN = {
    "buckets": {"sizes": [[64, 64]]},
    "duplicates": {"near": False},
    "text": {"reader": "none"},
    "outliers": {"encoder": "none"},
}


@pytest.fixture
def filled(aws: Aws, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket with pictures, captions, a listing and a folder mark below `shop/`, and what lies beside it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", aws.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", aws.secret_access_key)
    client = aws.client("s3")
    for path in write_source(tmp_path / "source", 4).iterdir():
        client.put_object(Bucket=bucket, Key=f"shop/{path.name}", Body=path.read_bytes())
    client.put_object(Bucket=bucket, Key="shop/set/", Body=b"")
    client.put_object(
        Bucket=bucket,
        Key="shop/set/list.csv",
        Body=b"image,caption\nq.png,a mug\nmissing.png,x\n../p000.png,y\n",
    )
    client.put_object(Bucket=bucket, Key="shop/set/q.png", Body=encoded(scene(9)))
    client.put_object(Bucket=bucket, Key="other/secret.png", Body=encoded(scene(8)))
    return bucket


def test_from_a_bucket_and_into_one(
    aws: Aws, filled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same shards as from the folder, in the bucket, with the index; nothing beside the prefix is seen."""
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "HOME": str(tmp_path / "home"),
        "S3_ENDPOINT_URL": aws.endpoint_url,
        "S3_REGION": aws.region,
    }.items():
        monkeypatch.setenv(f"AQUATINT_{name}", value)
    app = typer.Typer()
    app.command()(curate)
    options = ["--no-near", "--no-text", "--workers", "1", "--bucket", "64x64"]
    result = CliRunner().invoke(app, [f"s3://{filled}/shop", f"s3://{filled}/done", *options])
    client = aws.client("s3")
    keys = {entry["Key"] for entry in client.list_objects_v2(Bucket=filled, Prefix="done/")["Contents"]}
    index = json.loads(client.get_object(Bucket=filled, Key="done/index.json")["Body"].read())

    assert 0 == result.exit_code, result.output
    assert {
        "done/index.json",
        "done/report.html",
        "done/report.json",
        "done/decisions.jsonl",
        "done/shard-000000.tar",
    } == keys
    assert 4 == index["samples"]
    assert {"no_caption": 1, "not_a_picture": 1} == index["dropped"]


def test_a_listing_in_a_bucket(aws: Aws, filled: str, tmp_path: Path) -> None:
    """A listing names objects below its own prefix; others are missing for it, whatever path it takes."""
    source = open_source(f"s3://{filled}/shop/set/list.csv", endpoint_url=aws.endpoint_url, region=aws.region)
    report = run(source, tmp_path / "out", CurationSettings.model_validate(PLAIN))

    assert (3, 1) == (report.seen, report.kept)
    assert {"missing_file": 2} == report.dropped or {"missing_file": 1, "bad_name": 1} == report.dropped


def test_a_place_survives_pickling_and_says_what_is_missing(aws: Aws, filled: str) -> None:
    """Worker processes open their own connection; a missing object is a refusal, an unreachable store is not."""
    place = pickle.loads(
        pickle.dumps(
            StorePlace(location=f"s3://{filled}/shop", endpoint_url=aws.endpoint_url, region=aws.region)
        )
    )
    data = place.read("p000.png", 0, 10**6)

    assert encoded(scene(0)) == data
    assert data[5:9] == place.read("p000.png", 5, 4)
    with pytest.raises(Refused) as refused:
        place.read("nothing.png", 0, 10)
    assert Reason.MISSING_FILE == refused.value.reason
    nowhere = StorePlace(
        location="s3://no-such-bucket-here/x", endpoint_url=aws.endpoint_url, region=aws.region
    )
    with pytest.raises(AquatintError):
        nowhere.read("p000.png", 0, 10)
