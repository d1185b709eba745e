"""What pages were like, and how they differ from what was accepted."""

from __future__ import annotations

import marshmallow as ma
from marshmallow import fields, validate

from cloudeye.models import SEVERITIES, TAMPER_STATES
from cloudeye.schemas.common import WORD, PageQuerySchema, Whole
from cloudeye.schemas.sites import MAXIMUM_TAG

SORTS = ("id", "name", "tamper_since")


class PageChangeSchema(ma.Schema):
    """One difference between a page and its baseline."""

    kind = fields.String(required=True, metadata={"example": "script"})
    severity = fields.String(required=True, validate=validate.OneOf(SEVERITIES))
    text = fields.String(required=True, metadata={"description": "in English, with what the page holds"})


class VersionSchema(ma.Schema):
    """A page as it was seen at a time."""

    id = fields.Integer(required=True)
    seen_at = fields.AwareDateTime(required=True)
    status_code = fields.Integer(required=True, allow_none=True)
    severity = fields.String(
        required=True,
        allow_none=True,
        validate=validate.OneOf(SEVERITIES),
        metadata={"description": "of the gravest change; null: it was the first baseline"},
    )
    baseline = fields.Boolean(required=True, metadata={"description": "is it what pages are compared with now"})
    accepted_at = fields.AwareDateTime(
        required=True, allow_none=True, metadata={"description": "when somebody made it the baseline"}
    )
    changes = fields.List(
        fields.Nested(PageChangeSchema),
        required=True,
        metadata={"description": "from the baseline of that time, the gravest first"},
    )


class WholeVersionSchema(VersionSchema):
    """A page as it was seen at a time, with what it held."""

    url = fields.String(required=True, metadata={"description": "where the redirects led"})
    content_type = fields.String(required=True, allow_none=True)
    size = fields.Integer(required=True, metadata={"description": "bytes that are kept"})
    content = fields.String(required=True, metadata={"description": "its beginning, as the site sent it"})
    content_complete = fields.Boolean(required=True, metadata={"description": "is that all of it"})
    diff = fields.String(
        required=True, metadata={"description": "unified, from the baseline of that time; empty where nothing differed"}
    )


class TamperSchema(ma.Schema):
    """How a site's page stands to its baseline."""

    state = fields.String(required=True, validate=validate.OneOf(TAMPER_STATES))
    severity = fields.String(required=True, allow_none=True, validate=validate.OneOf(SEVERITIES))
    since = fields.AwareDateTime(required=True, allow_none=True)
    baseline = fields.Nested(VersionSchema, required=True, allow_none=True)
    version_id = fields.Integer(
        required=True, allow_none=True, metadata={"description": "the version that differs; null: none does"}
    )
    changes = fields.List(fields.Nested(PageChangeSchema), required=True, metadata={"description": "the gravest first"})
    diff = fields.String(required=True, metadata={"description": "unified"})


class SiteTamperSchema(ma.Schema):
    """How the page of one of several sites stands to its baseline."""

    id = fields.Integer(required=True, metadata={"description": "of the site"})
    name = fields.String(required=True)
    url = fields.String(required=True)
    tags = fields.List(fields.String(), required=True)
    state = fields.String(required=True, validate=validate.OneOf(TAMPER_STATES))
    severity = fields.String(required=True, allow_none=True, validate=validate.OneOf(SEVERITIES))
    since = fields.AwareDateTime(required=True, allow_none=True)


class TamperQuerySchema(PageQuerySchema):
    """Which sites, and which part of the list."""

    state = fields.String(validate=validate.OneOf(TAMPER_STATES))
    severity = fields.String(validate=validate.OneOf(SEVERITIES))
    tag = fields.String(validate=[validate.Length(1, MAXIMUM_TAG), validate.Regexp(WORD)])
    sort = fields.String(
        load_default="id", validate=validate.OneOf([way + name for name in SORTS for way in ("", "-")])
    )


class AcceptSchema(ma.Schema):
    """Which version is to be the baseline."""

    version_id = Whole(
        validate=validate.Range(1, 2**63 - 1), metadata={"description": "left out: the one that was seen last"}
    )
