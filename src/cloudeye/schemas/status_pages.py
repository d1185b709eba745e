"""Public pages that say how sites are."""

from __future__ import annotations

import re

import marshmallow as ma
from marshmallow import fields, validate

from cloudeye.models import LANGUAGES
from cloudeye.schemas.common import WORD, ChangeSchema, Line, PageQuerySchema
from cloudeye.schemas.sites import MAXIMUM_TAG
from cloudeye.services.status_pages import SLUG

_TAG = {"description": "only sites that are filed under it; null: all"}


def _is_slug(text: str) -> None:
    if not re.fullmatch(SLUG, text):
        raise ma.ValidationError("Must be 3 to 64 of a-z, 0-9 and -.")


class StatusPageSettingsSchema(ma.Schema):
    """What may be set, and changed later, of a page."""

    slug = fields.String(
        required=True,
        validate=_is_slug,
        metadata={"pattern": f"^{SLUG}$", "example": "our-shop", "description": "where it is found: /status/<slug>"},
    )
    title = Line(required=True, validate=validate.Length(1, 120))
    tag = fields.String(
        allow_none=True, validate=[validate.Length(1, MAXIMUM_TAG), validate.Regexp(WORD)], metadata=_TAG
    )
    language = fields.String(
        validate=validate.OneOf(LANGUAGES), metadata={"description": "of the page; that of who adds it unless named"}
    )


class NewStatusPageSchema(StatusPageSettingsSchema):
    """A page to be published."""


class StatusPageChangeSchema(ChangeSchema, StatusPageSettingsSchema):
    """What is to change of a page."""


class StatusPagesQuerySchema(PageQuerySchema):
    """Which part of the list."""


class StatusPageSchema(ma.Schema):
    """A page as its owner sees it."""

    id = fields.Integer(required=True)
    slug = fields.String(required=True)
    title = fields.String(required=True)
    tag = fields.String(required=True, allow_none=True, metadata=_TAG)
    language = fields.String(required=True, validate=validate.OneOf(LANGUAGES))
    url = fields.Function(
        lambda page: f"/status/{page.slug}",
        required=True,
        metadata={"type": "string", "description": "a path on this host"},
    )
    created_at = fields.AwareDateTime(required=True)
    updated_at = fields.AwareDateTime(required=True)
