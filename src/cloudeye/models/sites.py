"""What is watched: what its owner asks for, and where the watching stands."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Double, ForeignKey, Index, Integer, ScalarSelect, SmallInteger, String, UniqueConstraint, select
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column, relationship

from cloudeye.models.base import TABLE, Base, Id, Json, LongText, UtcDateTime, gathered, utcnow
from cloudeye.models.people import User

STATES = ("up", "down", "unknown")
TAMPER_STATES = ("unknown", "unchanged", "changed")
SEVERITIES = ("info", "low", "medium", "high", "critical")


class Site(Base):
    """A website that is watched, and what the last look at it said."""

    __tablename__ = "sites"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    owner_id: Mapped[int] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"), index=True)

    # What the owner asks for.
    name: Mapped[str] = mapped_column(String(120))
    url: Mapped[str] = mapped_column(String(2048))
    interval: Mapped[int] = mapped_column(Integer)  # seconds between two probes
    timeout: Mapped[float | None] = mapped_column(Double)  # seconds for a probe; None: the stack's
    method: Mapped[str] = mapped_column(String(8), default="GET", server_default="GET")
    headers: Mapped[dict[str, str] | None] = mapped_column(Json)  # sent along
    body: Mapped[str | None] = mapped_column(LongText)  # sent along
    expected_statuses: Mapped[str] = mapped_column(String(120), default="200-399", server_default="200-399")
    keyword_present: Mapped[str | None] = mapped_column(String(255))
    keyword_absent: Mapped[str | None] = mapped_column(String(255))
    follow_redirects: Mapped[bool] = mapped_column(default=True, server_default="1")
    retries: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")  # before it counts as down
    maintenance: Mapped[list[dict[str, Any]] | None] = mapped_column(Json)  # windows, see services/maintenance.py
    paused: Mapped[bool] = mapped_column(default=False, server_default="0")
    alert_targets: Mapped[list[int] | None] = mapped_column(Json)  # their numbers; None: all of the owner's
    ignore_rules: Mapped[dict[str, list[str]] | None] = mapped_column(Json)  # see services/tamper/rules.py
    redirect_paths: Mapped[list[str] | None] = mapped_column(Json)  # asked for open redirects, {url} in each

    # Usability: what the last probe said.
    state: Mapped[str] = mapped_column(String(8), default="unknown")
    status_code: Mapped[int | None] = mapped_column(SmallInteger)
    latency_ms: Mapped[float | None] = mapped_column(Double)
    error: Mapped[str | None] = mapped_column(String(255))
    last_checked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    state_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failures: Mapped[int] = mapped_column(Integer, default=0, server_default="0")  # probes in a row that failed
    failing_since: Mapped[datetime | None] = mapped_column(UtcDateTime)  # the first of them

    # Tamper: what the page was like.
    body_digest: Mapped[str | None] = mapped_column(String(64))  # SHA-256 of the body last looked into
    tamper_state: Mapped[str] = mapped_column(String(12), default="unknown", server_default="unknown")
    tamper_severity: Mapped[str | None] = mapped_column(String(8))  # of the change from the baseline
    tamper_since: Mapped[datetime | None] = mapped_column(UtcDateTime)  # when tamper_state last changed
    baseline_id: Mapped[int | None] = mapped_column(Id)  # of a PageVersion
    page_hash: Mapped[str | None] = mapped_column(String(64))  # of the version last seen

    # Bugs: what is weak.
    headers_digest: Mapped[str | None] = mapped_column(String(64))  # SHA-256 of what was last inspected
    inspected_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    certificate_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    certificate_warned: Mapped[int | None] = mapped_column(SmallInteger)  # days: the last threshold that was told
    grade: Mapped[str | None] = mapped_column(String(2))
    score: Mapped[int | None] = mapped_column(SmallInteger)
    worst_severity: Mapped[str | None] = mapped_column(String(8))  # of findings that are not fixed
    open_findings: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    control_token: Mapped[str | None] = mapped_column(String(64))
    controlled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # control was last proven; None: it is not

    # When it is looked at next, and by whom.
    next_check_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=utcnow, index=True)
    claimed_by: Mapped[str | None] = mapped_column(String(120))
    claimed_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    next_scan_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
    scan_claimed_by: Mapped[str | None] = mapped_column(String(120))
    scan_claimed_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    rolled_until: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)  # results before it are rolled up

    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)

    version: Mapped[int] = mapped_column(Integer, default=1)  # counts the owner's changes, not the probes' results

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy's way

    owner: Mapped[User] = relationship()
    tag_rows: Mapped[list[SiteTag]] = relationship(
        cascade="all, delete-orphan", passive_deletes=True, lazy="selectin", order_by="SiteTag.tag"
    )

    @hybrid_property
    def tags(self) -> list[str]:
        """The words its owner files it under."""
        return [row.tag for row in self.tag_rows]

    @tags.inplace.expression
    @classmethod
    def _tags_column(cls) -> ScalarSelect[list[str]]:
        return select(gathered(SiteTag.tag)).where(SiteTag.site_id == cls.id).scalar_subquery()


class SiteTag(Base):
    """A word that sites are filed under."""

    __tablename__ = "site_tags"
    __table_args__: Any = (UniqueConstraint("tag", "site_id"), TABLE)

    site_id: Mapped[int] = mapped_column(
        Id, ForeignKey("sites.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    tag: Mapped[str] = mapped_column(String(40), primary_key=True)


class CheckResult(Base):
    """One probe of one site."""

    __tablename__ = "check_results"
    __table_args__: Any = (
        Index("ix_check_results_site_id_checked_at", "site_id", "checked_at"),
        TABLE,
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    site_id: Mapped[int] = mapped_column(Id, ForeignKey("sites.id", ondelete="CASCADE"))
    checked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    state: Mapped[str] = mapped_column(String(8))
    status_code: Mapped[int | None] = mapped_column(SmallInteger)
    latency_ms: Mapped[float | None] = mapped_column(Double)
    error: Mapped[str | None] = mapped_column(String(255))
    dns_ms: Mapped[float | None] = mapped_column(Double)
    connect_ms: Mapped[float | None] = mapped_column(Double)
    tls_ms: Mapped[float | None] = mapped_column(Double)
    first_byte_ms: Mapped[float | None] = mapped_column(Double)
    total_ms: Mapped[float | None] = mapped_column(Double)
    maintenance: Mapped[bool] = mapped_column(default=False, server_default="0")


class HourlyResult(Base):
    """The probes of one site in one hour, added up; kept much longer than they are."""

    __tablename__ = "hourly_results"
    __table_args__: Any = (UniqueConstraint("hour", "site_id"), {**TABLE, "sqlite_autoincrement": False})

    site_id: Mapped[int] = mapped_column(
        Id, ForeignKey("sites.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    hour: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)  # its beginning
    checks: Mapped[int] = mapped_column(Integer)  # outside of maintenance
    down: Mapped[int] = mapped_column(Integer)  # of them
    maintenance: Mapped[int] = mapped_column(Integer)
    timed: Mapped[int] = mapped_column(Integer)  # of the checks: those the following are of, in sums of milliseconds
    latency_ms: Mapped[float] = mapped_column(Double)
    dns_ms: Mapped[float] = mapped_column(Double)
    connect_ms: Mapped[float] = mapped_column(Double)
    tls_ms: Mapped[float] = mapped_column(Double)
    first_byte_ms: Mapped[float] = mapped_column(Double)
    total_ms: Mapped[float] = mapped_column(Double)
    latencies: Mapped[str | None] = mapped_column(LongText)  # their distribution, see services/usability/sketch.py


class Incident(Base):
    """A time in which a site was down; without an end it still is."""

    __tablename__ = "incidents"
    __table_args__: Any = (
        UniqueConstraint("site_id", "started_at"),
        Index("ix_incidents_owner_id_ended_at", "owner_id", "ended_at"),
        TABLE,
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    site_id: Mapped[int] = mapped_column(Id, ForeignKey("sites.id", ondelete="CASCADE"))
    owner_id: Mapped[int | None] = mapped_column(Id, index=True)  # the site's; no foreign key: the site has it
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
    cause: Mapped[str] = mapped_column(String(255))  # code and text of the first failure
    status_code: Mapped[int | None] = mapped_column(SmallInteger)
