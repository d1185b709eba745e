"""Public pages that say how sites are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cloudeye.migrations.operations import TABLE
from cloudeye.models import Id, UtcDateTime

revision = "0015"
down_revision = "0014"
kind = "expand"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "status_pages",
        sa.Column("id", Id, nullable=False),
        sa.Column("owner_id", Id, nullable=False),
        sa.Column("slug", sa.String(64), nullable=False),
        sa.Column("title", sa.String(120), nullable=False),
        sa.Column("tag", sa.String(40)),
        sa.Column("language", sa.String(16), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_status_pages"),
        sa.UniqueConstraint("slug", name="uq_status_pages_slug"),
        sa.UniqueConstraint("owner_id", "id", name="uq_status_pages_owner_id_id"),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name="fk_status_pages_owner_id", ondelete="CASCADE"),
        **TABLE,
    )


def downgrade() -> None:
    op.drop_table("status_pages")
