"""Sites: what an owner may set, and what is shown of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import marshmallow as ma
from flask import current_app
from marshmallow import fields, validate

from cloudeye.access import caller
from cloudeye.i18n import N_, gettext
from cloudeye.models import SEVERITIES, STATES, TAMPER_STATES
from cloudeye.schemas.common import WORD, ChangeSchema, Choice, Line, PageQuerySchema, Some, Whole
from cloudeye.schemas.row import RowSchema
from cloudeye.services import maintenance
from cloudeye.services.ask import MAX_CUSTOM_HEADERS, METHODS, StatusSet, check_headers
from cloudeye.services.sites import MASK
from cloudeye.services.tamper.rules import LONGEST_RULE, MAXIMUM_RULES, NOT_TEXTS, IgnoreRules
from cloudeye.services.transfer import MOST_ROWS
from cloudeye.turns import Turns

MAXIMUM_INTERVAL = 86_400  # seconds
MAXIMUM_BODY = 16_384  # bytes of what is sent along
MAXIMUM_TAGS, MAXIMUM_TAG = 20, 40
MAXIMUM_RETRIES = 10
MAXIMUM_PATHS = 10
RULE_KINDS = ("selectors", "patterns")
TEXT = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f]*$"  # no control characters but tabs and ends of lines
SORTS = ("id", "name", "state", "score")


def _interval(value: int) -> None:
    minimum = current_app.config["CLOUDEYE"].sync.minimum_interval
    if not minimum <= value <= MAXIMUM_INTERVAL:
        limits = {"minimum": minimum, "maximum": MAXIMUM_INTERVAL}
        raise ma.ValidationError(gettext("Must be between %(minimum)s and %(maximum)s seconds.", **limits))


class Text(fields.String):
    """A text of any number of lines, in so many bytes of UTF-8."""

    def __init__(self, *, most: int, **kwargs: Any) -> None:
        checks = [validate.Length(1, most), validate.Regexp(TEXT)]
        super().__init__(validate=checks, allow_none=True, **kwargs)
        self.most = most

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        try:
            if len(text.encode()) > self.most:
                raise ma.ValidationError(N_("Must be at most {most} bytes of UTF-8.").format(most=self.most))
        except UnicodeEncodeError:
            raise self.make_error("invalid") from None
        return text


class Seconds(fields.Float):
    """A time in seconds: a number, and no text that holds one."""

    def _validated(self, value: Any) -> float:
        if isinstance(value, str | bool):
            raise self.make_error("invalid", input=value)
        return super()._validated(value)


class Checked(fields.Field[Any]):
    """A value that a service checks and brings into its one form.

    Args:
        parse: raises ValueError with a sentence for people.
        described: as JSON Schema.
    """

    def __init__(self, parse: Callable[[Any], Any], described: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(metadata=described, **kwargs)
        self.parse = parse

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        try:
            return self.parse(value)
        except ValueError as bad:
            raise ma.ValidationError(str(bad)) from None


def _statuses(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(N_("Not a valid string."))
    parsed = str(StatusSet.parse(value))
    if len(parsed) > 120:
        raise ValueError(N_("Longer than maximum length {max}.").format(max=120))
    return parsed


def _headers(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ValueError(N_("it must be an object that gives each header's name a text"))
    if len(value) <= MAX_CUSTOM_HEADERS:  # looked at only if it is not too long
        check_headers(value.items())
        return value
    raise ValueError(N_("there are more than {most} headers").format(most=MAX_CUSTOM_HEADERS))


def _ignore_rules(value: Any) -> dict[str, list[str]]:
    if not isinstance(value, dict):
        raise ValueError(N_("it must be an object with selectors, patterns, or both"))
    turns = Turns()
    for kind, rules in value.items():
        if kind not in RULE_KINDS or not isinstance(rules, list) or len(rules) > MAXIMUM_RULES:
            IgnoreRules.parse({kind: rules})  # says what is wrong with them
            raise ValueError(NOT_TEXTS.format(number=LONGEST_RULE))
        for rule in rules:  # one at a time: reading some takes long
            IgnoreRules.parse({kind: [rule]})
            turns.rest()
    return {kind: value[kind] for kind in RULE_KINDS if value.get(kind)}


_WINDOWS = {
    "type": "array",
    "maxItems": maintenance.MOST_WINDOWS,
    "items": {
        "anyOf": [
            {
                "type": "object",
                "properties": {
                    "start": {"type": "string", "format": "date-time"},
                    "end": {"type": "string", "format": "date-time"},
                },
                "required": ["start", "end"],
                "additionalProperties": False,
            },
            {
                "type": "object",
                "properties": {
                    "weekdays": {
                        "type": "array",
                        "items": {"type": "string", "enum": list(maintenance.WEEKDAYS)},
                        "minItems": 1,
                    },
                    "at": {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"},
                    "minutes": {"type": "integer", "minimum": 1, "maximum": maintenance.LONGEST_WEEKLY},
                    "time_zone": {"$ref": "#/components/schemas/TimeZone"},
                },
                "required": ["weekdays", "at", "minutes", "time_zone"],
                "additionalProperties": False,
            },
        ]
    },
    "description": "times in which it may be down: once from start to end, or every week",
}
_HEADERS = {
    "type": "object",
    "additionalProperties": {"type": "string", "pattern": "^([!-~]([ -~]*[!-~])?)?$"},
    "maxProperties": MAX_CUSTOM_HEADERS,
    "description": f"sent along to the site's own origin; {MASK} leaves a value as it is",
    "example": {"Authorization": "Bearer ..."},
}
HEADER_NAMES = {"pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"}  # apispec knows no propertyNames
_RULES = {
    "type": "object",
    "properties": {
        name: {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "maxLength": LONGEST_RULE},
            "maxItems": MAXIMUM_RULES,
            "description": described,
        }
        for name, described in (("selectors", "CSS selectors"), ("patterns", "regular expressions"))
    },
    "additionalProperties": False,
    "description": "parts of the page that move, and are left out of the comparison",
}
_STATUSES = {
    "type": "string",
    "maxLength": 120,
    "pattern": "^[2-9][0-9]{2}(-[2-9][0-9]{2})?(, ?[2-9][0-9]{2}(-[2-9][0-9]{2})?){0,14}$",
    "description": "statuses that are fine",
    "example": "200-299,301,404",
}


class NewSiteSchema(ma.Schema):
    """A site to be watched."""

    name = Line(required=True, validate=validate.Length(1, 120))
    url = fields.String(
        required=True,
        validate=validate.Length(1, 2048),
        metadata={"example": "https://example.com/", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://"},
    )
    tags = Some(
        fields.String(validate=[validate.Length(1, MAXIMUM_TAG), validate.Regexp(WORD)]),
        least=0,
        most=MAXIMUM_TAGS,
        metadata={"description": "words that it is filed under"},
    )
    interval = Whole(validate=_interval, metadata={"description": "seconds"})
    timeout = Seconds(
        allow_none=True,
        validate=validate.Range(min=1),
        metadata={"description": "seconds for all of a probe, less than the interval; null: as long as the stack lets"},
    )
    method = fields.String(validate=validate.OneOf(METHODS))
    headers = Checked(_headers, _HEADERS, allow_none=True)
    body = Text(most=MAXIMUM_BODY, metadata={"description": "sent along with POST, PUT and PATCH"})
    expected_statuses = Checked(_statuses, _STATUSES)
    keyword_present = Text(most=255, metadata={"description": "must be in the body"})
    keyword_absent = Text(most=255, metadata={"description": "must not be in the body"})
    follow_redirects = fields.Boolean(truthy={True}, falsy={False})
    retries = Whole(
        validate=validate.Range(0, MAXIMUM_RETRIES), metadata={"description": "failed probes before it counts as down"}
    )
    maintenance = Checked(maintenance.parse, _WINDOWS, allow_none=True)
    paused = fields.Boolean(truthy={True}, falsy={False}, metadata={"description": "not looked at"})
    alert_targets = Some(
        Whole(validate=validate.Range(1, 2**63 - 1)),
        least=0,
        most=100,
        allow_none=True,
        metadata={"description": "numbers of the owner's targets; null: all of them"},
    )
    ignore_rules = Checked(_ignore_rules, _RULES, allow_none=True)
    redirect_paths = Some(
        fields.String(validate=[validate.Length(1, 200), validate.Regexp(r"^/[!-~]*\{url\}[!-~]*$")]),
        least=0,
        most=MAXIMUM_PATHS,
        allow_none=True,
        metadata={"description": "paths that are asked for open redirects, once control is proven; {url} in each"},
    )


class SiteChangeSchema(ChangeSchema, NewSiteSchema):
    """What is to change of a site."""


class UsabilitySchema(RowSchema):
    """What the last probe of a site said."""

    state = fields.String(required=True, validate=validate.OneOf(STATES))
    status_code = fields.Integer(required=True, allow_none=True)
    latency_ms = fields.Float(required=True, allow_none=True)
    error = fields.String(required=True, allow_none=True)
    last_checked_at = fields.AwareDateTime(required=True, allow_none=True)
    state_since = fields.AwareDateTime(required=True, allow_none=True)


class SiteSchema(UsabilitySchema):
    """A site: what its owner has set, and what was found."""

    id = fields.Integer(required=True)
    owner_id = fields.Integer(required=True)
    name = fields.String(required=True)
    url = fields.String(required=True)
    tags = fields.List(fields.String(), required=True)
    interval = fields.Integer(required=True, metadata={"description": "seconds"})
    timeout = fields.Float(required=True, allow_none=True, metadata={"description": "seconds"})
    method = fields.String(required=True, validate=validate.OneOf(METHODS))
    headers = fields.Raw(
        required=True,
        allow_none=True,
        metadata={
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": f"values are {MASK} for anybody but the owner",
        },
    )
    body = fields.String(required=True, allow_none=True, metadata={"description": f"{MASK} for anybody but the owner"})
    expected_statuses = fields.String(required=True)
    keyword_present = fields.String(required=True, allow_none=True)
    keyword_absent = fields.String(required=True, allow_none=True)
    follow_redirects = fields.Boolean(required=True)
    retries = fields.Integer(required=True)
    maintenance = fields.Raw(required=True, allow_none=True, metadata=_WINDOWS)
    paused = fields.Boolean(required=True)
    alert_targets = fields.Raw(required=True, allow_none=True, metadata={"type": "array", "items": {"type": "integer"}})
    ignore_rules = fields.Raw(required=True, allow_none=True, metadata=_RULES)
    redirect_paths = fields.Raw(required=True, allow_none=True, metadata={"type": "array", "items": {"type": "string"}})
    tamper_state = fields.String(required=True, validate=validate.OneOf(TAMPER_STATES))
    tamper_severity = fields.String(required=True, allow_none=True, validate=validate.OneOf(SEVERITIES))
    grade = fields.String(required=True, allow_none=True)
    score = fields.Integer(required=True, allow_none=True)
    open_findings = fields.Integer(required=True)
    worst_severity = fields.String(required=True, allow_none=True, validate=validate.OneOf(SEVERITIES))
    certificate_expires_at = fields.AwareDateTime(required=True, allow_none=True)
    controlled_at = fields.AwareDateTime(
        required=True, allow_none=True, metadata={"description": "when control of it was last proven"}
    )
    created_at = fields.AwareDateTime(required=True)
    updated_at = fields.AwareDateTime(required=True)

    def shown(self, row: dict[str, Any]) -> dict[str, Any]:
        """Headers and bodies may hold what lets somebody in: they are the owner's alone."""
        headers, body = row["headers"], row["body"]
        if (headers or body is not None) and not caller().may_see_secrets_of(row["owner_id"]):
            row["headers"] = dict.fromkeys(headers, MASK) if headers else headers
            row["body"] = None if body is None else MASK
        return row


