"""Transactions that the server broke off for no fault of theirs, tried again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, scoped_session

LOCK_WAIT_TIMEOUT, DEADLOCK = 1205, 1213  # MySQL's error numbers
PAUSE = 0.02  # seconds before the second try, doubled before each further one

Result = TypeVar("Result")


def retry_idempotent(session: Session | scoped_session[Session], unit: Callable[[], Result], tries: int = 3) -> Result:
    """Run a unit of work and commit it; once more when it met a deadlock or waited too long for a lock.

    The server rolls back one of the transactions in a deadlock, and only the last statement of one that waited too
    long: so everything is rolled back here before another try, and the unit must read again what it read. Between the
    tries there is a pause of random length, for two that met would meet again.

    Args:
        session: whose transaction it is; nothing in it is committed by anybody else.
        unit: what to do. It has no effect outside of the transaction, or one that does no harm when repeated.
        tries: at most so many, at least one.

    Returns:
        What the unit returns.

    Raises:
        sqlalchemy.exc.OperationalError: of the last try, rolled back; any other error at once.
    """
    for tried in range(1, tries + 1):
        try:
            result = unit()
            session.commit()
        except OperationalError as error:
            session.rollback()
            if tried == tries or error.orig is None or error.orig.args[:1] not in ((LOCK_WAIT_TIMEOUT,), (DEADLOCK,)):
                raise
            time.sleep(PAUSE * 2 ** (tried - 1) * random.uniform(0.5, 1.5))  # noqa: S311 - not a secret
        except BaseException:
            session.rollback()
            raise
        else:
            return result
    raise ValueError("at least one try")
