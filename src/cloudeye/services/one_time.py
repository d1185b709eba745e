"""Tokens that are shown once: the links in mails, and nonces. Only their hashes are kept."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from cloudeye.models import OneTimeToken, utcnow


@dataclass(frozen=True)
class Redeemed:
    """What a token stood for."""

    user_id: int | None
    email: str | None
    data: Mapping[str, Any]


def issue(
    session: Session,
    purpose: str,
    lifetime: timedelta,
    *,
    user_id: int | None = None,
    email: str | None = None,
    data: Mapping[str, Any] | None = None,
) -> str:
    """Add a token to the session's transaction.

    Args:
        session: committed by the caller.
        purpose: what it may be redeemed for: register, reset, email, nonce; none for one that nobody is to have.
        lifetime: how long it may be redeemed.
        user_id: the account that it belongs to, if there is one.
        email: the address that it is sent to.
        data: what is to be known when it comes back; it must go into JSON.

    Returns:
        The token's text, which is kept nowhere.
    """
    token = secrets.token_urlsafe(32)
    session.add(
        OneTimeToken(
            purpose=purpose,
            token_hash=_hash(token),
            user_id=user_id,
            email=email,
            data=None if data is None else json.dumps(data),
            expires_at=utcnow() + lifetime,
        )
    )
    session.flush()
    return token


def redeem(session: Session, purpose: str, token: str) -> Redeemed | None:
    """Use a token up in the session's transaction.

    Returns:
        What it stood for; None if there is none such for this purpose, it has expired, or somebody was faster.
    """
    row = session.scalar(select(OneTimeToken).where(OneTimeToken.token_hash == _hash(token)))
    if row is None or row.purpose != purpose or row.expires_at <= utcnow():
        return None
    session.expunge(row)
    # Whoever deletes the row has redeemed it: of two that race, one.
    if session.execute(delete(OneTimeToken).where(OneTimeToken.id == row.id)).rowcount != 1:  # type: ignore[attr-defined]
        return None
    return Redeemed(row.user_id, row.email, json.loads(row.data) if row.data else {})


def withdraw(session: Session, user_id: int, *purposes: str) -> None:
    """Make a user's tokens for these purposes worthless."""
    session.execute(delete(OneTimeToken).where(OneTimeToken.user_id == user_id, OneTimeToken.purpose.in_(purposes)))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
