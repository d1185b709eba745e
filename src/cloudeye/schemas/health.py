"""What an instance says of itself."""

from __future__ import annotations

import marshmallow as ma
from marshmallow import fields, validate


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
