"""Who has an account, and by what they are recognised."""

from __future__ import annotations

import secrets
import unicodedata
from contextlib import suppress
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, validates

from cloudeye.models.base import TABLE, Base, Id, UtcDateTime, utcnow

ROLES = ("user", "admin")
LANGUAGES = ("en", "zh_Hans")


def email_key(email: str) -> str:
    """Return the form of an address under which it is unique.

    Two that differ in case are one, and so are two whose domains are written differently but are one to the mail
    servers (UTS #46).
    """
    name, at, domain = unicodedata.normalize("NFC", email.strip()).rpartition("@")
    if not domain.isascii():
        import idna  # hundreds of kilobytes that are rarely needed

        with suppress(idna.IDNAError):  # what is no domain is compared as text
            domain = idna.encode(domain, uts46=True).decode("ascii")
    return f"{name.casefold()}{at}{domain.casefold()}"


class User(Base):
    """Somebody who may log in."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    username: Mapped[str] = mapped_column(String(80))
    email: Mapped[str] = mapped_column(String(254))
    email_key: Mapped[str] = mapped_column(String(254), unique=True)
    phone: Mapped[str | None] = mapped_column(String(20), unique=True)
    password_hash: Mapped[str | None] = mapped_column(String(255))
    role: Mapped[str] = mapped_column(String(8), default="user")
    active: Mapped[bool] = mapped_column(default=True)
    email_verified_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    language: Mapped[str | None] = mapped_column(String(16))  # one of LANGUAGES; None: what the browser asks for
    time_zone: Mapped[str | None] = mapped_column(String(64))  # a name of the IANA database; None: UTC
    # Access tokens carry it; one made before it rose is refused (see Revocation).
    # It begins anywhere, so that a token of a database that was thrown away changes nothing in the next one.
    access_version: Mapped[int] = mapped_column(Integer, default=lambda: 1 + secrets.randbelow(1_000_000))
    version: Mapped[int] = mapped_column(Integer, default=1)  # counts changes, so that a lost update is noticed
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy's way

    @validates("email")
    def _keep_key(self, _: str, email: str) -> str:
        self.email_key = email_key(email)
        return email

    @property
    def is_admin(self) -> bool:
        """May this user see and change everything."""
        return self.role == "admin"


class UserSession(Base):
    """Somebody logged in: one family of refresh tokens, of which only the newest may be used."""

    __tablename__ = "user_sessions"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_id: Mapped[int] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"), index=True)
    refresh_id: Mapped[str] = mapped_column(String(32))  # of the newest refresh token
    method: Mapped[str] = mapped_column(String(16))  # password or oidc
    agent: Mapped[str | None] = mapped_column(String(200))  # what the client called itself
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    last_used_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class Revocation(Base):
    """Access tokens that are refused before they expire: those of a session, or a user's older ones."""

    __tablename__ = "revocations"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    session_id: Mapped[str | None] = mapped_column(String(32))
    user_id: Mapped[int | None] = mapped_column(Id)  # no foreign key: it outlives the user
    access_version: Mapped[int | None] = mapped_column(Integer)  # tokens with a lower one are refused
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)  # when the last such token has expired


class ApiKey(Base):
    """A key by which a machine acts for a user; of the key itself only the hash is kept."""

    __tablename__ = "api_keys"
    __table_args__: Any = (UniqueConstraint("user_id", "name"), TABLE)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    user_id: Mapped[int] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(80))
    prefix: Mapped[str] = mapped_column(String(16), unique=True)  # the key's beginning, by which it is found
    secret_hash: Mapped[str] = mapped_column(String(64))  # SHA-256: the secret is random and long
    scopes: Mapped[str] = mapped_column(String(255))  # separated by blanks
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


class Identity(Base):
    """What an OpenID Connect issuer calls a user."""

    __tablename__ = "identities"
    __table_args__: Any = (UniqueConstraint("issuer", "subject"), TABLE)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    user_id: Mapped[int] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"), index=True)
    issuer: Mapped[str] = mapped_column(String(255))
    subject: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


class OneTimeToken(Base):
    """Something to be shown once, before it expires: a mail's link, a nonce. Its use deletes the row."""

    __tablename__ = "one_time_tokens"
    __table_args__: Any = (Index("ix_one_time_tokens_user_id_purpose", "user_id", "purpose"), TABLE)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    purpose: Mapped[str] = mapped_column(String(16))  # register, reset, email (a new address), nonce or none
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[int | None] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    email: Mapped[str | None] = mapped_column(String(254))  # the address that the token was sent to
    data: Mapped[str | None] = mapped_column(Text)  # JSON, for what is not in the database yet
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
