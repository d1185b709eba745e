"""Who is calling, and what they may do: the decorators that every view of the API carries but the public ones.

They also end the transaction of a change: after the answer was written and before it leaves, so that the record of
an Idempotency-Key lies in the same transaction (idempotency.py). Views behind them do not commit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, TypeVar

from flask import g, make_response, request

from cloudeye import idempotency, preconditions, tokens
from cloudeye.errors import Problem
from cloudeye.extensions import cache, db
from cloudeye.models import User
from cloudeye.services import keys

KEY_SECONDS = 2  # so long a process believes what it knows of a key
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_View = TypeVar("_View", bound=Callable[..., Any])


@dataclass(frozen=True)
class Caller:
    """The user that a token or a key was made for."""

    id: int
    role: str
    session_id: str | None = None  # none for a key
    version: int | None = None  # of the user's access when the token was made; none for a key
    scopes: frozenset[str] | None = None  # None: everything the user may do
    language: str | None = None
    time_zone: str | None = None

    @property
    def is_admin(self) -> bool:
        """May this caller see and change everything."""
        return self.role == "admin"

    def may_see_secrets_of(self, owner_id: int) -> bool:
        """May this caller see what lets somebody in elsewhere: the owner may, by a key only if it may read."""
        return self.id == owner_id and (self.scopes is None or "sites:read" in self.scopes)


def caller() -> Caller:
    """Return the caller of the view, which ``signed_in`` has made sure of."""
    found: Caller = g.caller
    return found


def signed_in(view: _View) -> _View:
    """Let in whoever holds a valid token or a key with the scope; for changes the account is asked as well."""
    return _guarded(view, admin=False, keys_too=True)


def admin_only(view: _View) -> _View:
    """Let in admins alone."""
    return _guarded(view, admin=True, keys_too=True)


def account_only(view: _View) -> _View:
    """Let in people alone: no key may see or change what an account is entered by."""
    return _guarded(view, admin=False, keys_too=False)


def scope_of_request() -> str:
    """Return the scope that a key needs: the resource is the blueprint, the right follows from the method."""
    return f"{request.blueprint}:{'read' if request.method in SAFE_METHODS else 'write'}"


def caller_from_token() -> Caller:
    """Return who the request's token was made for.

    Raises:
        Problem: 401, there is no valid token.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    claims = tokens.find_claims(token) if scheme.lower() == "bearer" else None
    if claims is None:
        raise unauthorized("Please log in: a valid access token is needed.")
    return Caller(
        int(claims["sub"]),
        claims["role"],
        session_id=claims["sid"],
        version=claims["ver"],
        language=claims["lang"],
        time_zone=claims["tz"],
    )


def unauthorized(message: str) -> Problem:
    """Make the answer to somebody unknown (RFC 6750, section 3)."""
    return Problem(401, message, headers={"WWW-Authenticate": "Bearer"})


def _caller_from_key(text: str) -> Caller:
    place = f"key {hashlib.sha256(text.encode()).hexdigest()}"
    holder: keys.KeyHolder | None = cache.get(place)
    if holder is None:
        holder = keys.find_holder(db.session(), text)
        if holder is None:
            raise unauthorized("This API key is not valid.")
        cache.set(place, holder, timeout=KEY_SECONDS)
    return Caller(
        holder.user_id,
        holder.role,
        scopes=holder.scopes,
        language=holder.language,
        time_zone=holder.time_zone,
    )


def _guarded(view: _View, *, admin: bool, keys_too: bool) -> _View:
    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        key = request.headers.get("X-API-Key")
        found = _caller_from_key(key) if key is not None else caller_from_token()
        if found.scopes is not None and (not keys_too or scope_of_request() not in found.scopes):
            raise Problem(403, "This API key may not do that.")
        if request.method not in SAFE_METHODS:
            user = db.session.get(User, found.id)
            if user is None or not user.active or found.version not in (None, user.access_version):
                raise unauthorized("This account is not active.")
            found = replace(found, role=user.role)
        g.caller, g.user_id = found, found.id
        if admin and not found.is_admin:
            raise Problem(403, "Only admins may do this.")
        if request.method in SAFE_METHODS:
            return preconditions.tag(make_response(view(*args, **kwargs)))
        return idempotency.once(found.id, lambda: preconditions.tag(make_response(view(*args, **kwargs))))

    # flask-smorest keeps a view's description here; api/description.py adds what follows from it.
    apidoc = deepcopy(getattr(view, "_apidoc", {}))
    manual = apidoc.setdefault("manual_doc", {})
    manual["security"] = [{"bearer": []}, {"key": []}] if keys_too else [{"bearer": []}]
    responses = manual.setdefault("responses", {})
    responses["401"] = "UNAUTHORIZED"
    if admin or keys_too:
        responses["403"] = "FORBIDDEN"
    wrapper._apidoc = apidoc  # type: ignore[attr-defined]
    return wrapper  # type: ignore[return-value]
