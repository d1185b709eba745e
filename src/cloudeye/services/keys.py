"""API keys: names for machines that act for a user. Shown once; only a hash is kept."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cloudeye.models import ApiKey, User, utcnow

SCOPES = (
    "bugs:read", "bugs:write", "events:read", "sites:read", "sites:write", "status:read", "status:write",
    "tamper:read", "tamper:write", "targets:read", "targets:write", "usability:read", "users:read", "users:write",
)  # fmt: skip
FORM = re.compile(r"ce_([a-z0-9]{12})_([A-Za-z0-9_-]{43})")
USED_EVERY = timedelta(minutes=1)


class NameTaken(Exception):
    """The user has a key of this name."""


@dataclass(frozen=True)
class KeyHolder:
    """For whom a key acts, and with which scopes."""

    user_id: int
    role: str
    language: str | None
    time_zone: str | None
    scopes: frozenset[str]


def create_key(
    session: Session, user_id: int, *, name: str, scopes: Iterable[str], expires_at: datetime | None = None
) -> tuple[ApiKey, str]:
    """Add a key to the session's transaction.

    Args:
        session: committed by the caller.
        user_id: for whom it acts.
        name: unique among the user's keys.
        scopes: of SCOPES.
        expires_at: None for a key that stays valid.

    Returns:
        The row, and the key itself, which cannot be shown again.

    Raises:
        NameTaken: the transaction has been rolled back.
    """
    prefix = "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(12))
    secret = secrets.token_urlsafe(32)
    key = ApiKey(
        user_id=user_id,
        name=name,
        prefix=prefix,
        secret_hash=_hash(secret),
        scopes=" ".join(sorted(set(scopes))),
        expires_at=expires_at,
    )
    session.add(key)
    try:
        session.flush()
    except IntegrityError:
        session.rollback()
        raise NameTaken(name) from None
    return key, f"ce_{prefix}_{secret}"


def find_holder(session: Session, text: str) -> KeyHolder | None:
    """Return for whom a key acts, and note that it was used (to the minute).

    Args:
        session: its transaction is ended.
        text: what the client sent.

    Returns:
        None for a key that is unknown or has expired, and for one whose user is not active.
    """
    form = FORM.fullmatch(text)
    if form is None:
        return None
    row = session.execute(
        select(ApiKey, User).join(User, User.id == ApiKey.user_id).where(ApiKey.prefix == form[1])
    ).one_or_none()
    if row is None or not hmac.compare_digest(row[0].secret_hash, _hash(form[2])):
        session.rollback()
        return None
    key, user = row
    now = utcnow()
    if not user.active or (key.expires_at is not None and key.expires_at <= now):
        session.rollback()
        return None
    holder = KeyHolder(user.id, user.role, user.language, user.time_zone, frozenset(key.scopes.split()))
    if key.last_used_at is None or key.last_used_at <= now - USED_EVERY:
        session.execute(
            update(ApiKey)
            .where(ApiKey.id == key.id, or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at <= now - USED_EVERY))
            .values(last_used_at=now)
        )
    session.commit()
    return holder


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
