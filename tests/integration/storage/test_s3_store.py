"""What only a remote store can do: lose an answer, conflict, refuse, ignore a header, or not be there."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from schemas.errors import (
    AquatintError,
    BadSettings,
    ObjectMissing,
    StoreDenied,
    StoreFull,
    StoreUnavailable,
    StoreUnfit,
)
from services import Aws, free_port
from storage.objects import s3 as s3_module
from storage.objects.directory import DirectoryStore
from storage.objects.location import open_store
from storage.objects.s3 import S3Store, connect
from storage.objects.store import Capabilities


class Meddling:
    """A real client with some of its calls replaced; each replacement gets the real call and its arguments."""

    def __init__(self, client: Any, **calls: Callable[..., Any]) -> None:
        self._client, self._calls = client, calls

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._client, name)
        if name not in self._calls:
            return real
        return lambda **arguments: self._calls[name](real, **arguments)


def refusal(code: str, status: int, operation: str = "PutObject") -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)


@pytest.fixture
def client(s3: Aws) -> Any:
    return s3.client("s3")


def test_a_repeated_put_whose_first_answer_was_lost_is_our_success(client: Any, bucket: str) -> None:
    """The SDK repeats the put and the store refuses the repetition: still reported as created."""

    def answer_lost(real: Any, **put: Any) -> Any:
        real(**put)
        return real(**put)

    store = S3Store(bucket=bucket, client=client)
    store.probe()
    store._client = Meddling(client, put_object=answer_lost)
    put = store.put("k", b"data")

    assert put.created and put.sha256 == hashlib.sha256(b"data").hexdigest()
    assert store.get("k") == b"data"


def test_a_conflict_is_tried_again(client: Any, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """409 is a race that is not decided yet; the put goes on and succeeds."""
    monkeypatch.setattr(s3_module, "CONFLICT_PAUSE_SECONDS", 0.0)
    left = [2]

    def conflict(real: Any, **put: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise refusal("ConditionalRequestConflict", 409)
        return real(**put)

    store = S3Store(bucket=bucket, client=client)
    store.probe()
    store._client = Meddling(client, put_object=conflict)

    assert store.put("k", b"data").created and left == [0]


def test_endless_conflicts_end_as_unavailable(
    client: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a few tries the caller hears StoreUnavailable, which is retryable."""
    monkeypatch.setattr(s3_module, "CONFLICT_PAUSE_SECONDS", 0.0)

    def conflict(real: Any, **put: Any) -> Any:
        raise refusal("ConditionalRequestConflict", 409)

    store = S3Store(bucket=bucket, client=client)
    store.probe()
    store._client = Meddling(client, put_object=conflict)

    with pytest.raises(StoreUnavailable) as failed:
        store.put("k", b"data")
    assert failed.value.retryable


def ignoring(header: str) -> Callable[..., Any]:
    def put(real: Any, **arguments: Any) -> Any:
        arguments.pop(header, None)
        return real(**arguments)

    return put


def test_a_store_that_ignores_if_none_match(client: Any, bucket: str) -> None:
    """The probe sees it, and a create looks first: what is there still stays."""
    store = S3Store(bucket=bucket, client=Meddling(client, put_object=ignoring("IfNoneMatch")))

    assert not store.probe().conditional_create
    assert store.put("k", b"first").created
    second = store.put("k", b"second")
    assert not second.created and second.sha256 == hashlib.sha256(b"first").hexdigest()
    assert store.get("k") == b"first"


def test_the_probe_tells_the_forms_of_if_match_apart(client: Any, bucket: str) -> None:
    """Quoted on an honest store, bare on one that refuses quotes, "no" on one that ignores the header."""

    def only_bare(real: Any, **put: Any) -> Any:
        if '"' in put.get("IfMatch", ""):
            raise refusal("PreconditionFailed", 412)
        return real(**put)

    honest = S3Store(bucket=bucket, client=client).probe()
    quirky = S3Store(bucket=bucket, client=Meddling(client, put_object=only_bare)).probe()
    deaf = S3Store(bucket=bucket, client=Meddling(client, put_object=ignoring("IfMatch"))).probe()

    assert honest == Capabilities(conditional_create=True, conditional_replace="quoted", delete=True)
    assert (quirky.conditional_replace, deaf.conditional_replace) == ("bare", "no")


def test_a_store_without_permission_to_delete_is_still_probed(client: Any, bucket: str) -> None:
    """Least-privilege credentials of a worker need no delete; the scratch object stays out of listings."""

    def deny(real: Any, **arguments: Any) -> Any:
        raise refusal("AccessDenied", 403, "DeleteObject")

    store = S3Store(bucket=bucket, client=Meddling(client, delete_object=deny))

    assert not store.probe().delete
    assert list(store.list()) == []
    with pytest.raises(StoreDenied):
        store.delete("k")


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("AccessDenied", 403, StoreDenied),
        ("SignatureDoesNotMatch", 403, StoreDenied),
        ("InvalidAccessKeyId", 403, StoreDenied),
        ("ExpiredToken", 400, StoreDenied),
        ("QuotaExceeded", 403, StoreFull),
        ("XMinioStorageFull", 507, StoreFull),
        ("SlowDown", 503, StoreUnavailable),
        ("InternalError", 500, StoreUnavailable),
        ("", 502, StoreUnavailable),
        ("TooManyRequests", 429, StoreUnavailable),
        ("NoSuchBucket", 404, StoreUnfit),
        ("NotImplemented", 501, StoreUnfit),
        ("InvalidArgument", 400, StoreUnfit),
    ],
)
def test_each_refusal_says_who_acts(
    client: Any, bucket: str, code: str, status: int, expected: type[AquatintError]
) -> None:
    """The store's code becomes a typed error, for writing and for reading."""

    def refuse(real: Any, **arguments: Any) -> Any:
        raise refusal(code, status)

    store = S3Store(bucket=bucket, client=client)
    store.probe()
    store._client = Meddling(client, put_object=refuse, get_object=refuse, head_object=refuse)
    for call in (lambda: store.put("k", b"x"), lambda: store.get("k"), lambda: store.head("k")):
        with pytest.raises(expected):
            call()


