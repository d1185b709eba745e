"""Logging in."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import current_app

from cloudeye.access import make_token, unauthorized
from cloudeye.api.base import Blueprint
from cloudeye.extensions import db
from cloudeye.schemas import LoginSchema, TokenSchema, envelope, success
from cloudeye.services import users

blueprint = Blueprint("auth", __name__, url_prefix="/auth", description="Logging in")

TokenAnswer = envelope("TokenAnswer", TokenSchema)


@blueprint.route("/login", methods=["POST"])
@blueprint.arguments(LoginSchema)
@blueprint.response(200, TokenAnswer)
@blueprint.others("UNAUTHORIZED")
def log_in(given: dict[str, str]) -> dict[str, Any]:
    """Exchange an e-mail and a password for an access token."""
    user = users.authenticate(db.session(), given["email"], given["password"])
    if user is None:
        raise unauthorized("E-mail or password is wrong.")
    db.session.commit()
    lifetime = timedelta(minutes=current_app.config["CLOUDEYE"].access_token_minutes)
    token = make_token(user, lifetime)
    return success("Logged in.", access_token=token, expires_in=int(lifetime.total_seconds()))
