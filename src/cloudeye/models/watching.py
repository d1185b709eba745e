"""What watching found beside up and down, who is told, and what anybody may see.

An index that comes with its table ends in the row's number, which makes it unique: a unique constraint is part of
CREATE TABLE, so that each migration stays one statement.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Integer, SmallInteger, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from cloudeye.models.base import TABLE, Base, Id, Json, LongBinary, LongText, UtcDateTime, utcnow

FINDING_STATES = ("open", "acknowledged", "fixed")
EVENT_KINDS = ("down", "up", "page", "finding", "certificate")
TARGET_KINDS = ("mail", "webhook", "slack")


class PageBody(Base):
    """What a page held, compressed, once however often and wherever it was seen."""

    __tablename__ = "page_bodies"
    __table_args__: Any = (UniqueConstraint("created_at", "hash"), {**TABLE, "sqlite_autoincrement": False})

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)  # SHA-256
    body: Mapped[bytes] = mapped_column(LongBinary)
    size: Mapped[int] = mapped_column(Integer)  # bytes before compression
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


class PageVersion(Base):
    """A page as it was seen at a time, and how it differed from the baseline."""

    __tablename__ = "page_versions"
    __table_args__: Any = (UniqueConstraint("site_id", "id"), UniqueConstraint("hash", "id"), TABLE)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    site_id: Mapped[int] = mapped_column(Id, ForeignKey("sites.id", ondelete="CASCADE"))
    hash: Mapped[str] = mapped_column(String(64))  # of a PageBody
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    status_code: Mapped[int | None] = mapped_column(SmallInteger)
    severity: Mapped[str | None] = mapped_column(String(8))  # of the change; None: this was the baseline
    changes: Mapped[list[dict[str, Any]] | None] = mapped_column(Json)
    diff: Mapped[str | None] = mapped_column(LongText)
    accepted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # made the baseline by somebody


class Finding(Base):
    """A weakness of a site. The same one is one row, however often it is found."""

    __tablename__ = "findings"
    __table_args__: Any = (UniqueConstraint("site_id", "code", "subject"), TABLE)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    site_id: Mapped[int] = mapped_column(Id, ForeignKey("sites.id", ondelete="CASCADE"))
    code: Mapped[str] = mapped_column(String(40))  # see services/findings/catalogue.py
    subject: Mapped[str] = mapped_column(String(160))  # which cookie, which path; empty where there is but one
    kind: Mapped[str] = mapped_column(String(8))  # visit or scan: what found it, and alone can say that it is fixed
    severity: Mapped[str] = mapped_column(String(8))
    state: Mapped[str] = mapped_column(String(12), default="open")
    evidence: Mapped[str | None] = mapped_column(Text)
    note: Mapped[str | None] = mapped_column(String(255))  # of whoever acknowledged it
    acknowledged_by: Mapped[int | None] = mapped_column(Id)  # a user; no foreign key: it outlives the user
    acknowledged_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    first_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    fixed_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)


class Event(Base):
    """A change somebody wants to know of: written with the change, in its transaction."""

    __tablename__ = "events"
    __table_args__: Any = (
        UniqueConstraint("site_id", "id"),
        UniqueConstraint("owner_id", "id"),
        UniqueConstraint("dispatch_after", "id"),
        UniqueConstraint("created_at", "id"),
        TABLE,
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    event_id: Mapped[str] = mapped_column(String(32), unique=True)  # the same however often it is told
    site_id: Mapped[int] = mapped_column(Id, ForeignKey("sites.id", ondelete="CASCADE"))
    owner_id: Mapped[int] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(12))  # of EVENT_KINDS
    severity: Mapped[str | None] = mapped_column(String(8))
    data: Mapped[dict[str, Any]] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    dispatch_after: Mapped[datetime | None] = mapped_column(UtcDateTime)  # None: it lies in the outbox


class AlertTarget(Base):
    """Where alerts go."""

    __tablename__ = "alert_targets"
    __table_args__: Any = (UniqueConstraint("owner_id", "name"), TABLE)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    owner_id: Mapped[int] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(80))
    kind: Mapped[str] = mapped_column(String(8))  # of TARGET_KINDS
    address: Mapped[str] = mapped_column(String(2048))  # a mail address or a URL
    secret: Mapped[str | None] = mapped_column(String(80))  # signs what a webhook gets
    kinds: Mapped[list[str] | None] = mapped_column(Json)  # of EVENT_KINDS; None: all
    minimum_severity: Mapped[str] = mapped_column(String(8), default="low")  # of page changes and findings
    confirmed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # nobody is written to who did not agree
    active: Mapped[bool] = mapped_column(default=True)
    error: Mapped[str | None] = mapped_column(String(255))  # of the last attempt; None: it was taken
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    version: Mapped[int] = mapped_column(Integer, default=1)

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy's way


class StatusPage(Base):
    """A public page that says how an owner's sites are."""

    __tablename__ = "status_pages"
    __table_args__: Any = (UniqueConstraint("owner_id", "id"), TABLE)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    owner_id: Mapped[int] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    slug: Mapped[str] = mapped_column(String(64), unique=True)  # where it is found: /status/<slug>
    title: Mapped[str] = mapped_column(String(120))
    tag: Mapped[str | None] = mapped_column(String(40))  # only sites that are filed under it; None: all of the owner's
    language: Mapped[str] = mapped_column(String(16))  # one of LANGUAGES: the page is the same for everybody
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    version: Mapped[int] = mapped_column(Integer, default=1)

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy's way