def test_a_missing_bucket_is_the_operators(s3: Aws) -> None:
    """Writing, reading, looking and listing name the bucket; none of them takes it for a missing object."""
    store = S3Store(bucket=f"gone-{uuid.uuid4().hex}", client=s3.client("s3"))
    calls: list[Callable[[], object]] = [
        store.probe,
        lambda: store.put("k", b"x"),
        lambda: store.get("k"),
        lambda: store.head("k"),
        lambda: list(store.list()),
    ]
    for call in calls:
        with pytest.raises(StoreUnfit, match="no such bucket"):
            call()


def test_a_store_that_is_not_there() -> None:
    """A refused connection is StoreUnavailable, and the sentence holds no secret."""
    client = connect(
        endpoint_url=f"http://127.0.0.1:{free_port()}",
        access_key_id="AKIAEXAMPLE",
        secret_access_key="very-secret",
        connect_timeout_seconds=2.0,
    )
    store = S3Store(bucket="results", client=client)
    for call in (store.probe, lambda: store.get("k"), lambda: list(store.list())):
        with pytest.raises(StoreUnavailable) as failed:
            call()
        assert "very-secret" not in str(failed.value) and "AKIA" not in str(failed.value)


def test_a_body_that_breaks_off(client: Any, bucket: str) -> None:
    """A connection that dies while the bytes come is StoreUnavailable, never a short object."""

    class Broken:
        def read(self) -> bytes:
            raise ReadTimeoutError(endpoint_url="http://store.example")

    def break_off(real: Any, **arguments: Any) -> Any:
        return real(**arguments) | {"Body": Broken()}

    store = S3Store(bucket=bucket, client=client)
    store.put("k", b"data")
    store._client = Meddling(client, get_object=break_off)
    for call in (lambda: store.get("k"), lambda: store.get_range("k", 0, 2)):
        with pytest.raises(StoreUnavailable):
            call()


def test_without_credentials(s3: Aws, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials anywhere is StoreDenied in one sentence."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")

    store = S3Store(bucket=bucket, client=connect(endpoint_url=s3.endpoint_url))
    with pytest.raises(StoreDenied, match="credentials"):
        store.probe()


def test_foreign_objects_are_read_as_they_are(client: Any, bucket: str) -> None:
    """An upload of a customer: any key S3 can hold, no SHA-256 of ours, metadata in whatever case."""
    for key in ("a//b.csv", "/leading.csv", "../up.csv", "folder/"):
        client.put_object(
            Bucket=bucket, Key=key, Body=b"sku\n", ContentType="text/csv", Metadata={"Owner": "Shop"}
        )
    store = S3Store(bucket=bucket, client=client)
    info = store.head("a//b.csv")

    assert info is not None
    assert (info.sha256, info.media_type, info.metadata) == (None, "text/csv", {"owner": "Shop"})
    for key in ("a//b.csv", "/leading.csv", "folder/"):
        assert store.get(key) == b"sku\n"


def test_checksums_and_addresses_for_foreign_endpoints() -> None:
    """A foreign endpoint gets path-style addresses and no unasked checksums; Amazon keeps the SDK's defaults."""
    foreign = connect(endpoint_url="http://127.0.0.1:9", access_key_id="a", secret_access_key="b").meta.config
    amazon = connect(region="eu-central-1", access_key_id="a", secret_access_key="b").meta.config
    chosen = connect(
        endpoint_url="http://127.0.0.1:9", checksums="when_supported", max_connections=64
    ).meta.config

    assert (foreign.request_checksum_calculation, foreign.s3["addressing_style"]) == ("when_required", "path")
    assert (amazon.request_checksum_calculation, amazon.s3["addressing_style"]) == ("when_supported", "auto")
    assert {foreign.signature_version, amazon.signature_version} == {"s3v4"}
    assert (chosen.request_checksum_calculation, chosen.max_pool_connections) == ("when_supported", 64)


def test_a_store_by_its_location(
    s3: Aws, bucket: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder, a bucket, a bucket with a prefix; anything else is BadSettings."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret_access_key)
    whole = open_store(f"s3://{bucket}", bucket="results", endpoint_url=s3.endpoint_url)
    part = open_store(f"s3://{bucket}/deep/er/", bucket="results", endpoint_url=s3.endpoint_url)
    folder = open_store(str(tmp_path / "objects"), bucket="results")
    part.probe()
    part.put("k", b"x")

    assert [entry.key for entry in whole.list()] == ["deep/er/k"] and whole.bucket == bucket
    assert isinstance(folder, DirectoryStore) and folder.bucket == "results"
    for location in ("gs://bucket", "s3://", "s3:///prefix"):
        with pytest.raises(BadSettings):
            open_store(location, bucket="results")
    with pytest.raises(ObjectMissing):
        part.get("deep/er/k")
