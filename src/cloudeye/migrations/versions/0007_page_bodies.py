"""What pages held."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cloudeye.migrations.operations import UNNUMBERED_TABLE
from cloudeye.models import LongBinary, UtcDateTime

revision = "0007"
down_revision = "0006"
kind = "expand"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "page_bodies",
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("body", LongBinary, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_page_bodies"),
        sa.UniqueConstraint("created_at", "hash", name="uq_page_bodies_created_at_hash"),
        **UNNUMBERED_TABLE,
    )


def downgrade() -> None:
    op.drop_table("page_bodies")
