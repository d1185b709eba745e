"""People, and what they log in with."""

from __future__ import annotations

from zoneinfo import available_timezones

import marshmallow as ma
from marshmallow import fields, validate

from cloudeye.i18n import N_
from cloudeye.models import LANGUAGES, ROLES
from cloudeye.schemas.common import (
    MAXIMUM_PASSWORD,
    MINIMUM_PASSWORD,
    ChangeSchema,
    Choice,
    Email,
    Future,
    Line,
    PageQuerySchema,
    Password,
    Some,
)
from cloudeye.schemas.row import RowSchema
from cloudeye.services.keys import SCOPES

PHONE = r"^(?:[0-9]{11}|\+[0-9]{6,18})$"
SORTS = ("id", "email", "username", "created_at")


class LoginSchema(ma.Schema):
    """Who wants to log in."""

    email = Line(required=True, validate=validate.Length(1, 254), metadata={"example": "me@example.com"})
    password = Password(required=True, validate=validate.Length(1, MAXIMUM_PASSWORD), load_only=True)


class TokensSchema(ma.Schema):
    """A token for the Authorization header, and one to be exchanged for the next pair."""

    access_token = fields.String(required=True)
    refresh_token = fields.String(required=True)
    token_type = fields.Constant("Bearer")
    expires_in = fields.Integer(required=True, metadata={"description": "seconds that the access token lives"})


class RefreshSchema(ma.Schema):
    """A refresh token, to be exchanged."""

    refresh_token = fields.String(required=True, validate=validate.Length(1, 4096), load_only=True)


# Asked for once: it looks through hundreds of files.
TIME_ZONES = frozenset(available_timezones())


def _time_zone(name: str) -> None:
    if name not in TIME_ZONES:
        raise ma.ValidationError("Not a time zone of the IANA database, such as Europe/Berlin.")


def _new_password() -> Password:
    return Password(required=True, load_only=True, validate=validate.Length(MINIMUM_PASSWORD, MAXIMUM_PASSWORD))


class PreferencesSchema(ma.Schema):
    """How somebody wants to be addressed; null leaves it to the browser."""

    language = fields.String(allow_none=True, validate=validate.OneOf(LANGUAGES))
    time_zone = fields.String(allow_none=True, validate=_time_zone, metadata={"example": "Asia/Shanghai"})


class RegistrationSchema(PreferencesSchema):
    """Who wants an account."""

    username = Line(required=True, validate=validate.Length(1, 80))
    email = Email(required=True, metadata={"example": "me@example.com"})
    password = _new_password()


class VerificationSchema(ma.Schema):
    """The token of the mail, and the password that was chosen: so nobody else's registration is confirmed."""

    token = fields.String(required=True, validate=validate.Length(1, 100), load_only=True)
    password = Password(required=True, validate=validate.Length(1, MAXIMUM_PASSWORD), load_only=True)


class ResetRequestSchema(ma.Schema):
    """Whose password is forgotten."""

    email = Email(required=True, metadata={"example": "me@example.com"})


class ResetSchema(ma.Schema):
    """The token of the mail, and the password to be."""

    token = fields.String(required=True, validate=validate.Length(1, 100), load_only=True)
    password = _new_password()


class PasswordChangeSchema(ma.Schema):
    """The password that is, and the one to be."""

    old_password = Password(required=True, validate=validate.Length(1, MAXIMUM_PASSWORD), load_only=True)
    new_password = _new_password()


class EmailChangeSchema(ma.Schema):
    """The address to be."""

    email = Email(required=True, metadata={"example": "me@example.com"})
    password = Password(required=True, validate=validate.Length(1, MAXIMUM_PASSWORD), load_only=True)


class EmailConfirmationSchema(ma.Schema):
    """The token of the mail to the new address."""

    token = fields.String(required=True, validate=validate.Length(1, 100), load_only=True)


class NewUserSchema(PreferencesSchema):
    """A user to be made; without a password, one who is sent a link to choose it."""

    username = Line(required=True, validate=validate.Length(1, 80))
    email = Email(required=True, metadata={"example": "me@example.com"})
    password = Password(load_only=True, validate=validate.Length(MINIMUM_PASSWORD, MAXIMUM_PASSWORD))
    phone = Line(allow_none=True, validate=validate.Regexp(PHONE, error=N_("Must be 11 digits or + and digits.")))
    role = fields.String(validate=validate.OneOf(ROLES))
    active = fields.Boolean(truthy={True}, falsy={False})


class UserChangeSchema(ChangeSchema, PreferencesSchema):
    """What is to change of a user; ``email``, ``role`` and ``active`` are for admins."""

    username = Line(validate=validate.Length(1, 80))
    email = Email(metadata={"example": "me@example.com"})
    phone = Line(allow_none=True, validate=validate.Regexp(PHONE, error=N_("Must be 11 digits or + and digits.")))
    role = fields.String(validate=validate.OneOf(ROLES))
    active = fields.Boolean(truthy={True}, falsy={False})


class UserSchema(RowSchema):
    """A user."""

    id = fields.Integer(required=True)
    username = fields.String(required=True)
    email = fields.String(required=True)
    email_verified_at = fields.AwareDateTime(required=True, allow_none=True)
    phone = fields.String(required=True, allow_none=True)
    role = fields.String(required=True, validate=validate.OneOf(ROLES))
    active = fields.Boolean(required=True)
    language = fields.String(required=True, allow_none=True)
    time_zone = fields.String(required=True, allow_none=True)
    created_at = fields.AwareDateTime(required=True)
    updated_at = fields.AwareDateTime(required=True)


class UserSessionSchema(ma.Schema):
    """Somewhere that a user is logged in."""

    id = fields.String(required=True)
    method = fields.String(required=True, validate=validate.OneOf(["password", "oidc"]))
    agent = fields.String(required=True, allow_none=True)
    current = fields.Boolean(required=True, metadata={"description": "the session that asks"})
    created_at = fields.AwareDateTime(required=True)
    last_used_at = fields.AwareDateTime(required=True)
    expires_at = fields.AwareDateTime(required=True)


class NewKeySchema(ma.Schema):
    """A key to be made."""

    name = Line(required=True, validate=validate.Length(1, 80))
    scopes = Some(fields.String(validate=validate.OneOf(SCOPES)), required=True, most=len(SCOPES))
    expires_at = Future(allow_none=True)


class KeySchema(ma.Schema):
    """A key, but for its secret."""

    id = fields.Integer(required=True)
    name = fields.String(required=True)
    prefix = fields.String(required=True)
    scopes = fields.Function(
        lambda key: key.scopes.split(),
        required=True,
        metadata={"type": "array", "items": {"type": "string", "enum": list(SCOPES)}},
    )
    last_used_at = fields.AwareDateTime(required=True, allow_none=True, metadata={"description": "to the minute"})
    expires_at = fields.AwareDateTime(required=True, allow_none=True)
    created_at = fields.AwareDateTime(required=True)


class UserQuerySchema(PageQuerySchema):
    """Which users, and which part of the list."""

    email = fields.String(validate=validate.Length(max=254))
    phone = fields.String(validate=validate.Length(max=20))
    active = Choice()
    sort = fields.String(load_default="id", validate=validate.OneOf([*SORTS, *(f"-{name}" for name in SORTS)]))
