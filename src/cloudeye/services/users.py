"""Users: made and changed by the API and on the command line, recognised by the API and the pages."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cloudeye.models import User, email_key, utcnow
from cloudeye.services import one_time, passwords, sessions


class Taken(Exception):
    """Another user has this e-mail or phone; ``field`` says which."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


class LastAdmin(Exception):
    """Without this user nobody could administer the stack."""


def find_user(session: Session, email: str) -> User | None:
    """Return the user with this address, whatever its case."""
    return session.scalar(select(User).where(User.email_key == email_key(email)))


def has_admin(session: Session) -> bool:
    """Is there anybody who can administer the stack."""
    return session.scalar(select(User.id).where(User.role == "admin", User.active.is_(True)).limit(1)) is not None


def create_user(
    session: Session,
    *,
    username: str,
    email: str,
    password: str | None = None,
    password_hash: str | None = None,
    **values: Any,
) -> User:
    """Add a user to the session's transaction.

    Args:
        session: committed by the caller.
        username: the name to be shown.
        email: the address, unique but for its case.
        password: None for an account that cannot log in by password.
        password_hash: instead of the password, where it was hashed before.
        values: further columns of the user: phone, role, active, language, time_zone, email_verified_at.

    Raises:
        Taken: another user has the e-mail or the phone; the transaction has been rolled back.
    """
    # Before the transaction: nothing may wait while SQLite's one write lock is held.
    if password is not None:
        password_hash = passwords.hash_password(password)
    user = User(username=username, email=email, password_hash=password_hash, **values)
    session.add(user)
    _flush(session)
    return user


def change_user(session: Session, user: User, *, access: timedelta, **changes: Any) -> None:
    """Change columns of a user in the session's transaction.

    A user who is made inactive is logged out everywhere; one whose role changes goes on with the new one.

    Args:
        session: committed by the caller.
        user: who is changed.
        access: how long access tokens live.
        changes: the new values of username, email, phone, role, active, language, time_zone.

    Raises:
        Taken: another user has the e-mail or the phone; the transaction has been rolled back.
        LastAdmin: nothing was changed.
    """
    was = (user.active, user.role)
    becomes = (changes.get("active", user.active), changes.get("role", user.role))
    if was == (True, "admin") != becomes:
        _keep_an_admin(session, user)
    if "email" in changes and email_key(changes["email"]) != user.email_key:
        user.email_verified_at = None
        one_time.withdraw(session, user.id, "reset", "email")
    for name, value in changes.items():
        setattr(user, name, value)
    user.updated_at = utcnow()
    _flush(session)
    if was[0] and not becomes[0]:
        sessions.end_sessions(session, user.id, access=access)
        one_time.withdraw(session, user.id, "reset", "email")
    if was != becomes:
        sessions.refuse_older_tokens(session, user, access=access)


def remove_user(session: Session, user: User, *, access: timedelta) -> None:
    """Delete a user with everything that is theirs, in the session's transaction.

    Raises:
        LastAdmin: nothing was changed.
    """
    if user.active and user.is_admin:
        _keep_an_admin(session, user)
    sessions.refuse_older_tokens(session, user, access=access)
    session.delete(user)
    session.flush()


def authenticate(session: Session, email: str, password: str) -> User | None:
    """Return the active user with this address and password, or None.

    Takes the same time whether or not there is such a user. A hash made with older costs is renewed in the
    session's transaction.
    """
    user = find_user(session, email)
    if user is not None:
        session.expunge(user)
    session.rollback()  # gives the connection back: the next line takes long
    right = passwords.check_password(user.password_hash if user else None, password)
    if user is None or not right or not user.active or user.password_hash is None:
        return None
    if passwords.is_outdated(user.password_hash):
        renewed = passwords.hash_password(password)
        session.merge(user).password_hash = renewed
    return user


def _keep_an_admin(session: Session, user: User) -> None:
    """Raise LastAdmin unless another can take over."""
    admin = (User.role == "admin", User.active.is_(True))
    # Writing what is there already locks the rows, and on SQLite the database: so two cannot both step down.
    session.execute(update(User).where(*admin).values(role="admin").execution_options(synchronize_session=False))
    admins = session.scalars(select(User.id).where(*admin)).all()
    if set(admins) <= {user.id}:
        raise LastAdmin


def _flush(session: Session) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        session.rollback()
        text = str(error.orig)
        # SQLite names the column, MySQL and MariaDB the constraint; both hold the column's name. Read from
        # the end: MySQL quotes the value first, which may hold anything.
        raise Taken("phone" if text.rfind("phone") > text.rfind("email_key") else "email") from None
