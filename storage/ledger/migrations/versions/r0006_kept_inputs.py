"""Pictures that tenants keep with us, who needs them, and near copies among the images of a batch."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "kept_input",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("counted", sa.Boolean(), nullable=False),
        sa.Column("added_at", sa.Double(), nullable=False),
        sa.Column("used_at", sa.Double(), nullable=False),
        sa.Column("removing_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "sha256", name="pk_kept_input"),
    )
    op.create_index("kept_input_used", "kept_input", ["used_at"], unique=False)
    op.create_table(
        "input_use",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "sha256", "owner", name="pk_input_use"),
    )
    op.add_column("batch", sa.Column("near_duplicates", sa.Text(), nullable=True))
    op.add_column("job", sa.Column("upload_verdicts", sa.Text(), nullable=True))
