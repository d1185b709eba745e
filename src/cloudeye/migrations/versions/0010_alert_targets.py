"""Where alerts go."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cloudeye.migrations.operations import TABLE
from cloudeye.models import Id, Json, UtcDateTime

revision = "0010"
down_revision = "0009"
kind = "expand"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alert_targets",
        sa.Column("id", Id, nullable=False),
        sa.Column("owner_id", Id, nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("address", sa.String(2048), nullable=False),
        sa.Column("secret", sa.String(80)),
        sa.Column("kinds", Json),
        sa.Column("minimum_severity", sa.String(8), nullable=False),
        sa.Column("confirmed_at", UtcDateTime),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("error", sa.String(255)),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alert_targets"),
        sa.UniqueConstraint("owner_id", "name", name="uq_alert_targets_owner_id_name"),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name="fk_alert_targets_owner_id", ondelete="CASCADE"),
        **TABLE,
    )


def downgrade() -> None:
    op.drop_table("alert_targets")
