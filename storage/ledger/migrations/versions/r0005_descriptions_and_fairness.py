"""Descriptions in several languages, what fairness added to a prompt, and whose turn it is in a rotation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("image", sa.Column("descriptions", sa.Text(), server_default=sa.text("'[]'"), nullable=False))
    op.add_column("image", sa.Column("fairness", sa.Text(), nullable=True))
    op.create_table(
        "rotation",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("cycle", sa.String(length=80), nullable=False),
        sa.Column("unit", sa.String(length=64), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "cycle", "unit", name="pk_rotation"),
    )
    op.create_index("rotation_place", "rotation", ["tenant", "cycle", "place"], unique=False)

