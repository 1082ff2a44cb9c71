"""The ledger's tables. Times are Unix seconds (UTC) as double precision; JSON is text."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: `deadline` of an image that has none: later than any real one, so that the ready index can order by it.
NO_DEADLINE = 9_999_999_999.0


def _counters() -> tuple[Column[int], ...]:
    """Final states of the images of a job or batch; they move only by rows that changed."""
    names = ("total", "rendered", "blocked", "failed", "canceled", "expired", "sequence")
    return tuple(Column(name, Integer, nullable=False, server_default=text("0")) for name in names)


def _partial(name: str, *columns: str, where: str) -> Index:
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


def _words(table: str) -> Index:
    """What the sweep seeks by that drops the words of what has ended."""
    return _partial(f"{table}_words", "ended_at", where="ended_at IS NOT NULL AND erased_at IS NULL")


#: One row per picture to be made: the unit of state, safety, billing and redrive.
image = Table(
    "image",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("job", String(40), nullable=False),
    Column("batch", String(40)),
    Column("lane", SmallInteger, nullable=False),  # 0 interactive, 1 bulk
    Column("batch_key", String(160), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("spec", Text, nullable=False),
    Column("alt", Text, nullable=False, server_default=text("''")),
    Column("lang", String(16), nullable=False, server_default=text("'en'")),
    Column("copy_key", Text),
    Column("state", String(12), nullable=False),
    Column("deadline", Double, nullable=False, server_default=text(str(NO_DEADLINE))),
    Column("start_by", Double),
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    #: JSON list of the workers that died with this image on the GPU.
    Column("deaths", Text, nullable=False, server_default=text("'[]'")),
    Column("microbatch", String(40)),
    #: JSON of the final outcome (schemas.outcome).
    Column("result", Text),
    Column("created_at", Double, nullable=False),
    Column("ended_at", Double),
    #: JSON list of schemas.description.Description, the first of which is `alt` and `lang`.
    Column("descriptions", Text, nullable=False, server_default=text("'[]'")),
    #: JSON of schemas.fairness.Variation; it holds added words, no prompt.
    Column("fairness", Text),
    #: When its words were dropped; what is left are states, numbers and, unless its customer had it erased, its digest.
    Column("erased_at", Double),
    # Only what the releaser seeks by, and nothing on images that are not waiting: the cost of a claim must not grow
    # with the backlog of others nor with what has ended.
    _partial("image_ready", "lane", "tenant", "batch_key", "deadline", "id", where="state = 'planned'"),
    _partial("image_suspect", "id", where="state = 'suspect'"),
    _partial("image_held", "batch", "job", where="state = 'held'"),
    _partial("image_start_by", "start_by", where="state IN ('planned', 'released') AND start_by IS NOT NULL"),
    _words("image"),
    Index("image_job", "job"),
    Index("image_batch", "batch", "id"),
    Index("image_digest", "tenant", "digest"),
)

#: One accepted request.
job = Table(
    "job",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("batch", String(40)),
    #: Row of the manifest, from 1 (the header is not counted), and what identifies it across runs.
    Column("row", Integer),
    Column("row_key", Text),
    Column("recipe", String(80)),
    Column("prompt_verdict", Text),
    #: JSON list of coarse schemas.verdict.Verdict, of stage upload.
    Column("upload_verdicts", Text),
    *_counters(),
    Column("webhook_url", Text),
    #: JSON list of event types.
    Column("webhook_events", Text),
    Column("metadata", Text, nullable=False, server_default=text("'{}'")),
    Column("traceparent", String(64)),
    Column("created_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("erased_at", Double),
    Index("job_batch", "batch", "row"),
    Index("job_tenant", "tenant", "id"),
)

#: Whose turn it is in a rotation of looks: the same unit (a product, or one shot of a prompt) keeps its place for ever, so
#: that a manifest that comes again names the same images, whatever was added to it.
rotation = Table(
    "rotation",
    metadata,
    Column("tenant", String(64), nullable=False),
    #: Digest of what is rotated and towards which target.
    Column("cycle", String(80), nullable=False),
    #: HMAC-SHA256 under a key of the installation: it may stand for a prompt.
    Column("unit", String(64), nullable=False),
    Column("place", Integer, nullable=False),
    PrimaryKeyConstraint("tenant", "cycle", "unit"),
    Index("rotation_place", "tenant", "cycle", "place"),
)

#: One accepted manifest: a group of jobs.
batch = Table(
    "batch",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("bucket", String(255), nullable=False),
    Column("key", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("recipe", String(80)),
    #: planning -> planned -> finishing (results being written) -> ended
    Column("phase", String(12), nullable=False),
    #: Rows of the manifest already turned into jobs or row errors; moves in the transaction that adds them.
    Column("cursor", Integer, nullable=False, server_default=text("0")),
    Column("jobs", Integer, nullable=False, server_default=text("0")),
    Column("rejected_rows", Integer, nullable=False, server_default=text("0")),
    *_counters(),
    #: JSON problem when the manifest as a whole could not be read.
    Column("error", Text),
    Column("webhook_url", Text),
    Column("webhook_events", Text),
    Column("traceparent", String(64)),
    Column("results_key", Text),
    Column("errors_key", Text),
    #: JSON of schemas.webhook.NearDuplicates, once the batch has ended.
    Column("near_duplicates", Text),
    Column("created_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("erased_at", Double),
    _partial("batch_open", "id", where="phase <> 'ended'"),
    _words("batch"),
    Index("batch_tenant", "tenant", "id"),
)

#: A manifest row that could not become a job.
row_error = Table(
    "row_error",
    metadata,
    Column("batch", String(40), nullable=False),
    Column("row", Integer, nullable=False),
    Column("tenant", String(64), nullable=False),
    Column("problem", Text, nullable=False),
    PrimaryKeyConstraint("batch", "row"),
)

#: Events that were accepted, so that a repeat is recognised.
event = Table(
    "event",
    metadata,
    Column("tenant", String(64), nullable=False),
    Column("source", Text, nullable=False),
    Column("id", Text, nullable=False),
    #: The job or batch it became.
    Column("became", String(40), nullable=False),
    Column("received_at", Double, nullable=False),
    PrimaryKeyConstraint("tenant", "source", "id"),
)

#: Rows exist only while the microbatch is outstanding.
microbatch = Table(
    "microbatch",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("worker", String(64), nullable=False),
    Column("batch_key", String(160), nullable=False),
    #: JSON list of image ids.
    Column("images", Text, nullable=False),
    Column("solo", Boolean, nullable=False),
    Column("expected_seconds", Double, nullable=False),
    Column("released_at", Double, nullable=False),
    Column("started_at", Double),
    Column("gpu_done_at", Double),
    Column("lease_until", Double, nullable=False),
    Column("good_until", Double, nullable=False),
    Index("microbatch_worker", "worker"),
)

#: Workers as their heartbeats describe them.
worker = Table(
    "worker",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("pool", String(64), nullable=False),
    Column("queue", String(128), nullable=False),
    #: JSON object: model name to digest.
    Column("models", Text, nullable=False),
    Column("accepting", Boolean, nullable=False),
    Column("first_seen_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False),
    #: When it went silent with work in its hands; cleared by the next heartbeat.
    Column("lost_at", Double),
)

#: How far the recorder has read: from `since` to `at` every report was recorded soon after it was sent. A worker counts
#: as silent only in that span, so that a stopped recorder or broker never looks like the death of the whole fleet.
mark = Table(
    "mark",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("since", Double, nullable=False),
    Column("at", Double, nullable=False),
)

#: Exponentially weighted sums of (images, GPU seconds) per batch key: seconds = a + b * images by least squares.
render_cost = Table(
    "render_cost",
    metadata,
    Column("batch_key", String(160), primary_key=True),
    Column("weight", Double, nullable=False),
    Column("n", Double, nullable=False),
    Column("nn", Double, nullable=False),
    Column("t", Double, nullable=False),
    Column("nt", Double, nullable=False),
)

#: Where a tenant wants webhooks.
endpoint = Table(
    "endpoint",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("url", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("failing_since", Double),
    Column("consecutive_failures", Integer, nullable=False, server_default=text("0")),
    Column("disabled_at", Double),
    Column("disabled_reason", String(16)),
    UniqueConstraint("tenant", "url"),
)

#: One webhook owed to one endpoint; written in the transaction that changes the state it tells of.
delivery = Table(
    "delivery",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("endpoint", String(40), nullable=False),
    Column("type", String(40), nullable=False),
    #: The job or batch it tells of.
    Column("about", String(40), nullable=False),
    Column("body", Text, nullable=False),
    Column("traceparent", String(64)),
    #: pending -> delivered | abandoned
    Column("state", String(12), nullable=False),
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    #: When it may be sent; a claim moves it forward by the claimer's lease.
    Column("next_attempt_at", Double, nullable=False),
    Column("last_status", SmallInteger),
    Column("last_error", Text),
    Column("created_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("erased_at", Double),
    _partial("delivery_due", "next_attempt_at", where="state = 'pending'"),
    _words("delivery"),
    _partial("delivery_owed", "endpoint", "next_attempt_at", where="state = 'pending'"),
    Index("delivery_about", "about"),
    Index("delivery_endpoint", "endpoint", "id"),
)

#: Answers to requests that carried an Idempotency-Key.
idempotency = Table(
    "idempotency",
    metadata,
    Column("tenant", String(64), nullable=False),
    Column("route", String(128), nullable=False),
    Column("key", String(255), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("status", SmallInteger),
    Column("headers", Text),
    Column("body", Text),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    PrimaryKeyConstraint("tenant", "route", "key"),
)

#: One accepted request for a fine-tune.
finetune = Table(
    "finetune",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("tenant", String(64), nullable=False),
    #: Of the adapter that comes out.
    Column("name", String(64), nullable=False),
    Column("model", String(64), nullable=False),
    Column("base_digest", String(64), nullable=False),
    #: JSON of schemas.finetune.FinetuneSpec: all that a trainer needs.
    Column("spec", Text, nullable=False),
    #: queued -> released -> running -> completed | failed; canceled from the first three.
    Column("state", String(12), nullable=False),
    #: The release that counts: a report about another one is stale.
    Column("run", String(40)),
    Column("trainer", String(64)),
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    #: JSON list of the trainers that died with it.
    Column("deaths", Text, nullable=False, server_default=text("'[]'")),
    #: JSON of the last schemas.finetune.Progress.
    Column("progress", Text),
    #: JSON of schemas.finetune.Trained when completed, of a failure when failed.
    Column("result", Text),
    Column("webhook_url", Text),
    Column("metadata", Text, nullable=False, server_default=text("'{}'")),
    Column("traceparent", String(64)),
    Column("created_at", Double, nullable=False),
    Column("released_at", Double),
    Column("lease_until", Double),
    Column("started_at", Double),
    Column("ended_at", Double),
    Column("erased_at", Double),
    _partial("finetune_open", "id", where="state IN ('queued', 'released', 'running')"),
    _words("finetune"),
    Index("finetune_tenant", "tenant", "id"),
)

#: Trainers as their heartbeats describe them.
trainer = Table(
    "trainer",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("queue", String(128), nullable=False),
    #: JSON object: model name to digest, of what it can fine-tune.
    Column("models", Text, nullable=False),
    Column("accepting", Boolean, nullable=False),
    #: The run in its hands.
    Column("run", String(40)),
    Column("seen_at", Double, nullable=False),
)

#: What a tenant's adapter names stand for. Images keep the digest in their specs, so that a name may come to mean another.
adapter = Table(
    "adapter",
    metadata,
    Column("tenant", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("model", String(64), nullable=False),
    #: Of the weights that it was trained on.
    Column("base_digest", String(64), nullable=False),
    Column("rank", Integer, nullable=False),
    #: The words that call it up; empty: it shows whenever it is named.
    Column("trigger", String(64), nullable=False, server_default=text("''")),
    #: The fine-tune that made it, if one of ours did.
    Column("finetune", String(40)),
    #: JSON object: what was measured on it.
    Column("scores", Text, nullable=False, server_default=text("'{}'")),
    Column("created_at", Double, nullable=False),
    Column("deleted_at", Double),
    PrimaryKeyConstraint("tenant", "name"),
)

#: Data keys, wrapped under the installation's secret. Texts of the tenant name theirs by its number; new ones take the highest.
tenant_key = Table(
    "tenant_key",
    metadata,
    Column("tenant", String(64), nullable=False),
    Column("number", Integer, nullable=False),
    #: NULL once it was dropped: what it sealed can be read nowhere any more.
    Column("wrapped", Text),
    Column("created_at", Double, nullable=False),
    Column("erased_at", Double),
    PrimaryKeyConstraint("tenant", "number"),
)

#: What was asked to be erased, committed before anything is removed, so that a crash in between only delays it.
erasure = Table(
    "erasure",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("tenant", String(64), nullable=False),
    #: A job or a batch by its id, or empty for everything of the tenant.
    Column("subject", String(64), nullable=False),
    #: waiting (for microbatches that may still store pictures) -> removing -> watching (for a worker that was given up
    #: and stores a picture all the same) -> done
    Column("state", String(12), nullable=False),
    #: JSON list of microbatches.
    Column("waits_for", Text, nullable=False, server_default=text("'[]'")),
    #: JSON list of the objects to be removed again at the end of the watch; sealed.
    Column("keys", Text, nullable=False, server_default=text("'[]'")),
    #: JSON object: how much of what was removed.
    Column("removed", Text, nullable=False, server_default=text("'{}'")),
    Column("requested_at", Double, nullable=False),
    Column("done_at", Double),
    _partial("erasure_open", "id", where="state <> 'done'"),
    Index("erasure_subject", "tenant", "subject"),
)

#: What may not be erased while a law or a court says so.
legal_hold = Table(
    "legal_hold",
    metadata,
    Column("tenant", String(64), nullable=False),
    #: As in `erasure`.
    Column("subject", String(64), nullable=False),
    Column("placed_at", Double, nullable=False),
    PrimaryKeyConstraint("tenant", "subject"),
)

#: Pictures that tenants' requests brought, as they lie in the results stores.
kept_input = Table(
    "kept_input",
    metadata,
    Column("tenant", String(64), nullable=False),
    Column("sha256", String(64), nullable=False),
    #: As it is kept.
    Column("bytes", BigInteger, nullable=False),
    #: Whether it was sent or fetched, and counts towards the tenant's quota; copies of a tenant's own objects do not.
    Column("counted", Boolean, nullable=False),
    Column("added_at", Double, nullable=False),
    #: When a request last named it, to the hour.
    Column("used_at", Double, nullable=False),
    #: Since when its objects are being removed; nobody may come to need it then.
    Column("removing_at", Double),
    PrimaryKeyConstraint("tenant", "sha256"),
    Index("kept_input_used", "used_at"),
)

#: What needs a kept picture: a job, a batch or a fine-tune, by its id.
input_use = Table(
    "input_use",
    metadata,
    Column("tenant", String(64), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("owner", String(40), nullable=False),
    PrimaryKeyConstraint("tenant", "sha256", "owner"),
)
