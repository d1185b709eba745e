"""Who looks at a page: known by the session that the cookie names, or by the API's bearer token."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask import Flask, Request, g, request, session
from flask_login import UserMixin, current_user, login_user, logout_user
from sqlalchemy import Select, select, update
from sqlalchemy.exc import SQLAlchemyError

from cloudeye.access import caller_from_token
from cloudeye.errors import Problem
from cloudeye.extensions import db, login
from cloudeye.models import User, UserSession, utcnow
from cloudeye.services import sessions
from cloudeye.tokens import refresh_lifetime, revocation_lifetime

USED_EVERY = timedelta(minutes=1)

_COLUMNS = (User.id, User.username, User.role, User.language, User.time_zone)


@dataclass(frozen=True)
class Visitor(UserMixin):  # type: ignore[misc]
    """A user as Flask-Login wants to see one, with the session that they are here by."""

    id: int
    username: str
    role: str
    language: str | None
    time_zone: str | None
    session_id: str

    @property
    def is_admin(self) -> bool:
        """May this visitor see and change everything."""
        return self.role == "admin"

    def get_id(self) -> str:
        """Return what the cookie carries."""
        return self.session_id


def register(app: Flask) -> None:
    """Tell Flask-Login how visitors are found."""
    login.login_view = "pages.log_in"
    login.login_message = None
    login.session_protection = "basic"
    login.user_loader(_by_cookie)
    login.request_loader(_by_token)


def let_in(user: User) -> None:
    """Open a session for a user who has shown who they are, commit it, and put its name into the cookie.

    A session that this browser has already ends: nobody would find it again.
    """
    if current_user.is_authenticated:
        sessions.end_session(db.session(), current_user.session_id, access=revocation_lifetime())
    opened = sessions.open_session(
        db.session(), user, method="password", agent=request.user_agent.string, lifetime=refresh_lifetime()
    )
    db.session.commit()
    g.user_id = user.id
    session.clear()  # what a stranger was given is not kept by somebody who is known
    session.permanent = True
    login_user(Visitor(user.id, user.username, user.role, user.language, user.time_zone, opened.id))


def leave() -> None:
    """End the visitor's session, commit that, and empty the cookie."""
    if current_user.is_authenticated:
        sessions.end_session(db.session(), current_user.session_id, access=revocation_lifetime())
        db.session.commit()
    logout_user()
    session.clear()


def _by_cookie(session_id: str) -> Visitor | None:
    now = utcnow()
    query = (
        select(*_COLUMNS, UserSession.last_used_at)
        .join(UserSession, UserSession.user_id == User.id)
        .where(UserSession.id == session_id, UserSession.expires_at > now)
    )
    row = _ask(query)
    if row is None:
        return None
    *columns, last_used_at = row
    if last_used_at <= now - USED_EVERY:
        db.session.execute(
            update(UserSession)
            .where(UserSession.id == session_id, UserSession.last_used_at <= now - USED_EVERY)
            .values(last_used_at=now, expires_at=now + refresh_lifetime())
            .execution_options(synchronize_session=False)
        )
        db.session.commit()
        session.modified = True  # so that the cookie lasts as long as the session
    return Visitor(*columns, session_id)


def _by_token(request: Request) -> Visitor | None:
    if "Authorization" not in request.headers:
        return None
    try:
        caller = caller_from_token()
    except Problem:
        return None
    row = _ask(select(*_COLUMNS).where(User.id == caller.id))
    return None if row is None else Visitor(*row, caller.session_id or "")


def _ask(query: Select[*tuple[Any, ...]]) -> Any:
    """Return the row of an active user; where the database fails, the page that says so is shown to nobody known."""
    if "visitor_unknown" in g:
        return None
    try:
        row = db.session.execute(query.where(User.active.is_(True))).one_or_none()
    except SQLAlchemyError:
        g.visitor_unknown = True
        raise
    if row is not None:
        g.user_id = row.id
    return row
