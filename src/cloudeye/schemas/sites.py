"""Sites, and what was found."""

from __future__ import annotations

import marshmallow as ma
from flask import current_app
from marshmallow import fields, validate

from cloudeye.i18n import gettext
from cloudeye.models import STATES
from cloudeye.schemas.common import ChangeSchema, Line, PageQuerySchema, Whole

MAXIMUM_INTERVAL = 86_400


def _interval(value: int) -> None:
    minimum = current_app.config["CLOUDEYE"].sync.minimum_interval
    if not minimum <= value <= MAXIMUM_INTERVAL:
        limits = {"minimum": minimum, "maximum": MAXIMUM_INTERVAL}
        raise ma.ValidationError(gettext("Must be between %(minimum)s and %(maximum)s seconds.", **limits))


class NewSiteSchema(ma.Schema):
    """A site to be watched."""

    name = Line(required=True, validate=validate.Length(1, 120))
    url = fields.String(
        required=True,
        validate=validate.Length(1, 2048),
        metadata={"example": "https://example.com/", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://"},
    )
    interval = Whole(validate=_interval, metadata={"description": "seconds"})


class SiteChangeSchema(ChangeSchema, NewSiteSchema):
    """What is to change of a site."""


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


class SiteQuerySchema(PageQuerySchema):
    """Which sites, and which part of the list."""

    state = fields.String(validate=validate.OneOf(STATES))
    sort = fields.String(load_default="id", validate=validate.OneOf(["id", "-id", "name", "-name", "state", "-state"]))


class CheckSchema(ma.Schema):
    """One probe of a site."""

    id = fields.Integer(required=True)
    checked_at = fields.AwareDateTime(required=True)
    state = fields.String(required=True, validate=validate.OneOf(STATES))
    status_code = fields.Integer(required=True, allow_none=True)
    latency_ms = fields.Float(required=True, allow_none=True)
    error = fields.String(required=True, allow_none=True)