class SiteQuerySchema(PageQuerySchema):
    """Which sites, and which part of the list."""

    state = fields.String(validate=validate.OneOf(STATES))
    tag = fields.String(validate=[validate.Length(1, MAXIMUM_TAG), validate.Regexp(WORD)])
    paused = Choice()
    q = fields.String(
        validate=validate.Length(1, 100), metadata={"description": "a part of the name or of the URL, in any case"}
    )
    sort = fields.String(
        load_default="id", validate=validate.OneOf([f"{sign}{name}" for name in SORTS for sign in ("", "-")])
    )


class SitesFileSchema(ma.Schema):
    """Sites in a file."""

    sites = fields.List(fields.Nested(NewSiteSchema), required=True, validate=validate.Length(max=MOST_ROWS))


class ExportQuerySchema(ma.Schema):
    """Which kind of file."""

    format = fields.String(load_default="json", validate=validate.OneOf(["json", "csv"]))


class ImportQuerySchema(ma.Schema):
    """Whether to keep what is in the file."""

    dry_run = Choice(load_default=False, metadata={"description": "check the file and keep nothing of it"})


class CheckSchema(RowSchema):
    """One probe of a site."""

    id = fields.Integer(required=True)
    checked_at = fields.AwareDateTime(required=True)
    state = fields.String(required=True, validate=validate.OneOf(STATES))
    status_code = fields.Integer(required=True, allow_none=True)
    latency_ms = fields.Float(required=True, allow_none=True)
    error = fields.String(required=True, allow_none=True)
    dns_ms = fields.Float(required=True, allow_none=True)
    connect_ms = fields.Float(required=True, allow_none=True)
    tls_ms = fields.Float(required=True, allow_none=True)
    first_byte_ms = fields.Float(required=True, allow_none=True)
    total_ms = fields.Float(required=True, allow_none=True)
    maintenance = fields.Boolean(required=True, metadata={"description": "it counts for nothing"})
