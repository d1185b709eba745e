"""Logging in by OpenID Connect: a client brings a token of the issuer and gets tokens of ours."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import marshmallow as ma
from flask import current_app, request
from marshmallow import fields, validate

from cloudeye.access import unauthorized
from cloudeye.api.auth import TokensAnswer
from cloudeye.api.base import Blueprint
from cloudeye.attempts import limit_login_by_token
from cloudeye.config import LONGEST_TOKEN, Config, OidcConfig
from cloudeye.errors import Problem
from cloudeye.extensions import db
from cloudeye.preconditions import NEVER_CACHED
from cloudeye.schemas.common import envelope, success
from cloudeye.services import one_time
from cloudeye.tokens import start_session

log = logging.getLogger(__name__)

blueprint = Blueprint("oidc", __name__, url_prefix="/auth/oidc", description="Logging in by OpenID Connect")

NONCE_LIFETIME = timedelta(minutes=10)

# What the schema below asks for beside its fields, in the words of JSON Schema.
LOGIN_RULES = {
    "anyOf": [{"required": ["id_token"]}, {"required": ["access_token"]}],
    "dependentRequired": {"id_token": ["nonce"]},
}


def _token() -> fields.String:
    return fields.String(validate=validate.Length(1, LONGEST_TOKEN), load_only=True)


class OidcLoginSchema(ma.Schema):
    """A token of the issuer: the id token, with the nonce that it was made for, or an access token, or both."""

    id_token = _token()
    access_token = _token()
    nonce = fields.String(validate=validate.Length(1, 200), load_only=True)

    @ma.validates_schema
    def _enough(self, data: dict[str, Any], **_: Any) -> None:
        if "id_token" not in data and "access_token" not in data:
            raise ma.ValidationError("Name an id_token or an access_token.")
        if "id_token" in data and "nonce" not in data:
            raise ma.ValidationError("An id_token needs the nonce that it was made for.", "nonce")


class OidcSchema(ma.Schema):
    """What a client needs to begin."""

    issuer = fields.String(required=True)
    client_id = fields.String(required=True)
    nonce = fields.String(required=True, metadata={"description": "for one login"})
    expires_in = fields.Integer(required=True, metadata={"description": "seconds that the nonce lives"})


OidcAnswer = envelope("OidcAnswer", OidcSchema)


@blueprint.route("")
@blueprint.response(200, OidcAnswer)
@blueprint.others("NOT_FOUND")
def get_oidc() -> tuple[dict[str, Any], int, dict[str, str]]:
    """Read which issuer vouches for people here, and get a nonce for one login."""
    settings = _settings()
    nonce = one_time.issue(db.session(), "nonce", NONCE_LIFETIME)
    db.session.commit()
    seconds = int(NONCE_LIFETIME.total_seconds())
    answer = success(issuer=settings.issuer, client_id=settings.client_id, nonce=nonce, expires_in=seconds)
    return answer, 200, NEVER_CACHED


@blueprint.route("", methods=["POST"])
@blueprint.arguments(OidcLoginSchema)
@blueprint.response(200, TokensAnswer)
@blueprint.others("UNAUTHORIZED", "NOT_FOUND", "TOO_MANY_REQUESTS", "SERVICE_UNAVAILABLE")
@limit_login_by_token
def log_in_by_oidc(given: dict[str, str]) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Exchange a token of the issuer for an access token and a refresh token."""
    settings = _settings()
    from cloudeye.services import oidc  # what reads tokens is no part of a process that is shown none

    id_token, access_token, nonce = (given.get(name) for name in ("id_token", "access_token", "nonce"))
    try:
        if id_token is not None:
            claims = oidc.verify_id_token(settings, id_token, nonce or "", access_token)
        else:
            claims = oidc.verify_access_token(settings, access_token or "")
        user = oidc.sign_in(db.session(), settings, claims)
        # In the transaction of the login, so that a nonce lets in once; and not before, so that an issuer that
        # does not answer costs nobody theirs.
        if id_token is not None and one_time.redeem(db.session(), "nonce", nonce or "") is None:
            raise oidc.Refused("nonce: not of ours, expired, or used before")
    except oidc.Refused as refused:
        log.warning("login by OpenID Connect refused: %s", refused.reason)
        raise unauthorized("This login was refused.") from None
    except oidc.Unavailable as unavailable:
        log.error("login by OpenID Connect failed: %s", unavailable)
        headers = {"Retry-After": str(unavailable.retry_after)}
        raise Problem(503, "The issuer does not answer. Please try again in a moment.", headers=headers) from None
    tokens = start_session(user, "oidc", request.user_agent.string)
    db.session.commit()
    return success("Logged in.", **tokens), 200, NEVER_CACHED


def _settings() -> OidcConfig:
    config: Config = current_app.config["CLOUDEYE"]
    if not config.oidc.issuer:
        raise Problem(404, "Nobody logs in by OpenID Connect here.")
    return config.oidc
