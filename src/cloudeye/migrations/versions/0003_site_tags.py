"""Words that sites are filed under."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cloudeye.migrations.operations import TABLE
from cloudeye.models import Id

revision = "0003"
down_revision = "0002"
kind = "expand"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "site_tags",
        sa.Column("site_id", Id, nullable=False),
        sa.Column("tag", sa.String(40), nullable=False),
        sa.PrimaryKeyConstraint("site_id", "tag", name="pk_site_tags"),
        sa.UniqueConstraint("tag", "site_id", name="uq_site_tags_tag_site_id"),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name="fk_site_tags_site_id", ondelete="CASCADE"),
        **TABLE,
    )


def downgrade() -> None:
    op.drop_table("site_tags")
