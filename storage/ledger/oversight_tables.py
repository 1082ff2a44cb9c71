"""The ledger's tables about what people look at: reviews, the audit log, refusals, and the standing of tenants."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    text,
)

from storage.ledger.tables import metadata


def _partial(name: str, *columns: str, where: str) -> Index:
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


#: One picture that a person decides about.
review = Table(
    "review",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("image", String(40), nullable=False),
    Column("job", String(40), nullable=False),
    Column("tenant", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    #: JSON of the output's schemas.verdict.Verdict, with its scores: for reviewers, never for the tenant.
    Column("verdict", Text, nullable=False),
    #: JSON of schemas.outcome.QuarantineRef.
    Column("quarantined", Text, nullable=False),
    #: Two people must release it, neither of them its tenant's own.
    Column("hard_floor", Boolean, nullable=False),
    #: open -> claimed -> released | rejected; expired, and withdrawn when the image was canceled.
    Column("state", String(12), nullable=False),
    #: Who holds it while it is claimed, and who decided afterwards.
    Column("reviewer", String(64)),
    Column("lease_until", Double),
    #: The first of two who released it.
    Column("first_release_by", String(64)),
    Column("reason", Text),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("decided_at", Double),
    #: When the image ended: at once, but for a release, whose picture has to be published first.
    Column("settled_at", Double),
    #: When the quarantined picture is to be discarded; NULL = when somebody says so.
    Column("keep_until", Double),
    Column("discarded_at", Double),
    Index("review_image", "image", unique=True),
    Index("review_tenant", "tenant", "id"),
    _partial("review_open", "id", where="state IN ('open', 'claimed')"),
    _partial("review_unsettled", "id", where="state = 'released' AND settled_at IS NULL"),
    _partial("review_kept", "keep_until", where="discarded_at IS NULL AND keep_until IS NOT NULL"),
)

#: What was decided, refused or changed, in a chain of hashes: rows are added and never touched again.
audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("kind", String(40), nullable=False),
    #: "worker", "intake", "abuse", "reviewer:NAME", "operator:NAME".
    Column("actor", String(80), nullable=False),
    Column("tenant", String(64)),
    #: The id of what it tells of.
    Column("about", String(80)),
    #: Canonical JSON of ids, codes and digests; never a prompt.
    Column("data", Text, nullable=False),
    Column("prev_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    _partial("audit_policies", "seq", where="kind IN ('policy.installed', 'policy.withdrawn')"),
)

#: The end of that chain, in the one row whose lock lets writers pass one by one.
audit_head = Table(
    "audit_head",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
)

#: What was refused to a tenant, by the minute; rows outlive their window by little.
refusal = Table(
    "refusal",
    metadata,
    Column("tenant", String(64), nullable=False),
    #: Unix seconds // 60.
    Column("minute", BigInteger, nullable=False),
    Column("refused", Integer, nullable=False),
    #: Those of them that never became images, as a refused request does.
    Column("unplanned", Integer, nullable=False),
    PrimaryKeyConstraint("tenant", "minute"),
    Index("refusal_minute", "minute"),
)

#: Tenants that are, or once were, not in good standing.
standing = Table(
    "standing",
    metadata,
    Column("tenant", String(64), primary_key=True),
    #: good | throttled | suspended
    Column("state", String(12), nullable=False),
    Column("reason", Text, nullable=False),
    #: "abuse", or the operator who said so.
    Column("set_by", String(80), nullable=False),
    Column("since", Double, nullable=False),
    #: Refusals before this moment have been forgiven.
    Column("counted_from", Double, nullable=False),
)
