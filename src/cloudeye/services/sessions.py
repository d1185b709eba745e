"""Who is logged in: sessions are opened, carried on with a new refresh token each time, and ended.

An access token is believed without asking the database for its user. What ends it early is a Revocation, which
every instance reads at least every two seconds (tokens.py).
"""

from __future__ import annotations

import uuid
from datetime import timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from cloudeye.models import Revocation, User, UserSession, utcnow


def open_session(session: Session, user: User, *, method: str, agent: str | None, lifetime: timedelta) -> UserSession:
    """Add a session for a user to the transaction.

    Args:
        session: committed by the caller.
        user: who has shown who they are.
        method: how they did: password or oidc.
        agent: what their client calls itself.
        lifetime: how long the session may be carried on without being used.
    """
    now = utcnow()
    opened = UserSession(
        id=uuid.uuid4().hex,
        user_id=user.id,
        refresh_id=uuid.uuid4().hex,
        method=method,
        agent=(agent or "")[:200] or None,
        created_at=now,
        last_used_at=now,
        expires_at=now + lifetime,
    )
    session.add(opened)
    session.flush()
    return opened


def carry_on(
    session: Session, session_id: str, refresh_id: str, *, lifetime: timedelta, access: timedelta
) -> tuple[User, UserSession] | None:
    """Exchange the newest refresh token of a session for the next one.

    A token that was exchanged before was stolen, from the client or by it: the whole session ends
    (RFC 9700, section 4.14.2).

    Args:
        session: committed by the caller, also when None is returned.
        session_id: named by the refresh token.
        refresh_id: the refresh token's own name.
        lifetime: of the session from now on.
        access: how long access tokens live.

    Returns:
        The user and the session with its new ``refresh_id``; None if the token is worth nothing.
    """
    now = utcnow()
    fresh = uuid.uuid4().hex
    changed = session.execute(
        update(UserSession)
        .where(UserSession.id == session_id, UserSession.refresh_id == refresh_id, UserSession.expires_at > now)
        .values(refresh_id=fresh, last_used_at=now, expires_at=now + lifetime)
        .execution_options(synchronize_session=False)
    )
    if changed.rowcount != 1:  # type: ignore[attr-defined]
        end_session(session, session_id, access=access)
        return None
    found = session.execute(
        select(User, UserSession).join(UserSession, UserSession.user_id == User.id).where(UserSession.id == session_id)
    ).one()
    user, opened = found
    if not user.active:
        return None
    return user, opened


def end_session(session: Session, session_id: str, *, access: timedelta) -> bool:
    """End a session and refuse its access tokens.

    Returns:
        Was there such a session.
    """
    ended = session.execute(delete(UserSession).where(UserSession.id == session_id))
    if ended.rowcount != 1:  # type: ignore[attr-defined]
        return False
    session.add(Revocation(session_id=session_id, expires_at=utcnow() + access))
    session.flush()
    return True


def end_sessions(session: Session, user_id: int, *, access: timedelta, keep: str | None = None) -> int:
    """End all sessions of a user but one.

    Args:
        session: committed by the caller.
        user_id: whose sessions.
        access: how long access tokens live.
        keep: the session that goes on; None ends them all.

    Returns:
        How many were ended.
    """
    ids = session.scalars(select(UserSession.id).where(UserSession.user_id == user_id)).all()
    return sum(end_session(session, one, access=access) for one in sorted(ids) if one != keep)


def refuse_older_tokens(session: Session, user: User, *, access: timedelta) -> None:
    """Refuse the access tokens that a user holds now; the sessions go on, with what the user may do from now on."""
    user.access_version += 1
    session.add(Revocation(user_id=user.id, access_version=user.access_version, expires_at=utcnow() + access))
    session.flush()
