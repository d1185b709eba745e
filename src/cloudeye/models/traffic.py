"""What passes through: messages on their way out, requests that may come twice, attempts that are counted."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Integer, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from cloudeye.models.base import Base, Id, LongText, UtcDateTime, utcnow


class Message(Base):
    """Something to be sent by sync: written in the transaction that is its reason, so neither is without the other."""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    channel: Mapped[str] = mapped_column(String(16))  # mail, webhook or slack
    event_id: Mapped[str] = mapped_column(String(64), unique=True)  # the same however often it is sent
    recipient: Mapped[str] = mapped_column(String(2048))
    language: Mapped[str | None] = mapped_column(String(16))  # of subject and body
    subject: Mapped[str | None] = mapped_column(String(255))
    body: Mapped[str | None] = mapped_column(LongText)  # emptied once sent: it may hold a link that lets somebody in
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    next_attempt_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)  # None: done
    claimed_by: Mapped[str | None] = mapped_column(String(120))
    claimed_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    error: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, index=True)
    # An AlertTarget: its secret signs a webhook when it is sent. No foreign key: what was sent outlives the target.
    target_id: Mapped[int | None] = mapped_column(Id, index=True)


class IdempotencyRecord(Base):
    """The answer to a request that carried an Idempotency-Key, to be given again."""

    __tablename__ = "idempotency_records"

    user_id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))  # SHA-256 of method, path and body
    status: Mapped[int] = mapped_column(SmallInteger)
    body: Mapped[str] = mapped_column(LongText)
    etag: Mapped[str | None] = mapped_column(String(80))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, index=True)


class AttemptCounter(Base):
    """How often something was tried within a window of time, where the stack has no cache to count in."""

    __tablename__ = "attempt_counters"

    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    count: Mapped[int] = mapped_column(Integer)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
