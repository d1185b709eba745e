"""Where the time of a probe went."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
kind = "expand"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_columns(
        "check_results",
        sa.Column("dns_ms", sa.Double),
        sa.Column("connect_ms", sa.Double),
        sa.Column("tls_ms", sa.Double),
        sa.Column("first_byte_ms", sa.Double),
        sa.Column("total_ms", sa.Double),
        sa.Column("maintenance", sa.Boolean, nullable=False, server_default="0"),
    )


def downgrade() -> None:
    op.drop_columns(
        "check_results",
        "dns_ms",
        "connect_ms",
        "tls_ms",
        "first_byte_ms",
        "total_ms",
        "maintenance",
    )
