"""A microbatch as a Celery task message: protocol 2, put together without Celery."""

from __future__ import annotations

from schemas.microbatch import Microbatch
from storage.broker.publisher import Outgoing
from storage.broker.sealed_body import seal_body

#: The only task there is.
TASK_NAME = "aquatint.render"


def task_message(microbatch: Microbatch, queue: str, message_key: bytes = b"") -> Outgoing:
    """The message by which a Celery worker runs `TASK_NAME` with the microbatch's JSON, sealed or not, as its only argument."""
    headers = {
        "lang": "py",
        "task": TASK_NAME,
        "id": microbatch.id,
        "root_id": microbatch.id,
        "parent_id": None,
        "retries": 0,
        "eta": None,
        "expires": None,
        "ignore_result": True,
        # Celery logs its arguments by these: without them it would log the prompts.
        "argsrepr": "(<microbatch>,)",
        "kwargsrepr": "{}",
    }
    body = f"[[{seal_body(message_key, microbatch.model_dump_json(), queue)}],{{}},{{}}]"
    return Outgoing(queue=queue, body=body, headers=headers, properties={"correlation_id": microbatch.id})
