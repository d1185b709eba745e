"""Access and refresh tokens, and which access tokens are refused before they expire.

Reads ask for no row of the database: the token says who is calling. What was revoked meanwhile each process learns
from the table of revocations, which it reads anew when what it knows is older than REVOCATIONS_SECONDS.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import jwt
from flask import Flask, current_app
from flask_jwt_extended import create_access_token, create_refresh_token
from sqlalchemy import select

from cloudeye.config import Config
from cloudeye.extensions import db
from cloudeye.models import Revocation, User, UserSession, utcnow
from cloudeye.services import sessions

REVOCATIONS_SECONDS = 2.0
MOST_TOKENS = 1_024  # whose signature is known to be right
CLAIMS = frozenset({"sub", "role", "sid", "ver", "lang", "tz", "exp"})  # that an access token has
ALGORITHM = "HS256"
EXTENSION = "cloudeye-tokens"
LEEWAY = timedelta(seconds=60)  # between the clocks of the hosts


@dataclass
class Revocations:
    """What this process knows of revoked access tokens."""

    sessions: frozenset[str] = frozenset()
    versions: Mapping[int, int] = field(default_factory=dict)
    read_at: float = float("-inf")
    reading: threading.Lock = field(default_factory=threading.Lock)

    def refuse(self, claims: Mapping[str, Any]) -> bool:
        """Are these the claims of an access token that was revoked."""
        self._read_if_old()
        return claims.get("sid") in self.sessions or claims.get("ver", 0) < self.versions.get(int(claims["sub"]), 0)

    def _read_if_old(self) -> None:
        if time.monotonic() - self.read_at < REVOCATIONS_SECONDS:
            return
        with self.reading:  # one asks, the others wait for what it learns
            begun = time.monotonic()
            if begun - self.read_at < REVOCATIONS_SECONDS:
                return
            with db.engine.connect() as connection:
                rows = connection.execute(
                    select(Revocation.session_id, Revocation.user_id, Revocation.access_version).where(
                        Revocation.expires_at > utcnow()
                    )
                ).all()
            versions: dict[int, int] = {}
            for _, user_id, version in rows:
                if user_id is not None and version is not None:
                    versions[user_id] = max(version, versions.get(user_id, 0))
            self.sessions = frozenset(row[0] for row in rows if row[0] is not None)
            self.versions = versions
            self.read_at = begun


@dataclass
class Known:
    """What this process knows of access tokens: the claims of those that were right, by the token, and the revoked.

    A token comes with each request of its session. To check the signature each time takes longer than to read a row.
    """

    keys: Sequence[str] = ()
    claims: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    revocations: Revocations = field(default_factory=Revocations)


def register(app: Flask, keys: Sequence[str]) -> None:
    """Let the application know access tokens, and refuse revoked ones.

    Args:
        app: the application.
        keys: whose signatures are good; most tokens are signed with the first.
    """
    app.extensions[EXTENSION] = Known(keys)


def _decode(token: str, keys: Sequence[str]) -> dict[str, Any]:
    """Return what a token says that one of the keys has signed and that has not expired.

    Raises:
        jwt.PyJWTError: there is no such token.
    """
    for key in keys[:-1]:
        try:
            return jwt.decode(token, key, algorithms=[ALGORITHM])
        except jwt.InvalidSignatureError:
            continue
    return jwt.decode(token, keys[-1], algorithms=[ALGORITHM])


def find_claims(token: str) -> Mapping[str, Any] | None:
    """Return what an access token says; None if it is none of ours, has expired or was revoked.

    Args:
        token: as it came.
    """
    known: Known = current_app.extensions[EXTENSION]
    claims = known.claims.get(token)
    if claims is None:
        try:
            claims = _decode(token, known.keys)
        except (jwt.PyJWTError, ValueError):
            return None
        if claims.get("type") != "access" or not claims.keys() >= CLAIMS or not str(claims["sub"]).isdigit():
            return None
        if len(known.claims) >= MOST_TOKENS:
            known.claims.clear()
        known.claims[token] = claims
    elif claims["exp"] <= time.time():
        known.claims.pop(token, None)
        return None
    return None if known.revocations.refuse(claims) else claims


def access_lifetime() -> timedelta:
    """Return how long an access token is good for."""
    config: Config = current_app.config["CLOUDEYE"]
    return timedelta(minutes=config.access_token_minutes)


def revocation_lifetime() -> timedelta:
    """Return how long a revocation must be known: until the last access token made before it has expired."""
    return access_lifetime() + LEEWAY


def refresh_lifetime() -> timedelta:
    """Return how long a session lasts that nobody uses."""
    config: Config = current_app.config["CLOUDEYE"]
    return timedelta(days=config.refresh_token_days)


def make_tokens(user: User, opened: UserSession) -> dict[str, Any]:
    """Return a session's tokens, as the API answers them.

    Args:
        user: whose session it is.
        opened: the session; its ``refresh_id`` becomes the refresh token's.
    """
    return {
        "access_token": create_access_token(
            identity=str(user.id),
            additional_claims={
                "role": user.role,
                "ver": user.access_version,
                "sid": opened.id,
                "lang": user.language,
                "tz": user.time_zone,
            },
            expires_delta=access_lifetime(),
        ),
        "refresh_token": create_refresh_token(
            identity=str(user.id),
            additional_claims={"sid": opened.id, "jti": opened.refresh_id},
            expires_delta=refresh_lifetime(),
        ),
        "expires_in": int(access_lifetime().total_seconds()),
    }


def start_session(user: User, method: str, agent: str | None) -> dict[str, Any]:
    """Open a session in the request's transaction and return its tokens.

    Args:
        user: who has shown who they are.
        method: how they did: password or oidc.
        agent: what their client calls itself.
    """
    opened = sessions.open_session(db.session(), user, method=method, agent=agent, lifetime=refresh_lifetime())
    return make_tokens(user, opened)


def exchange(refresh_token: str) -> dict[str, Any] | None:
    """Exchange a refresh token for the next pair and commit; None if it is worth nothing."""
    known: Known = current_app.extensions[EXTENSION]
    try:
        claims = _decode(refresh_token, known.keys)
        if claims["type"] != "refresh":
            return None
        session_id, refresh_id = str(claims["sid"]), str(claims["jti"])
    except (jwt.PyJWTError, KeyError, ValueError):
        return None
    found = sessions.carry_on(
        db.session(), session_id, refresh_id, lifetime=refresh_lifetime(), access=revocation_lifetime()
    )
    db.session.commit()
    return make_tokens(*found) if found is not None else None
