"""Pictures held for review, the audit log, refusals, and the standing of tenants."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _reviews()
    _audit()
    _standing()
    _partial("image_held", "image", ["batch", "job"], "state = 'held'")


def _reviews() -> None:
    op.create_table(
        "review",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("image", sa.String(length=40), nullable=False),
        sa.Column("job", sa.String(length=40), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("quarantined", sa.Text(), nullable=False),
        sa.Column("hard_floor", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("reviewer", sa.String(length=64), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("first_release_by", sa.String(length=64), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("decided_at", sa.Double(), nullable=True),
        sa.Column("settled_at", sa.Double(), nullable=True),
        sa.Column("keep_until", sa.Double(), nullable=True),
        sa.Column("discarded_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_review"),
    )
    op.create_index("review_image", "review", ["image"], unique=True)
    op.create_index("review_tenant", "review", ["tenant", "id"], unique=False)
    _partial("review_open", "review", ["id"], "state IN ('open', 'claimed')")
    _partial("review_unsettled", "review", ["id"], "state = 'released' AND settled_at IS NULL")
    _partial("review_kept", "review", ["keep_until"], "discarded_at IS NULL AND keep_until IS NOT NULL")


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=True),
        sa.Column("about", sa.String(length=80), nullable=True),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("prev_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit"),
    )
    _partial("audit_policies", "audit", ["seq"], "kind IN ('policy.installed', 'policy.withdrawn')")
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )
    op.bulk_insert(head, [{"id": 1, "seq": 0, "hash": "0" * 64}])


def _standing() -> None:
    op.create_table(
        "refusal",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("unplanned", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "minute", name="pk_refusal"),
    )
    op.create_index("refusal_minute", "refusal", ["minute"], unique=False)
    op.create_table(
        "standing",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("set_by", sa.String(length=80), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("counted_from", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", name="pk_standing"),
    )


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=False, sqlite_where=condition, postgresql_where=condition)
