"""Read rows that were claimed, so that one that cannot be read costs only itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import InstrumentedAttribute

if TYPE_CHECKING:
    from cloudeye.sync.work import Work

_Made = TypeVar("_Made")


def read_claimed(
    work: Work,
    query: Select[*tuple[Any, ...]],
    number: InstrumentedAttribute[int],
    ids: Sequence[int],
    make: Callable[[Any], _Made],
    give_up: Callable[[int, Exception], None],
) -> list[_Made]:
    """Read claimed rows by their numbers.

    Args:
        work: whose engine is asked.
        query: of what is read of each row.
        number: the column of their numbers.
        ids: the numbers.
        make: makes of a row what is returned; it may raise.
        give_up: what to do with a row that holds a value that cannot be read.

    Returns:
        What was made of those that can be read, in the order of their numbers.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database cannot be asked.
    """

    def read(some: Sequence[int]) -> list[_Made]:
        with work.engine.connect() as connection:
            return [make(row) for row in connection.execute(query.where(number.in_(some)).order_by(number))]

    try:
        return read(ids)
    except SQLAlchemyError:
        raise
    except Exception:  # a value that cannot be read: find out whose
        found: list[_Made] = []
        for one in sorted(ids):
            try:
                found += read([one])
            except SQLAlchemyError:
                raise
            except Exception as error:
                give_up(one, error)
            work.beat()
        return found
