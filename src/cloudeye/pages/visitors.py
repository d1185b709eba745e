"""Who looks at a page: known by the session cookie, or by the API's bearer token."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Flask, Request, g
from flask_login import UserMixin

from cloudeye.access import caller_from_token
from cloudeye.errors import Problem
from cloudeye.extensions import db, login
from cloudeye.models import User


@dataclass(frozen=True)
class Visitor(UserMixin):  # type: ignore[misc]
    """A user as Flask-Login wants to see one."""

    id: int
    username: str
    is_admin: bool

    @classmethod
    def of(cls, user: User) -> Visitor:
        """Make a visitor of a row."""
        return cls(user.id, user.username, user.is_admin)


def register(app: Flask) -> None:
    """Tell Flask-Login how visitors are found."""
    login.login_view = "pages.log_in"
    login.login_message = None
    login.session_protection = "basic"
    login.user_loader(_by_cookie)
    login.request_loader(_by_token)


def _by_cookie(user_id: str) -> Visitor | None:
    return _find(int(user_id)) if user_id.isdecimal() else None


def _by_token(request: Request) -> Visitor | None:
    if "Authorization" not in request.headers:
        return None
    try:
        return _find(caller_from_token().id)
    except Problem:
        return None


def _find(user_id: int) -> Visitor | None:
    user = db.session.get(User, user_id)
    if user is None or not user.active:
        return None
    g.user_id = user.id
    return Visitor.of(user)
