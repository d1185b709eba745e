"""What happened to sites."""

from __future__ import annotations

import marshmallow as ma
from marshmallow import fields, validate

from cloudeye.models import EVENT_KINDS, SEVERITIES
from cloudeye.schemas.common import LARGEST_ID, WORD, Count, CursorQuerySchema
from cloudeye.schemas.sites import MAXIMUM_TAG


class EventSchema(ma.Schema):
    """Something that changed."""

    id = fields.String(required=True, metadata={"description": "the same however often and wherever it is told"})
    site_id = fields.Integer(required=True)
    site_name = fields.String(required=True)
    kind = fields.String(required=True, validate=validate.OneOf(EVENT_KINDS))
    type = fields.String(required=True, metadata={"description": "as in webhooks", "example": "site.down"})
    severity = fields.String(required=True, allow_none=True, validate=validate.OneOf(SEVERITIES))
    what = fields.String(required=True, metadata={"description": "one sentence, in English"})
    details = fields.Dict(keys=fields.String(), required=True)
    told = fields.Boolean(
        required=True,
        metadata={
            "description": "to anybody; false also while it waits for others, and where no alert target wanted it"
        },
    )
    created_at = fields.AwareDateTime(required=True)


class SiteEventsQuerySchema(CursorQuerySchema):
    """Which events of a site, and which part of the history."""

    kind = fields.String(validate=validate.OneOf(EVENT_KINDS))
    severity = fields.String(validate=validate.OneOf(SEVERITIES))


class EventsQuerySchema(SiteEventsQuerySchema):
    """Which events, and which part of the history."""

    site_id = Count(validate=validate.Range(1, LARGEST_ID))
    tag = fields.String(
        validate=[validate.Length(1, MAXIMUM_TAG), validate.Regexp(WORD)], metadata={"description": "of the sites"}
    )
