"""${message}

One DDL statement: MariaDB's are not transactional, so a step that fails must be a whole one. `flask check-migrations`
says whether it suits its kind.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
kind = "expand"  # or "contract", when it takes away what this release and the one before do without
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
