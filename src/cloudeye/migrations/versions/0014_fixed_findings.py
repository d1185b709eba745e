"""An index by which findings that were fixed long ago are forgotten."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
kind = "expand"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_findings_fixed_at", "findings", ["fixed_at"])


def downgrade() -> None:
    op.drop_index("ix_findings_fixed_at", "findings")
