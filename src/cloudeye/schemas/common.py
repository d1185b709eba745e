"""What the schemas of every resource share. Unknown fields are refused wherever a body is read."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from cloudeye.i18n import N_, translated
from cloudeye.services.mail import BadRecipient, check_recipient

# One line with something to see in it: no control characters, none that break, hide or turn text around. Written so
# that it means the same in Python and in the JSON Schema of the description (ECMA 262).
_HIDDEN = r"\u0000-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
LINE = rf"^[^{_HIDDEN}]*[^{_HIDDEN}\s][^{_HIDDEN}]*$"
WORD = rf"^[^{_HIDDEN}\s,]+$"
CURSOR = r"^([0-9]{1,17})\.([1-9][0-9]{0,17})$"
# What the column of a row's number holds.
LARGEST_ID = 2**63 - 1
COUNT = re.compile(rf"[0-9]{{1,{len(str(LARGEST_ID))}}}")
MINIMUM_PASSWORD, MAXIMUM_PASSWORD = 8, 256
MAXIMUM_PAGE = 1_000_000


class Line(fields.String):
    """One line of text; blanks around it count for its length and are then taken off."""

    def __init__(self, **kwargs: Any) -> None:
        # A pattern of the field's own takes its place in the description.
        own = isinstance(kwargs.get("validate"), validate.Regexp)
        metadata = ({} if own else {"pattern": LINE}) | kwargs.pop("metadata", {})
        super().__init__(metadata=metadata, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if not re.fullmatch(LINE, text) or not _is_unicode(text):
            raise ma.ValidationError("Must be one line of printable text.")
        self._validate(text)
        return text.strip()


class Password(fields.String):
    """A password: any characters, as long as they can be written as UTF-8."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if not _is_unicode(text):
            raise ma.ValidationError("Not a valid string.")
        return text


class Count(fields.Integer):
    """A number in a query: digits and nothing else."""

    def _validated(self, value: Any) -> int:
        if not COUNT.fullmatch(str(value)):
            raise self.make_error("invalid", input=value)
        return super()._validated(value)


class Whole(fields.Integer):
    """A number without a fraction in a body: 60 and 60.0 are the same in JSON (JSON Schema, section 6.1.1)."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(strict=True, **kwargs)

    def _validated(self, value: Any) -> int:
        return super()._validated(int(value) if isinstance(value, float) and value.is_integer() else value)


class Choice(fields.Boolean):
    """True or false in a query."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(truthy={"true"}, falsy={"false"}, **kwargs)


class Some(fields.List[Any]):
    """A list that is looked at only if it is not too long."""

    def __init__(self, inner: fields.Field[Any], *, most: int, least: int = 1, **kwargs: Any) -> None:
        super().__init__(inner, validate=validate.Length(least, most), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Any]:
        if isinstance(value, list):
            self._validate(value)
        return super()._deserialize(value, attr, data, **kwargs)


class Future(fields.AwareDateTime):
    """A moment to come, kept in UTC."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        try:
            moment = super()._deserialize(value, attr, data, **kwargs).astimezone(UTC)
        except OverflowError:
            raise self.make_error("invalid", input=value, obj_type=self.OBJ_TYPE) from None
        if moment <= datetime.now(UTC):
            raise ma.ValidationError("Must lie in the future.")
        return moment


_looks_like_an_address = validate.Email()


def _can_be_written_to(address: str) -> None:
    _looks_like_an_address(address)
    try:
        check_recipient(address)
    except BadRecipient:
        raise ma.ValidationError(N_("Not a valid email address.")) from None


class Email(Line):
    """A mail address with a name and a domain."""

    def __init__(self, **kwargs: Any) -> None:
        metadata = {"format": "email"} | kwargs.pop("metadata", {})
        super().__init__(metadata=metadata, **kwargs)
        self.metadata = metadata  # the form says enough; no pattern
        self.validators = [validate.Length(max=254), _can_be_written_to]


class ChangeSchema(ma.Schema):
    """What is to change of something: one field or more."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(partial=True, **kwargs)

    @ma.validates_schema
    def _something(self, data: dict[str, Any], **_: Any) -> None:
        if not data:
            raise ma.ValidationError("Name at least one field to change.")


class PageQuerySchema(ma.Schema):
    """Which part of a list."""

    page = Count(load_default=1, validate=validate.Range(1, MAXIMUM_PAGE))
    per_page = Count(load_default=50, validate=validate.Range(1, 100))


class PagingSchema(ma.Schema):
    """Where in a list one is; the links are paths on this host."""

    page = fields.Integer(required=True)
    per_page = fields.Integer(required=True)
    total = fields.Integer(required=True)
    next = fields.String(required=True, allow_none=True)
    prev = fields.String(required=True, allow_none=True)


class CursorQuerySchema(ma.Schema):
    """Which part of a history."""

    cursor = fields.String(validate=validate.Regexp(CURSOR), metadata={"description": "from a paging block's next"})
    limit = Count(load_default=100, validate=validate.Range(1, 200))


class CursorPagingSchema(ma.Schema):
    """Where in a history one is; the link is a path on this host, null at the end."""

    limit = fields.Integer(required=True)
    next = fields.String(required=True, allow_none=True)


def _is_unicode(text: str) -> bool:
    """Can this be written as UTF-8: JSON lets through halves of surrogate pairs."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


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
    """Return a successful answer for one of the schemas above, its message in the caller's language."""
    answer: dict[str, Any] = {"status": "success"}
    if message is not None:
        answer["message"] = translated(message)
    if data:
        answer["data"] = data
    return answer
