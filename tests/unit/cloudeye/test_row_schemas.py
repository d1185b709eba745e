"""Rows are written as marshmallow writes them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import marshmallow as ma
import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from cloudeye.models import AlertTarget, Base, CheckResult, Site, SiteTag, User
from cloudeye.schemas.people import UserSchema
from cloudeye.schemas.row import RowSchema
from cloudeye.schemas.sites import CheckSchema, SiteSchema
from cloudeye.schemas.targets import TargetSchema

AT = datetime(2026, 11, 21, 20, 0, 0, 123, tzinfo=UTC)
ROWS: list[tuple[type[RowSchema], Any]] = [
    (
        SiteSchema,
        Site(
            id=7, owner_id=3, name="Shop", url="https://shop.example/", interval=60, timeout=5, latency_ms=12,
            headers={"X-A": "b"}, paused=False, state="up", state_since=AT, created_at=AT, updated_at=AT,
            tag_rows=[SiteTag(tag="a"), SiteTag(tag="b")], alert_targets=[1], redirect_paths=["/go?{url}"],
        ),
    ),
    (CheckSchema, CheckResult(id=1, checked_at=AT, state="down", status_code=None, latency_ms=3, maintenance=True)),
    (TargetSchema, AlertTarget(id=1, name="me", kind="mail", address="a@b.example", kinds=["down"], created_at=AT)),
    (TargetSchema, AlertTarget(id=2, name="all", kind="slack", address="https://b.example", kinds=None, active=True)),
    (
        UserSchema,
        User(id=1, username="a", email="a@b.example", email_key="a@b.example", role="user", active=True, created_at=AT),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "row"), ROWS)
def test_a_row_is_written_as_marshmallow_writes_it(
    schema: type[RowSchema], row: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "shown", RowSchema.shown)  # what is hidden from whom is not this test's
    made = schema()
    expected = ma.Schema._serialize(made, row)
    assert made._serialize(row) == expected
    assert made._serialize([row, row], many=True) == [expected, expected]
    assert list(made._serialize(row)) == list(expected)
    assert {name: type(value) for name, value in made._serialize(row).items()} == {
        name: type(value) for name, value in expected.items()
    }


@pytest.mark.parametrize(("schema", "row"), [ROWS[0], ROWS[-1]])
def test_columns_are_written_as_the_row_is(schema: type[RowSchema], row: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "shown", RowSchema.shown)
    made, engine = schema(), create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(row)
        session.flush()
        columns = session.execute(select(*made.columns_of(type(row)), type(row).id)).one()
        assert made._serialize(columns) == made._serialize(row)
        session.rollback()


def test_a_name_of_its_own_is_kept() -> None:
    class Odd(RowSchema):
        role = ma.fields.String(data_key="as")
        name = ma.fields.String(attribute="username")

    assert Odd().dump(User(username="x", role="admin")) == {"as": "admin", "name": "x"}


def test_a_field_that_is_no_attribute_is_refused_when_the_schema_is_made() -> None:
    class Odd(RowSchema):
        role = ma.fields.String()
        twice = ma.fields.Function(lambda row: row.role * 2)

    with pytest.raises(TypeError, match="Odd: twice would be no attribute"):
        Odd()


def test_a_row_that_lacks_something_is_an_error_and_not_an_answer() -> None:
    with pytest.raises(AttributeError, match="checked_at"):
        CheckSchema().dump(User())
