"""What people do with their own account by mail: register, reset a password, change an address.

Whoever asks learns nothing about who has an account here: the answer is the same, and so is the work. For an
address without account the token belongs to nobody and the mail is withdrawn in the transaction that wrote it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from cloudeye.models import User, utcnow
from cloudeye.services import one_time, passwords, sessions, users
from cloudeye.services.outbox import queue_mail

REGISTER_LIFETIME = timedelta(hours=24)
RESET_LIFETIME = timedelta(hours=1)
WELCOME_LIFETIME = timedelta(days=7)
EMAIL_LIFETIME = timedelta(hours=24)


class BadToken(Exception):
    """The token was used, has expired or never was; or it does not go with the password."""


@dataclass(frozen=True)
class Desk:
    """What writing to people takes.

    ``url`` is where people reach the site, ``language`` and ``time_zone`` are those of the request, for somebody
    who has chosen none, ``access`` is how long access tokens live.
    """

    url: str
    language: str | None
    time_zone: str | None
    access: timedelta

    def write(self, session: Session, to: str, template: str, user: User | None = None, **values: Any) -> None:
        """Queue a mail, in the language of whom it is for."""
        language = (user.language if user is not None else None) or self.language
        time_zone = (user.time_zone if user is not None else None) or self.time_zone
        path = values.pop("path", "/")
        queue_mail(session, to, template, language, time_zone, url=f"{self.url}{path}", **values)


def welcome(session: Session, desk: Desk, user: User) -> None:
    """Tell somebody that they have an account, with a link to choose a password."""
    token = one_time.issue(session, "reset", WELCOME_LIFETIME, user_id=user.id, email=user.email)
    desk.write(
        session, user.email, "welcome", user, path=f"/reset?token={token}", expires_at=utcnow() + WELCOME_LIFETIME
    )


def tell_of_new_address(session: Session, desk: Desk, user: User, old: str) -> None:
    """Tell the old address that the account has another one; welcome somebody who never chose a password there."""
    if user.password_hash is None:
        welcome(session, desk, user)
    else:
        desk.write(session, old, "email_changed", user, path="/", changed_at=utcnow(), email=user.email)


def register(session: Session, desk: Desk, *, username: str, email: str, password: str, **values: Any) -> None:
    """Send a mail by which the address can be confirmed; the account is made then.

    Args:
        session: committed by the caller.
        desk: for the mail.
        username: the name to be shown.
        email: to be confirmed. Where it has an account, its owner is told instead.
        password: chosen for the account, and asked for again when the address is confirmed.
        values: language and time_zone, where they were given.
    """
    password_hash = passwords.hash_password(password)
    user = users.find_user(session, email)
    data = {"username": username, "password_hash": password_hash, **values}
    known = user is not None
    token = one_time.issue(session, "none" if known else "register", REGISTER_LIFETIME, email=email, data=data)
    expires_at = utcnow() + REGISTER_LIFETIME
    if user is not None:
        desk.write(session, user.email, "exists", user, path="/reset")
    else:
        desk.write(session, email, "verify", path=f"/verify?token={token}", expires_at=expires_at)


def confirm(session: Session, *, token: str, password: str) -> User:
    """Make the account that was registered.

    The password is asked for, so that whoever owns the address cannot be made to confirm an account to which
    somebody else has the password.

    Raises:
        BadToken: nothing was changed.
        users.Taken: somebody else has got the address meanwhile; the transaction has been rolled back.
    """
    found = one_time.redeem(session, "register", token)
    session.rollback()  # only looked at: checking the password takes long, and may fail
    known = found.data["password_hash"] if found is not None else None
    if not passwords.check_password(known, password) or found is None:
        raise BadToken
    found = one_time.redeem(session, "register", token)
    if found is None or found.email is None:
        raise BadToken
    return users.create_user(session, email=found.email, email_verified_at=utcnow(), **found.data)


def request_reset(session: Session, desk: Desk, email: str) -> None:
    """Send a link by which a new password can be chosen, if the address has an active account."""
    user = users.find_user(session, email)
    known = user is not None and user.active
    token = one_time.issue(
        session,
        "reset" if known else "none",
        RESET_LIFETIME,
        user_id=user.id if user is not None and known else None,
        email=email,
    )
    to = user.email if user is not None else email
    expires_at = utcnow() + RESET_LIFETIME
    desk.write(session, to, "reset", user, path=f"/reset?token={token}", expires_at=expires_at, withdrawn=not known)


def reset(session: Session, desk: Desk, *, token: str, password: str) -> User:
    """Set a new password by a mail's link, log the user out everywhere, and take the address as confirmed.

    Raises:
        BadToken: nothing was changed.
    """
    password_hash = passwords.hash_password(password)
    found = one_time.redeem(session, "reset", token)
    user = session.get(User, found.user_id) if found is not None else None
    if found is None or user is None or not user.active:
        session.rollback()
        raise BadToken
    user.email_verified_at = user.email_verified_at or utcnow()
    _set_password(session, desk, user, password_hash, keep=None)
    return user


def change_password(
    session: Session, desk: Desk, user: User, *, old_password: str, new_password: str, keep: str | None
) -> bool:
    """Set another password and end the user's other sessions.

    Args:
        session: committed by the caller.
        desk: for the mail that says so.
        user: whose password.
        old_password: must be the present one.
        new_password: to be.
        keep: the session that goes on.

    Returns:
        Was the old password right; if not, nothing was changed.
    """
    if not passwords.check_password(user.password_hash, old_password):
        return False
    _set_password(session, desk, user, passwords.hash_password(new_password), keep=keep)
    return True


def request_email_change(session: Session, desk: Desk, user: User, *, email: str, password: str) -> bool:
    """Send a link to a new address; it becomes the user's when the link is followed.

    Returns:
        Was the password right; if not, nothing was done.
    """
    if not passwords.check_password(user.password_hash, password):
        return False
    other = users.find_user(session, email)
    known = other is not None and other.id != user.id
    token = one_time.issue(session, "none" if known else "email", EMAIL_LIFETIME, user_id=user.id, email=email)
    if other is not None and known:
        desk.write(session, other.email, "exists", other, path="/reset")
    else:
        desk.write(
            session, email, "email_change", user, path=f"/email?token={token}", expires_at=utcnow() + EMAIL_LIFETIME
        )
    return True


def confirm_email_change(session: Session, desk: Desk, *, token: str) -> User:
    """Give a user the address that a link was sent to, and tell the old one.

    Raises:
        BadToken: nothing was changed.
        users.Taken: somebody else has got the address meanwhile; the transaction has been rolled back.
    """
    found = one_time.redeem(session, "email", token)
    user = session.get(User, found.user_id) if found is not None else None
    if found is None or found.email is None or user is None or not user.active:
        session.rollback()
        raise BadToken
    old = user.email
    users.change_user(session, user, access=desk.access, email=found.email)
    user.email_verified_at = utcnow()
    tell_of_new_address(session, desk, user, old)
    session.flush()
    return user


def _set_password(session: Session, desk: Desk, user: User, password_hash: str, *, keep: str | None) -> None:
    user.password_hash = password_hash
    user.updated_at = utcnow()
    one_time.withdraw(session, user.id, "reset", "email")
    sessions.end_sessions(session, user.id, access=desk.access, keep=keep)
    desk.write(session, user.email, "password_changed", user, path="/reset", changed_at=utcnow())
    session.flush()
