"""The same thing on the parts of a production: RabbitMQ, PostgreSQL, S3 and its notifications by SQS."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from embedded_stack import check_counters, check_webhooks, running_stack

from schemas.outcome import ImageRendered
from services import Aws

ROWS = "".join(f"SKU-{n},mug,{colour},white,128x128,2\n" for n, colour in enumerate(("red", "blue", "green")))


def notified_queue(aws: Aws, bucket: str) -> str:
    """An SQS queue that the bucket tells of new objects; its URL."""
    sqs, s3 = aws.client("sqs"), aws.client("s3")
    url = sqs.create_queue(QueueName=f"uploads-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    wanted = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=wanted)
    return str(url)


@pytest.mark.timeout(600)
def test_from_a_bucket_to_a_bucket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rabbitmq: str, postgres: str, s3: Aws, sqs: Aws, bucket: str
) -> None:
    """A list put into S3 becomes pictures, receipts, copies and results in S3, by way of SQS, PostgreSQL and RabbitMQ."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret_access_key)
    elsewhere = {
        "AQUATINT_LEDGER_URL": postgres,
        "AQUATINT_SECRET_KEY": "one secret for every host of this test",
        "AQUATINT_BROKER_URL": rabbitmq,
        "AQUATINT_RESULTS_STORE": f"s3://{bucket}/results",
        "AQUATINT_UPLOADS_STORE": f"s3://{bucket}/uploads",
        "AQUATINT_UPLOADS_QUEUE_URL": notified_queue(sqs, bucket),
        "AQUATINT_S3_ENDPOINT_URL": s3.endpoint_url,
        "AQUATINT_S3_REGION": s3.region,
    }
    client = s3.client("s3")
    with running_stack(tmp_path / "home", **elsewhere) as stack:
        body = "sku,product,colour,background,sizes,count\n" + ROWS
        client.put_object(Bucket=bucket, Key="uploads/spring list+1.csv", Body=body.encode())
        stack.wait_until_settled(6)
        check_counters(stack)
        check_webhooks(stack)
        stored = [ImageRendered.model_validate_json(row.result).stored for row in stack.rows("SELECT result FROM image")]
        (batch,) = stack.rows("SELECT * FROM batch")
        keys = {entry["Key"] for entry in client.list_objects_v2(Bucket=bucket)["Contents"]}
        results = client.get_object(Bucket=bucket, Key=f"results/{batch.results_key}")["Body"].read()

    assert "spring list+1.csv" == batch.key
    assert {f"results/{one.key}" for one in stored} | {f"results/{one.receipt_key}" for one in stored} <= keys
    assert 6 == len({one.copy_key for one in stored} & {key.removeprefix("results/") for key in keys})
    assert 6 == len([json.loads(line) for line in results.splitlines()])
