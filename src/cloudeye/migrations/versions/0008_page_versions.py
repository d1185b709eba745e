"""Pages as they were seen."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cloudeye.migrations.operations import TABLE
from cloudeye.models import Id, Json, LongText, UtcDateTime

revision = "0008"
down_revision = "0007"
kind = "expand"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "page_versions",
        sa.Column("id", Id, nullable=False),
        sa.Column("site_id", Id, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("seen_at", UtcDateTime, nullable=False),
        sa.Column("status_code", sa.SmallInteger),
        sa.Column("severity", sa.String(8)),
        sa.Column("changes", Json),
        sa.Column("diff", LongText),
        sa.Column("accepted_at", UtcDateTime),
        sa.PrimaryKeyConstraint("id", name="pk_page_versions"),
        sa.UniqueConstraint("hash", "id", name="uq_page_versions_hash_id"),
        sa.UniqueConstraint("site_id", "id", name="uq_page_versions_site_id_id"),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name="fk_page_versions_site_id", ondelete="CASCADE"),
        **TABLE,
    )


def downgrade() -> None:
    op.drop_table("page_versions")
