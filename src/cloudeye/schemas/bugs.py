"""Weaknesses of sites, and proof of control over them."""

from __future__ import annotations

import marshmallow as ma
from marshmallow import fields, validate

from cloudeye.models import FINDING_STATES, SEVERITIES
from cloudeye.schemas.common import WORD, Count, Line, PageQuerySchema
from cloudeye.schemas.sites import MAXIMUM_TAG
from cloudeye.services.findings.catalogue import CATALOGUE
from cloudeye.services.findings.grade import LETTERS
from cloudeye.services.findings.store import KINDS

GRADES = [letter for _, letter in LETTERS]


class FindingSchema(ma.Schema):
    """A weakness of a site: what was seen, how bad it is, and what to do about it."""

    id = fields.Integer(required=True)
    site_id = fields.Integer(required=True)
    code = fields.String(required=True, metadata={"example": next(iter(CATALOGUE))})
    subject = fields.String(
        required=True, metadata={"description": "which cookie, path or host; empty where there is but one"}
    )
    kind = fields.String(
        required=True,
        validate=validate.OneOf(KINDS),
        metadata={"description": "what sees it, and alone can say that it is fixed"},
    )
    state = fields.String(required=True, validate=validate.OneOf(FINDING_STATES))
    severity = fields.String(required=True, validate=validate.OneOf(SEVERITIES))
    points = fields.Integer(required=True, metadata={"description": "what its code costs, once for all subjects"})
    title = fields.String(required=True)
    evidence = fields.String(required=True, allow_none=True, metadata={"description": "what was seen"})
    remedy = fields.String(required=True)
    reference = fields.String(required=True, metadata={"description": "a URL"})
    note = fields.String(required=True, allow_none=True)
    acknowledged_by = fields.Integer(required=True, allow_none=True, metadata={"description": "a user's id"})
    acknowledged_at = fields.AwareDateTime(required=True, allow_none=True)
    first_seen_at = fields.AwareDateTime(required=True)
    last_seen_at = fields.AwareDateTime(required=True)
    fixed_at = fields.AwareDateTime(required=True, allow_none=True)


class SiteFindingSchema(FindingSchema):
    """A weakness of one of several sites."""

    name = fields.String(required=True, metadata={"description": "of the site"})
    url = fields.String(required=True)


class TermSchema(ma.Schema):
    """One line of the arithmetic."""

    code = fields.String(required=True)
    title = fields.String(required=True)
    points = fields.Integer(required=True)


class GradeSchema(ma.Schema):
    """A site's grade, and how it comes about: start and the terms' points together are the score, at least 0."""

    grade = fields.String(
        required=True,
        allow_none=True,
        validate=validate.OneOf(GRADES),
        metadata={"description": "null: not looked at yet"},
    )
    score = fields.Integer(required=True, allow_none=True)
    start = fields.Integer(required=True)
    terms = fields.List(fields.Nested(TermSchema), required=True)
    worst_severity = fields.String(required=True, allow_none=True, validate=validate.OneOf(SEVERITIES))
    open_findings = fields.Integer(required=True)
    inspected_at = fields.AwareDateTime(required=True, allow_none=True)
    controlled_at = fields.AwareDateTime(
        required=True, allow_none=True, metadata={"description": "control was last proven; null: no scans"}
    )
    next_scan_at = fields.AwareDateTime(required=True, allow_none=True)


class FindingsQuerySchema(PageQuerySchema):
    """Which findings of a site, and which part of the list."""

    state = fields.String(validate=validate.OneOf(FINDING_STATES))
    severity = fields.String(validate=validate.OneOf(SEVERITIES))


class BugsQuerySchema(ma.Schema):
    """Which findings, and which part of the list. A part may be short and still not be the last."""

    cursor = fields.String(
        validate=validate.Regexp(r"^[1-9][0-9]{0,17}(\.[1-9][0-9]{0,17})?$"),
        metadata={"description": "from a paging block's next"},
    )
    limit = Count(load_default=50, validate=validate.Range(1, 100))
    state = fields.String(validate=validate.OneOf(FINDING_STATES))
    severity = fields.String(validate=validate.OneOf(SEVERITIES))
    tag = fields.String(
        validate=[validate.Length(1, MAXIMUM_TAG), validate.Regexp(WORD)], metadata={"description": "of the sites"}
    )


class FindingChangeSchema(ma.Schema):
    """What is to become of a finding: known, or open again."""

    state = fields.String(required=True, validate=validate.OneOf(["acknowledged", "open"]))
    note = Line(validate=validate.Length(1, 255), allow_none=True)


class ControlSchema(ma.Schema):
    """Who has control of a site, and how it is proven: by the file or by the record, one of them will do."""

    token = fields.String(required=True)
    file_url = fields.String(required=True, metadata={"description": "where a file must hold the token on a line"})
    record_name = fields.String(
        required=True, allow_none=True, metadata={"description": "of the TXT record; null: the host is an address"}
    )
    record_value = fields.String(required=True, metadata={"description": "of the TXT record"})
    proven = fields.Boolean(required=True)
    controlled_at = fields.AwareDateTime(required=True, allow_none=True, metadata={"description": "last proven"})
    next_scan_at = fields.AwareDateTime(required=True, allow_none=True)
