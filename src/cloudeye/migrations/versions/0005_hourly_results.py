"""Results of an hour, added up."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cloudeye.migrations.operations import UNNUMBERED_TABLE
from cloudeye.models import Id, LongText, UtcDateTime

revision = "0005"
down_revision = "0004"
kind = "expand"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "hourly_results",
        sa.Column("site_id", Id, nullable=False),
        sa.Column("hour", UtcDateTime, nullable=False),
        sa.Column("checks", sa.Integer, nullable=False),
        sa.Column("down", sa.Integer, nullable=False),
        sa.Column("maintenance", sa.Integer, nullable=False),
        sa.Column("timed", sa.Integer, nullable=False),
        sa.Column("latency_ms", sa.Double, nullable=False),
        sa.Column("dns_ms", sa.Double, nullable=False),
        sa.Column("connect_ms", sa.Double, nullable=False),
        sa.Column("tls_ms", sa.Double, nullable=False),
        sa.Column("first_byte_ms", sa.Double, nullable=False),
        sa.Column("total_ms", sa.Double, nullable=False),
        sa.Column("latencies", LongText),
        sa.PrimaryKeyConstraint("site_id", "hour", name="pk_hourly_results"),
        sa.UniqueConstraint("hour", "site_id", name="uq_hourly_results_hour_site_id"),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name="fk_hourly_results_site_id", ondelete="CASCADE"),
        **UNNUMBERED_TABLE,
    )


def downgrade() -> None:
    op.drop_table("hourly_results")
