"""Weaknesses."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cloudeye.migrations.operations import TABLE
from cloudeye.models import Id, UtcDateTime

revision = "0009"
down_revision = "0008"
kind = "expand"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "findings",
        sa.Column("id", Id, nullable=False),
        sa.Column("site_id", Id, nullable=False),
        sa.Column("code", sa.String(40), nullable=False),
        sa.Column("subject", sa.String(160), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("severity", sa.String(8), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("evidence", sa.Text),
        sa.Column("note", sa.String(255)),
        sa.Column("acknowledged_by", Id),
        sa.Column("acknowledged_at", UtcDateTime),
        sa.Column("first_seen_at", UtcDateTime, nullable=False),
        sa.Column("last_seen_at", UtcDateTime, nullable=False),
        sa.Column("fixed_at", UtcDateTime),
        sa.PrimaryKeyConstraint("id", name="pk_findings"),
        sa.UniqueConstraint("site_id", "code", "subject", name="uq_findings_site_id_code_subject"),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name="fk_findings_site_id", ondelete="CASCADE"),
        **TABLE,
    )


def downgrade() -> None:
    op.drop_table("findings")
