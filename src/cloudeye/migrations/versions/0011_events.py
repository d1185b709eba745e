"""Changes that somebody wants to know of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cloudeye.migrations.operations import TABLE
from cloudeye.models import Id, Json, UtcDateTime

revision = "0011"
down_revision = "0010"
kind = "expand"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("id", Id, nullable=False),
        sa.Column("event_id", sa.String(32), nullable=False),
        sa.Column("site_id", Id, nullable=False),
        sa.Column("owner_id", Id, nullable=False),
        sa.Column("kind", sa.String(12), nullable=False),
        sa.Column("severity", sa.String(8)),
        sa.Column("data", Json, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("dispatch_after", UtcDateTime),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sa.UniqueConstraint("created_at", "id", name="uq_events_created_at_id"),
        sa.UniqueConstraint("dispatch_after", "id", name="uq_events_dispatch_after_id"),
        sa.UniqueConstraint("event_id", name="uq_events_event_id"),
        sa.UniqueConstraint("owner_id", "id", name="uq_events_owner_id_id"),
        sa.UniqueConstraint("site_id", "id", name="uq_events_site_id_id"),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name="fk_events_owner_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name="fk_events_site_id", ondelete="CASCADE"),
        **TABLE,
    )


def downgrade() -> None:
    op.drop_table("events")
