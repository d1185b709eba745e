"""Whose site an incident was of, and indexes to list incidents across sites and to forget them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cloudeye.models import Id

revision = "0013"
down_revision = "0012"
kind = "expand"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_incidents_owner_id": ["owner_id"],
    "ix_incidents_owner_id_ended_at": ["owner_id", "ended_at"],
    "ix_incidents_ended_at": ["ended_at"],
}


def upgrade() -> None:
    op.add_columns("incidents", sa.Column("owner_id", Id), indexes=INDEXES)


def downgrade() -> None:
    op.drop_columns("incidents", "owner_id", indexes=list(INDEXES))
