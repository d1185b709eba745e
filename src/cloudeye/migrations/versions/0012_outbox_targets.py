"""For which target a message is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cloudeye.models import Id

revision = "0012"
down_revision = "0011"
kind = "expand"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_columns(
        "outbox",
        sa.Column("target_id", Id),
        indexes={"ix_outbox_target_id": ["target_id"]},
    )


def downgrade() -> None:
    op.drop_columns(
        "outbox",
        "target_id",
        indexes=["ix_outbox_target_id"],
    )
