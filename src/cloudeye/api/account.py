"""One's own account: who one is, where one is logged in, the password and the address. Closed to API keys."""

from __future__ import annotations

from typing import Any

from marshmallow import fields
from sqlalchemy import select

from cloudeye.access import account_only, caller
from cloudeye.api.auth import EXPIRED_LINK, SENT, DoneAnswer
from cloudeye.api.base import Blueprint, desk
from cloudeye.api.users import UserAnswer, refusing_taken
from cloudeye.attempts import limit_confirmation, limit_own_password, limit_reset
from cloudeye.errors import INVALID, Problem
from cloudeye.extensions import db
from cloudeye.i18n import N_, gettext
from cloudeye.models import User, UserSession, utcnow
from cloudeye.schemas.common import envelope, success
from cloudeye.schemas.people import (
    EmailChangeSchema,
    EmailConfirmationSchema,
    PasswordChangeSchema,
    UserSessionSchema,
)
from cloudeye.services import accounts, sessions
from cloudeye.tokens import revocation_lifetime

blueprint = Blueprint("account", __name__, url_prefix="/auth", description="One's own account")

SessionsAnswer = envelope("SessionsAnswer", sessions=fields.List(fields.Nested(UserSessionSchema), required=True))

WRONG = {"password": [N_("Wrong password.")]}


@blueprint.route("/me")
@account_only
@blueprint.response(200, UserAnswer)
@blueprint.others("NOT_FOUND")
def get_me() -> dict[str, Any]:
    """Read who one is."""
    user = db.session.get(User, caller().id)
    if user is None:
        raise Problem(404, "User does not exist")
    return success(user=user)


@blueprint.route("/logout", methods=["POST"])
@account_only
@blueprint.response(200, DoneAnswer)
def log_out() -> dict[str, Any]:
    """End the session that asks, everywhere."""
    sessions.end_session(db.session(), caller().session_id or "", access=revocation_lifetime())
    return success("Logged out.")


@blueprint.route("/password", methods=["POST"])
@account_only
@blueprint.arguments(PasswordChangeSchema)
@blueprint.response(200, DoneAnswer)
@blueprint.others("CONFLICT")
@limit_own_password
def change_password(given: dict[str, str]) -> dict[str, Any]:
    """Choose another password; this ends the other sessions."""
    user = db.session.get_one(User, caller().id)
    if not accounts.change_password(db.session(), desk(), user, keep=caller().session_id, **given):
        raise Problem(400, INVALID, {"old_password": WRONG["password"]})
    return success("The password was changed.")


@blueprint.route("/email", methods=["POST"])
@account_only
@blueprint.arguments(EmailChangeSchema)
@blueprint.response(202, DoneAnswer)
@limit_reset
@limit_own_password
def request_email_change(given: dict[str, str]) -> dict[str, Any]:
    """Ask for another address; it is changed when its mail's link is followed."""
    user = db.session.get_one(User, caller().id)
    if not accounts.request_email_change(db.session(), desk(), user, **given):
        raise Problem(400, INVALID, WRONG)
    return success(SENT)


@blueprint.route("/email/confirm", methods=["POST"])
@blueprint.arguments(EmailConfirmationSchema)
@blueprint.response(200, UserAnswer)
@limit_confirmation
def confirm_email_change(given: dict[str, str]) -> dict[str, Any]:
    """Change the address by the token of the mail to the new one."""
    try:
        with refusing_taken():
            user = accounts.confirm_email_change(db.session(), desk(), **given)
    except accounts.BadToken:
        raise Problem(400, EXPIRED_LINK) from None
    db.session.commit()
    return success(user=user)


@blueprint.route("/sessions")
@account_only
@blueprint.response(200, SessionsAnswer)
def list_sessions() -> dict[str, Any]:
    """List where one is logged in, the newest first."""
    rows = db.session.scalars(
        select(UserSession)
        .where(UserSession.user_id == caller().id, UserSession.expires_at > utcnow())
        .order_by(UserSession.created_at.desc(), UserSession.id)
    ).all()
    return success(sessions=[{**vars(row), "current": row.id == caller().session_id} for row in rows])


@blueprint.route("/sessions", methods=["DELETE"])
@account_only
@blueprint.response(200, DoneAnswer)
def end_other_sessions() -> dict[str, Any]:
    """Log out everywhere else."""
    ended = sessions.end_sessions(db.session(), caller().id, access=revocation_lifetime(), keep=caller().session_id)
    return success(gettext("%(number)s sessions were ended.", number=ended))


@blueprint.route("/sessions/<session_id>", methods=["DELETE"])
@account_only
@blueprint.response(200, DoneAnswer)
@blueprint.others("NOT_FOUND")
def end_session(session_id: str) -> dict[str, Any]:
    """Log out somewhere."""
    mine = select(UserSession.id).where(UserSession.id == session_id, UserSession.user_id == caller().id)
    if db.session.scalar(mine) is None:
        raise Problem(404, "Session does not exist")
    sessions.end_session(db.session(), session_id, access=revocation_lifetime())
    return success("The session was ended.")
