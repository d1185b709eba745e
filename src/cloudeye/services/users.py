"""Users: made by the API and on the command line, recognised by the API and the pages."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cloudeye.models import User, email_key
from cloudeye.services import passwords


class Taken(Exception):
    """Another user has this e-mail or phone; ``field`` says which."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


def find_user(session: Session, email: str) -> User | None:
    """Return the user with this address, whatever its case."""
    return session.scalar(select(User).where(User.email_key == email_key(email)))


def create_user(
    session: Session,
    *,
    username: str,
    email: str,
    password: str | None = None,
    phone: str | None = None,
    role: str = "user",
    active: bool = True,
) -> User:
    """Add a user to the session's transaction.

    Args:
        session: committed by the caller.
        username: the name to be shown.
        email: the address, unique but for its case.
        password: None for an account that cannot log in by password.
        phone: unique, if given.
        role: user or admin.
        active: may the user log in.

    Raises:
        Taken: another user has the e-mail or the phone; the transaction has been rolled back.
    """
    # Before the transaction: nothing may wait while SQLite's one write lock is held.
    password_hash = passwords.hash_password(password) if password is not None else None
    user = User(username=username, email=email, phone=phone, password_hash=password_hash, role=role, active=active)
    session.add(user)
    try:
        session.flush()
    except IntegrityError as error:
        session.rollback()
        text = str(error.orig)
        # SQLite names the column, MySQL and MariaDB the constraint; both hold the column's name. Read from
        # the end: MySQL quotes the value first, which may hold anything.
        raise Taken("phone" if text.rfind("phone") > text.rfind("email_key") else "email") from None
    return user


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
