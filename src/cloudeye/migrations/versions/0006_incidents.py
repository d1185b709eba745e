"""Times in which a site was down."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cloudeye.migrations.operations import TABLE
from cloudeye.models import Id, UtcDateTime

revision = "0006"
down_revision = "0005"
kind = "expand"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "incidents",
        sa.Column("id", Id, nullable=False),
        sa.Column("site_id", Id, nullable=False),
        sa.Column("started_at", UtcDateTime, nullable=False),
        sa.Column("ended_at", UtcDateTime),
        sa.Column("cause", sa.String(255), nullable=False),
        sa.Column("status_code", sa.SmallInteger),
        sa.PrimaryKeyConstraint("id", name="pk_incidents"),
        sa.UniqueConstraint("site_id", "started_at", name="uq_incidents_site_id_started_at"),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name="fk_incidents_site_id", ondelete="CASCADE"),
        **TABLE,
    )


def downgrade() -> None:
    op.drop_table("incidents")
