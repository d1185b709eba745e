"""Schemas of what is read from tables, which are written many at a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import Any

import marshmallow as ma
from marshmallow import fields
from sqlalchemy import ColumnElement, Row

# Their columns hold what JSON takes as it is.
_AS_IT_IS = (fields.String, fields.Integer, fields.Boolean, fields.Raw)


class RowSchema(ma.Schema):
    """A schema for rows: the same as any other, but that it finds out once, not for each row, how one is written.

    marshmallow asks every field of every row for its value and its form, which for fifty sites takes longer than the
    database does. Here all values are taken at once, and those few are changed that JSON does not take as they are.
    A row is an object of the model, or the columns of ``columns_of`` and whatever follows them.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        written = self.dump_fields
        self._keys = tuple(field.data_key or name for name, field in written.items())
        if strange := [name for name, field in written.items() if not field._CHECK_ATTRIBUTE]:
            raise TypeError(f"{type(self).__name__}: {', '.join(strange)} would be no attribute of a row")
        self._names = tuple(field.attribute or name for name, field in written.items())
        self._values: Callable[[Any], tuple[Any, ...]] = attrgetter(*self._names)
        self._forms = tuple(
            (key, _form(name, field))
            for key, (name, field) in zip(self._keys, written.items(), strict=True)
            if not isinstance(field, _AS_IT_IS)
        )

    def columns_of(self, model: type[Any]) -> list[ColumnElement[Any]]:
        """Return what a query must read so that its rows can be written; each is called as the model calls it."""
        return [getattr(model, name).label(name) for name in self._names]

    def shown(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return what is shown of a row as it was written: all of it, unless a schema says otherwise."""
        return row

    def _serialize(self, obj: Any, *, many: bool = False) -> Any:
        if many:
            return super()._serialize(obj, many=many)
        values = obj[: len(self._keys)] if isinstance(obj, Row | tuple) else self._values(obj)
        row = dict(zip(self._keys, values, strict=True))
        for key, form in self._forms:
            if row[key] is not None:
                row[key] = form(row[key])
        return self.shown(row)


def _form(name: str, field: fields.Field[Any]) -> Callable[[Any], Any]:
    if type(field) is fields.Float:
        return float
    if type(field) is fields.AwareDateTime:
        return datetime.isoformat
    if type(field) is fields.List and isinstance(field.inner, _AS_IT_IS):
        return list
    return partial(field._serialize, attr=name, obj=None)
