"""What owners ask for of a site, and what is known of its page and its weaknesses."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cloudeye.models import Id, Json, LongText, UtcDateTime

revision = "0002"
down_revision = "0001"
kind = "expand"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_columns(
        "sites",
        sa.Column("timeout", sa.Double),
        sa.Column("method", sa.String(8), nullable=False, server_default="GET"),
        sa.Column("headers", Json),
        sa.Column("body", LongText),
        sa.Column("expected_statuses", sa.String(120), nullable=False, server_default="200-399"),
        sa.Column("keyword_present", sa.String(255)),
        sa.Column("keyword_absent", sa.String(255)),
        sa.Column("follow_redirects", sa.Boolean, nullable=False, server_default="1"),
        sa.Column("retries", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("maintenance", Json),
        sa.Column("paused", sa.Boolean, nullable=False, server_default="0"),
        sa.Column("alert_targets", Json),
        sa.Column("ignore_rules", Json),
        sa.Column("redirect_paths", Json),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("failing_since", UtcDateTime),
        sa.Column("body_digest", sa.String(64)),
        sa.Column("tamper_state", sa.String(12), nullable=False, server_default="unknown"),
        sa.Column("tamper_severity", sa.String(8)),
        sa.Column("tamper_since", UtcDateTime),
        sa.Column("baseline_id", Id),
        sa.Column("page_hash", sa.String(64)),
        sa.Column("headers_digest", sa.String(64)),
        sa.Column("inspected_at", UtcDateTime),
        sa.Column("certificate_expires_at", UtcDateTime),
        sa.Column("certificate_warned", sa.SmallInteger),
        sa.Column("grade", sa.String(2)),
        sa.Column("score", sa.SmallInteger),
        sa.Column("worst_severity", sa.String(8)),
        sa.Column("open_findings", sa.Integer, nullable=False, server_default="0"),
        sa.Column("control_token", sa.String(64)),
        sa.Column("controlled_at", UtcDateTime),
        sa.Column("next_scan_at", UtcDateTime),
        sa.Column("scan_claimed_by", sa.String(120)),
        sa.Column("scan_claimed_until", UtcDateTime),
        sa.Column("rolled_until", UtcDateTime),
        indexes={"ix_sites_next_scan_at": ["next_scan_at"], "ix_sites_rolled_until": ["rolled_until"]},
    )


def downgrade() -> None:
    op.drop_columns(
        "sites",
        "timeout",
        "method",
        "headers",
        "body",
        "expected_statuses",
        "keyword_present",
        "keyword_absent",
        "follow_redirects",
        "retries",
        "maintenance",
        "paused",
        "alert_targets",
        "ignore_rules",
        "redirect_paths",
        "failures",
        "failing_since",
        "body_digest",
        "tamper_state",
        "tamper_severity",
        "tamper_since",
        "baseline_id",
        "page_hash",
        "headers_digest",
        "inspected_at",
        "certificate_expires_at",
        "certificate_warned",
        "grade",
        "score",
        "worst_severity",
        "open_findings",
        "control_token",
        "controlled_at",
        "next_scan_at",
        "scan_claimed_by",
        "scan_claimed_until",
        "rolled_until",
        indexes=["ix_sites_next_scan_at", "ix_sites_rolled_until"],
    )
