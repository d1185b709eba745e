"""What goes in and what comes out. Unknown fields are refused wherever a body is read."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from flask import current_app
from marshmallow import fields, validate

from cloudeye.models import ROLES, STATES

MINIMUM_PASSWORD, MAXIMUM_PASSWORD = 8, 256
MAXIMUM_INTERVAL = 86_400
MAXIMUM_PAGE = 1_000_000
PHONE = r"^(?:[0-9]{11}|\+[0-9]{6,18})$"


class Line(fields.String):
    """One line of text: printable, without blanks around it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs).strip()
        if not text.isprintable():
            raise ma.ValidationError("Must be one line of printable text.")
        return text


class Password(fields.String):
    """A password: any characters, as long as they can be written as UTF-8."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise ma.ValidationError("Not a valid string.")
        return text


class Email(Line):
    """A mail address with a name and a domain."""

    default_validator = validate.Email()

    def __init__(self, **kwargs: Any) -> None:
        metadata = {"format": "email"} | kwargs.pop("metadata", {})
        super().__init__(metadata=metadata, **kwargs)
        self.validators = [validate.Length(max=254), self.default_validator]


def _interval(value: int) -> None:
    minimum = current_app.config["CLOUDEYE"].sync.minimum_interval
    if not minimum <= value <= MAXIMUM_INTERVAL:
        raise ma.ValidationError(f"Must be between {minimum} and {MAXIMUM_INTERVAL} seconds.")


class LoginSchema(ma.Schema):
    """Who wants to log in."""

    email = Line(required=True, validate=validate.Length(1, 254), metadata={"example": "me@example.com"})
    password = Password(required=True, validate=validate.Length(1, MAXIMUM_PASSWORD), load_only=True)


class TokenSchema(ma.Schema):
    """A token for the Authorization header."""

    access_token = fields.String(required=True)
    token_type = fields.Constant("Bearer")
    expires_in = fields.Integer(required=True, metadata={"description": "seconds"})


class NewUserSchema(ma.Schema):
    """A user to be made."""

    username = Line(required=True, validate=validate.Length(1, 80))
    email = Email(required=True, metadata={"example": "me@example.com"})
    password = Password(load_only=True, validate=validate.Length(MINIMUM_PASSWORD, MAXIMUM_PASSWORD))
    phone = Line(allow_none=True, validate=validate.Regexp(PHONE, error="Must be 11 digits or + and digits."))
    role = fields.String(validate=validate.OneOf(ROLES))
    active = fields.Boolean(truthy={True}, falsy={False})


class UserSchema(ma.Schema):
    """A user."""

    id = fields.Integer(required=True)
    username = fields.String(required=True)
    email = fields.String(required=True)
    phone = fields.String(required=True, allow_none=True)
    role = fields.String(required=True, validate=validate.OneOf(ROLES))
    active = fields.Boolean(required=True)
    created_at = fields.AwareDateTime(required=True)
    updated_at = fields.AwareDateTime(required=True)


class NewSiteSchema(ma.Schema):
    """A site to be watched."""

    name = Line(required=True, validate=validate.Length(1, 120))
    url = fields.String(
        required=True,
        validate=validate.Length(1, 2048),
        metadata={"example": "https://example.com/", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://"},
    )
    interval = fields.Integer(strict=True, validate=_interval, metadata={"description": "seconds"})


class SiteChangeSchema(NewSiteSchema):
    """What is to change of a site: one field or more."""

    class Meta:
        """All fields may be left out."""

        partial = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(partial=True, **kwargs)

    @ma.validates_schema
    def _something(self, data: dict[str, Any], **_: Any) -> None:
        if not data:
            raise ma.ValidationError("Name at least one field to change.")


class UsabilitySchema(ma.Schema):
    """What the last probe of a site said."""

    state = fields.String(required=True, validate=validate.OneOf(STATES))
    status_code = fields.Integer(required=True, allow_none=True)
    latency_ms = fields.Float(required=True, allow_none=True)
    error = fields.String(required=True, allow_none=True)
    last_checked_at = fields.AwareDateTime(required=True, allow_none=True)
    state_since = fields.AwareDateTime(required=True, allow_none=True)


class SiteSchema(UsabilitySchema):
    """A site."""

    id = fields.Integer(required=True)
    owner_id = fields.Integer(required=True)
    name = fields.String(required=True)
    url = fields.String(required=True)
    interval = fields.Integer(required=True, metadata={"description": "seconds"})
    created_at = fields.AwareDateTime(required=True)
    updated_at = fields.AwareDateTime(required=True)


class PageQuerySchema(ma.Schema):
    """Which part of a list."""

    page = fields.Integer(load_default=1, validate=validate.Range(1, MAXIMUM_PAGE))
    per_page = fields.Integer(load_default=50, validate=validate.Range(1, 100))


class UserQuerySchema(PageQuerySchema):
    """Which users, and which part of the list."""

    email = fields.String(validate=validate.Length(max=254))
    phone = fields.String(validate=validate.Length(max=20))
    active = fields.Boolean()


class PagingSchema(ma.Schema):
    """Where in a list one is; the links are paths on this host."""

    page = fields.Integer(required=True)
    per_page = fields.Integer(required=True)
    total = fields.Integer(required=True)
    next = fields.String(required=True, allow_none=True)
    prev = fields.String(required=True, allow_none=True)


class HealthSchema(ma.Schema):
    """Which release answers."""

    release = fields.String(required=True)


class ReadinessSchema(HealthSchema):
    """Whether this instance can serve, and what is good to know beside it."""

    database = fields.String(required=True, validate=validate.OneOf(["reachable", "unreachable"]))
    missing_revisions = fields.List(fields.String(), required=True)
    sync_heartbeat_age = fields.Float(
        required=True, allow_none=True, metadata={"description": "seconds; null where none was written"}
    )


def envelope(name: str, inner: type[ma.Schema] | None = None, **data: fields.Field[Any]) -> type[ma.Schema]:
    """Make the schema of a successful answer.

    Args:
        name: of the schema in the description of the API.
        inner: the schema of the answer's ``data``.
        data: or the fields of the answer's ``data``; without either there is none.
    """
    members: dict[str, Any] = {
        "status": fields.String(required=True, validate=validate.Equal("success")),
        "message": fields.String(),
    }
    if inner is None and data:
        inner = ma.Schema.from_dict(dict(data), name=f"{name}Data")
    if inner is not None:
        members["data"] = fields.Nested(inner, required=True)
    return ma.Schema.from_dict(members, name=name)


def success(message: str | None = None, **data: Any) -> dict[str, Any]:
    """Return a successful answer for one of the schemas above."""
    answer: dict[str, Any] = {"status": "success"}
    if message is not None:
        answer["message"] = message
    if data:
        answer["data"] = data
    return answer
