"""Logging in and out, registering, and choosing a forgotten password anew. What is here is open to strangers."""

from __future__ import annotations

from typing import Any

from flask import current_app, request

from cloudeye.access import unauthorized
from cloudeye.api.base import Blueprint, desk
from cloudeye.api.users import UserAnswer, refusing_taken
from cloudeye.attempts import forgive, limit_confirmation, limit_login, limit_registration, limit_reset
from cloudeye.errors import Problem
from cloudeye.extensions import db
from cloudeye.i18n import N_, gettext
from cloudeye.preconditions import NEVER_CACHED
from cloudeye.schemas.common import envelope, success
from cloudeye.schemas.people import (
    LoginSchema,
    RefreshSchema,
    RegistrationSchema,
    ResetRequestSchema,
    ResetSchema,
    TokensSchema,
    VerificationSchema,
)
from cloudeye.services import accounts, users
from cloudeye.tokens import exchange, start_session

blueprint = Blueprint("auth", __name__, url_prefix="/auth", description="Logging in")

TokensAnswer = envelope("TokensAnswer", TokensSchema)
DoneAnswer = envelope("DoneAnswer")

SENT = N_("If that address can be used, a mail is on its way to it.")
EXPIRED_LINK = N_("This link has expired or was used before.")


@blueprint.route("/login", methods=["POST"])
@blueprint.arguments(LoginSchema)
@blueprint.response(200, TokensAnswer)
@blueprint.others("UNAUTHORIZED")
@limit_login
def log_in(given: dict[str, str]) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Exchange an e-mail and a password for an access token and a refresh token."""
    user = users.authenticate(db.session(), given["email"], given["password"])
    if user is None:
        raise unauthorized("E-mail or password is wrong.")
    tokens = start_session(user, "password", request.user_agent.string)
    db.session.commit()
    return success("Logged in.", **tokens), 200, NEVER_CACHED


@blueprint.route("/refresh", methods=["POST"])
@blueprint.arguments(RefreshSchema)
@blueprint.response(200, TokensAnswer)
@blueprint.others("UNAUTHORIZED")
def refresh(given: dict[str, str]) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Exchange a refresh token for the next pair; one that was exchanged before ends the session."""
    tokens = exchange(given["refresh_token"])
    if tokens is None:
        raise unauthorized("Please log in again.")
    return success(**tokens), 200, NEVER_CACHED


@blueprint.route("/register", methods=["POST"])
@blueprint.arguments(RegistrationSchema)
@blueprint.response(202, DoneAnswer)
@blueprint.others("FORBIDDEN")
@limit_registration
def register(given: dict[str, Any]) -> dict[str, Any]:
    """Ask for an account; it is made when the address is confirmed. The answer does not tell who has one."""
    if not current_app.config["CLOUDEYE"].open_registration:
        raise Problem(403, "Accounts are made by admins here.")
    accounts.register(db.session(), desk(), **given)
    db.session.commit()
    return success(SENT)


@blueprint.route("/verify", methods=["POST"])
@blueprint.arguments(VerificationSchema)
@blueprint.response(201, UserAnswer)
@limit_confirmation
def verify(given: dict[str, str]) -> dict[str, Any]:
    """Confirm an address by the token of its mail and the password that was chosen, which makes the account."""
    try:
        with refusing_taken():
            user = accounts.confirm(db.session(), **given)
    except accounts.BadToken:
        raise Problem(400, "This link has expired or was used before, or the password is wrong.") from None
    db.session.commit()
    return success(gettext("%(name)s was added!", name=user.email), user=user)


@blueprint.route("/reset", methods=["POST"])
@blueprint.arguments(ResetRequestSchema)
@blueprint.response(202, DoneAnswer)
@limit_reset
def request_reset(given: dict[str, str]) -> dict[str, Any]:
    """Ask for a mail by which a new password can be chosen. The answer does not tell who has an account."""
    accounts.request_reset(db.session(), desk(), given["email"])
    db.session.commit()
    return success(SENT)


@blueprint.route("/reset/confirm", methods=["POST"])
@blueprint.arguments(ResetSchema)
@blueprint.response(200, DoneAnswer)
@limit_confirmation
def reset(given: dict[str, str]) -> dict[str, Any]:
    """Choose a new password by the token of a mail; this logs out everywhere."""
    try:
        user = accounts.reset(db.session(), desk(), **given)
    except accounts.BadToken:
        raise Problem(400, EXPIRED_LINK) from None
    db.session.commit()
    forgive(user.email)
    return success("The password was changed.")
