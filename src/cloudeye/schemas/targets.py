"""Where alerts go."""

from __future__ import annotations

import marshmallow as ma
from marshmallow import fields, validate

from cloudeye.models import EVENT_KINDS, SEVERITIES, TARGET_KINDS
from cloudeye.schemas.common import ChangeSchema, Line, Some
from cloudeye.schemas.row import RowSchema

_KINDS = {"description": "of events; null: all"}
_SEVERITY = {"description": "of changes of the page, and of findings"}


class TargetSettingsSchema(ma.Schema):
    """What may be set, and changed later, of a target."""

    name = Line(required=True, validate=validate.Length(1, 80))
    address = fields.String(
        required=True,
        validate=validate.Length(1, 2048),
        metadata={"example": "owner@example.com", "description": "a mail address, or a URL"},
    )
    kinds = Some(
        fields.String(validate=validate.OneOf(EVENT_KINDS)), most=len(EVENT_KINDS), allow_none=True, metadata=_KINDS
    )
    minimum_severity = fields.String(validate=validate.OneOf(SEVERITIES), metadata=_SEVERITY)
    active = fields.Boolean(truthy={True}, falsy={False})


class NewTargetSchema(TargetSettingsSchema):
    """A target to be added."""

    kind = fields.String(required=True, validate=validate.OneOf(TARGET_KINDS))


class TargetChangeSchema(ChangeSchema, TargetSettingsSchema):
    """What is to change of a target; its kind stays."""


class TargetSchema(RowSchema):
    """Where alerts go."""

    id = fields.Integer(required=True)
    name = fields.String(required=True)
    kind = fields.String(required=True, validate=validate.OneOf(TARGET_KINDS))
    address = fields.String(required=True)
    kinds = fields.List(fields.String(), required=True, allow_none=True, metadata=_KINDS)
    minimum_severity = fields.String(required=True, validate=validate.OneOf(SEVERITIES), metadata=_SEVERITY)
    active = fields.Boolean(required=True)
    confirmed_at = fields.AwareDateTime(
        required=True, allow_none=True, metadata={"description": "null: whoever owns the address was asked"}
    )
    error = fields.String(
        required=True, allow_none=True, metadata={"description": "of the last attempt; null: it was taken"}
    )
    created_at = fields.AwareDateTime(required=True)
    updated_at = fields.AwareDateTime(required=True)


class ConfirmationSchema(ma.Schema):
    """The token of a confirmation's link."""

    token = fields.String(required=True, validate=validate.Length(1, 128))
