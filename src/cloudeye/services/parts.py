"""Parts of long lists that are filtered by what no index knows: only so many rows are looked at for one part.

A filter that hardly any row passes would otherwise read the whole list to fill a part, or to find that there is none to
fill it with. So a part may be short, or empty, and still not be the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import InstrumentedAttribute, Session

LOOKED_AT = 2_000


def part_of(
    session: Session,
    along: Any,
    query: Any,
    number: InstrumentedAttribute[int],
    *,
    limit: int,
    filtered: bool,
) -> tuple[Sequence[Any], int | None]:
    """Return a part of a list, the largest numbers first.

    Args:
        session: to read by.
        along: the numbers below where the part begins, by conditions that an index knows together with them.
        query: what is shown, with all other conditions.
        number: the column of the numbers, in both.
        limit: rows in a part.
        filtered: has the query conditions beyond those of `along`.

    Returns:
        The rows, and the number that the next part begins below; None at the end.
    """
    along = along.order_by(number.desc())
    # The numbers come first, by themselves: MariaDB likes to begin with a small table and sort all that goes with it.
    looked_at = along.limit(LOOKED_AT if filtered else limit + 1).subquery()
    shown = query.join(looked_at, looked_at.c[number.key] == number).order_by(number.desc())
    rows = session.execute(shown.add_columns(number.label("_number")).limit(limit + 1)).all()
    if len(rows) > limit:
        return rows[:limit], rows[limit - 1]._number
    if not filtered:
        return rows, None
    return rows, session.scalar(along.offset(LOOKED_AT - 1).limit(1))
