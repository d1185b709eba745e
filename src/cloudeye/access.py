"""Who is calling, and what they may do: the decorator that every view of the API but login carries."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import Any, TypeVar

from flask import g, request
from flask_jwt_extended import create_access_token, get_jwt, verify_jwt_in_request
from flask_jwt_extended.exceptions import JWTExtendedException
from jwt import PyJWTError

from cloudeye.errors import Problem
from cloudeye.extensions import db
from cloudeye.models import User

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_View = TypeVar("_View", bound=Callable[..., Any])


@dataclass(frozen=True)
class Caller:
    """The user that a token was made for."""

    id: int
    role: str

    @property
    def is_admin(self) -> bool:
        """May this caller see and change everything."""
        return self.role == "admin"


def make_token(user: User, lifetime: timedelta) -> str:
    """Return a signed token that says who the user is and which role they have."""
    token: str = create_access_token(
        identity=str(user.id), additional_claims={"role": user.role}, expires_delta=lifetime
    )
    return token


def caller() -> Caller:
    """Return the caller of the view, which ``signed_in`` has made sure of."""
    found: Caller = g.caller
    return found


def signed_in(view: _View) -> _View:
    """Let in whoever holds a valid token: for reads the token suffices, for changes the account is asked."""
    return _guarded(view, admin=False)


def admin_only(view: _View) -> _View:
    """Let in admins alone."""
    return _guarded(view, admin=True)


def caller_from_token() -> Caller:
    """Return who the request's token was made for.

    Raises:
        Problem: 401, there is no valid token.
    """
    try:
        verify_jwt_in_request()
        claims = get_jwt()
        return Caller(int(claims["sub"]), claims["role"])
    except (JWTExtendedException, PyJWTError, KeyError, ValueError):
        raise unauthorized("Please log in: a valid access token is needed.") from None


def unauthorized(message: str) -> Problem:
    """Make the answer to somebody unknown (RFC 6750, section 3)."""
    return Problem(401, message, headers={"WWW-Authenticate": "Bearer"})


def _guarded(view: _View, *, admin: bool) -> _View:
    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        found = caller_from_token()
        if request.method not in SAFE_METHODS:
            user = db.session.get(User, found.id)
            if user is None or not user.active:
                raise unauthorized("This account is not active.")
            found = Caller(user.id, user.role)
        g.caller, g.user_id = found, found.id
        if admin and not found.is_admin:
            raise Problem(403, "Only admins may do this.")
        return view(*args, **kwargs)

    # flask-smorest keeps a view's description here.
    apidoc = deepcopy(getattr(view, "_apidoc", {}))
    manual = apidoc.setdefault("manual_doc", {})
    manual["security"] = [{"bearer": []}]
    responses = manual.setdefault("responses", {})
    responses["401"] = "UNAUTHORIZED"
    if admin:
        responses["403"] = "FORBIDDEN"
    wrapper._apidoc = apidoc  # type: ignore[attr-defined]
    return wrapper  # type: ignore[return-value]
