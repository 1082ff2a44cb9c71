"""Keys of tenants, what was erased when, erasures and legal holds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

#: Rows of these lose their words some days after they have ended.
_WITH_WORDS = ("image", "batch", "delivery", "finetune")


def upgrade() -> None:
    op.create_table(
        "tenant_key",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("wrapped", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("erased_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "number", name="pk_tenant_key"),
    )
    op.create_table(
        "erasure",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("waits_for", sa.Text(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("keys", sa.Text(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("removed", sa.Text(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("requested_at", sa.Double(), nullable=False),
        sa.Column("done_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_erasure"),
    )
    still_open = sa.text("state <> 'done'")
    op.create_index(
        "erasure_open", "erasure", ["id"], unique=False, sqlite_where=still_open, postgresql_where=still_open
    )
    op.create_index("erasure_subject", "erasure", ["tenant", "subject"], unique=False)
    op.create_table(
        "legal_hold",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("placed_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "subject", name="pk_legal_hold"),
    )
    ended = sa.text("ended_at IS NOT NULL AND erased_at IS NULL")
    for table in _WITH_WORDS:
        op.add_column(table, sa.Column("erased_at", sa.Double(), nullable=True))
        op.create_index(
            f"{table}_words", table, ["ended_at"], unique=False, sqlite_where=ended, postgresql_where=ended
        )
    op.add_column("job", sa.Column("erased_at", sa.Double(), nullable=True))
