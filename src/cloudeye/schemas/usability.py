"""How usable sites are: figures, history and incidents."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from cloudeye.i18n import N_
from cloudeye.models import STATES
from cloudeye.schemas.common import WORD, Count, PageQuerySchema
from cloudeye.schemas.sites import MAXIMUM_TAG
from cloudeye.services.usability.history import RESOLUTIONS
from cloudeye.services.usability.uptime import WINDOWS

FIRST_MOMENT = datetime(1970, 1, 1, tzinfo=UTC)
INCIDENT_STATES = ("open", "closed")
_SHARE = {"description": "share of the checks outside of maintenance that succeeded; null when there were none"}
_MILLISECONDS = {"description": "milliseconds"}


class Moment(fields.AwareDateTime):
    """A moment in a query, kept in UTC."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        try:
            moment = super()._deserialize(value, attr, data, **kwargs).astimezone(UTC)
        except OverflowError:
            raise self.make_error("invalid", input=value, obj_type=self.OBJ_TYPE) from None
        if moment < FIRST_MOMENT:
            raise ma.ValidationError(N_("Must not lie before 1970."))
        return moment


class LatencySchema(ma.Schema):
    """Where the time of a probe went, or that of several on average. Phases add up over redirects."""

    latency_ms = fields.Float(required=True, metadata={"description": "milliseconds to the answer's first byte"})
    dns_ms = fields.Float(required=True, metadata=_MILLISECONDS)
    connect_ms = fields.Float(required=True, metadata=_MILLISECONDS)
    tls_ms = fields.Float(required=True, metadata=_MILLISECONDS)
    first_byte_ms = fields.Float(required=True, metadata={"description": "milliseconds from the request to its answer"})
    total_ms = fields.Float(required=True, metadata={"description": "milliseconds from the beginning to the end"})


class FiguresSchema(ma.Schema):
    """What probes found within a time; latencies are those of checks that succeeded, within one percent."""

    since = fields.AwareDateTime(required=True, metadata={"description": "a full hour"})
    checks = fields.Integer(required=True, metadata={"description": "outside of maintenance"})
    down = fields.Integer(required=True, metadata={"description": "of these checks"})
    maintenance = fields.Integer(required=True, metadata={"description": "checks within maintenance"})
    uptime = fields.Float(required=True, allow_none=True, metadata=_SHARE)
    p50_ms = fields.Float(required=True, allow_none=True, metadata=_MILLISECONDS)
    p95_ms = fields.Float(required=True, allow_none=True, metadata=_MILLISECONDS)
    p99_ms = fields.Float(required=True, allow_none=True, metadata=_MILLISECONDS)


WindowsSchema = ma.Schema.from_dict(
    {name: fields.Nested(FiguresSchema, required=True) for name in WINDOWS}, name="WindowsSchema"
)


class IncidentSchema(ma.Schema):
    """A time in which a site was down."""

    id = fields.Integer(required=True)
    started_at = fields.AwareDateTime(required=True)
    ended_at = fields.AwareDateTime(required=True, allow_none=True, metadata={"description": "null while it lasts"})
    seconds = fields.Integer(required=True, metadata={"description": "so far, while it lasts"})
    cause = fields.String(required=True)
    status_code = fields.Integer(required=True, allow_none=True)


class SiteIncidentSchema(IncidentSchema):
    """A time in which one of several sites was down."""

    site_id = fields.Integer(required=True)
    name = fields.String(required=True, metadata={"description": "of the site"})
    url = fields.String(required=True)


class StateSchema(ma.Schema):
    """What the last probe of a site said."""

    state = fields.String(required=True, validate=validate.OneOf(STATES))
    error = fields.String(required=True, allow_none=True, metadata={"description": "why it failed"})
    state_since = fields.AwareDateTime(required=True, allow_none=True)
    status_code = fields.Integer(required=True, allow_none=True)
    latency_ms = fields.Float(required=True, allow_none=True)
    last_checked_at = fields.AwareDateTime(required=True, allow_none=True)
    failures = fields.Integer(required=True, metadata={"description": "probes in a row that failed"})
    paused = fields.Boolean(required=True, metadata={"description": "not looked at"})


class SiteUsabilitySchema(StateSchema):
    """How usable a site is."""

    timings = fields.Nested(
        LatencySchema, required=True, allow_none=True, metadata={"description": "of the last probe"}
    )
    windows = fields.Nested(WindowsSchema, required=True)
    incident = fields.Nested(IncidentSchema, required=True, allow_none=True, metadata={"description": "that lasts"})


class ListedUsabilitySchema(StateSchema):
    """How usable one of several sites is."""

    id = fields.Integer(required=True)
    name = fields.String(required=True)
    url = fields.String(required=True)
    tags = fields.List(fields.String(), required=True)
    uptime_24h = fields.Float(required=True, allow_none=True, metadata=_SHARE)


class PointSchema(ma.Schema):
    """What probes found within an hour or a day, or what one found."""

    time = fields.AwareDateTime(required=True, metadata={"description": "when the hour, the day or the probe began"})
    checks = fields.Integer(required=True, metadata={"description": "outside of maintenance"})
    down = fields.Integer(required=True)
    maintenance = fields.Integer(required=True)
    uptime = fields.Float(required=True, allow_none=True, metadata=_SHARE)
    p50_ms = fields.Float(required=True, allow_none=True, metadata=_MILLISECONDS)
    p95_ms = fields.Float(required=True, allow_none=True, metadata=_MILLISECONDS)
    timings = fields.Nested(LatencySchema, required=True, allow_none=True, metadata={"description": "on average"})


class HistorySchema(ma.Schema):
    """What became of a site's probes; times without any have no point."""

    resolution = fields.String(required=True, validate=validate.OneOf(RESOLUTIONS))
    since = fields.AwareDateTime(required=True)
    until = fields.AwareDateTime(required=True)
    points = fields.List(fields.Nested(PointSchema), required=True)


class HistoryQuerySchema(ma.Schema):
    """Which part of a site's history; the last 24 hours unless asked otherwise."""

    since = Moment(data_key="from", format="iso")
    until = Moment(data_key="to", format="iso")
    resolution = fields.String(
        validate=validate.OneOf(RESOLUTIONS),
        metadata={"description": "the finest with at most 500 points, unless one is named"},
    )

    @ma.validates_schema
    def _forwards(self, data: dict[str, Any], **_: Any) -> None:
        if "since" in data and "until" in data and data["since"] >= data["until"]:
            raise ma.ValidationError(N_("Must lie after the beginning."), "to")


def _tag() -> fields.String:
    return fields.String(
        validate=[validate.Length(1, MAXIMUM_TAG), validate.Regexp(WORD)], metadata={"description": "of the sites"}
    )


class UsabilityQuerySchema(PageQuerySchema):
    """Which sites, and which part of the list."""

    state = fields.String(validate=validate.OneOf(STATES))
    tag = _tag()
    sort = fields.String(
        load_default="id",
        validate=validate.OneOf(["id", "-id", "name", "-name", "state", "-state", "state_since", "-state_since"]),
    )


class IncidentsQuerySchema(ma.Schema):
    """Which incidents, and which part of the list. With a tag a part may be short and still not be the last."""

    state = fields.String(validate=validate.OneOf(INCIDENT_STATES))
    tag = _tag()
    cursor = fields.String(
        validate=validate.Regexp(r"^[1-9][0-9]{0,17}$"), metadata={"description": "from a paging block's next"}
    )
    limit = Count(load_default=50, validate=validate.Range(1, 100))
