"""The schema the project starts with: users, sites, and the results of their checks.

Every later migration holds one DDL statement: MariaDB's are not transactional, so a step that fails must be
a whole one.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cloudeye.models import Id, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLE = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin", "mysql_engine": "InnoDB"}


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", Id, nullable=False),
        sa.Column("username", sa.String(80), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("email_key", sa.String(254), nullable=False),
        sa.Column("phone", sa.String(20)),
        sa.Column("password_hash", sa.String(255)),
        sa.Column("role", sa.String(8), nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("email_key", name="uq_users_email_key"),
        sa.UniqueConstraint("phone", name="uq_users_phone"),
        **TABLE,
    )
    op.create_table(
        "sites",
        sa.Column("id", Id, nullable=False),
        sa.Column("owner_id", Id, nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("url", sa.String(2048), nullable=False),
        sa.Column("interval", sa.Integer, nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("status_code", sa.SmallInteger),
        sa.Column("latency_ms", sa.Double),
        sa.Column("error", sa.String(255)),
        sa.Column("last_checked_at", UtcDateTime),
        sa.Column("state_since", UtcDateTime),
        sa.Column("next_check_at", UtcDateTime),
        sa.Column("claimed_by", sa.String(120)),
        sa.Column("claimed_until", UtcDateTime),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sites"),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name="fk_sites_owner_id", ondelete="CASCADE"),
        **TABLE,
    )
    op.create_index("ix_sites_owner_id", "sites", ["owner_id"])
    op.create_index("ix_sites_next_check_at", "sites", ["next_check_at"])
    op.create_table(
        "check_results",
        sa.Column("id", Id, nullable=False),
        sa.Column("site_id", Id, nullable=False),
        sa.Column("checked_at", UtcDateTime, nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("status_code", sa.SmallInteger),
        sa.Column("latency_ms", sa.Double),
        sa.Column("error", sa.String(255)),
        sa.PrimaryKeyConstraint("id", name="pk_check_results"),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name="fk_check_results_site_id", ondelete="CASCADE"),
        **TABLE,
    )
    op.create_index("ix_check_results_site_id_checked_at", "check_results", ["site_id", "checked_at"])


def downgrade() -> None:
    op.drop_table("check_results")
    op.drop_table("sites")
    op.drop_table("users")
