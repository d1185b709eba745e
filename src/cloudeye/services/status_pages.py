"""Status pages: what their owners publish of how sites are. What such a page shows stands in status.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cloudeye.models import StatusPage, User, utcnow
from cloudeye.phrases import N_

MOST = 20  # pages of a user
SLUG = "[a-z0-9-]{3,64}"


class BadPage(Exception):
    """A page that cannot be; ``data`` holds the messages by field."""

    def __init__(self, data: dict[str, list[str]]) -> None:
        super().__init__("; ".join(f"{field}: {' '.join(said)}" for field, said in data.items()))
        self.data = data


class TooMany(Exception):
    """There are as many as there may be; the text says so."""


def create_page(session: Session, owner_id: int, given: Mapping[str, Any], *, language: str) -> StatusPage:
    """Add a page to the session's transaction.

    Args:
        session: committed by the caller.
        owner_id: whose sites it shows.
        given: slug and title, and perhaps tag and language, each in the form that the schemas make of it.
        language: of the page where none is given.

    Raises:
        BadPage: it cannot be; the transaction has been rolled back.
        TooMany: there are as many as there may be.
    """
    # Whoever adds two at once waits here for themselves.
    session.execute(select(User.id).where(User.id == owner_id).with_for_update())
    count = session.scalar(select(func.count()).select_from(StatusPage).where(StatusPage.owner_id == owner_id)) or 0
    if count >= MOST:
        raise TooMany(N_("You have as many status pages as there may be."))
    page = StatusPage(owner_id=owner_id, **{"language": language, **given})
    session.add(page)
    _flush(session)
    return page


def change_page(session: Session, page: StatusPage, given: Mapping[str, Any]) -> None:
    """Change what is given of a page.

    Raises:
        BadPage: it cannot be; the transaction has been rolled back.
    """
    for name, value in given.items():
        setattr(page, name, value)
    page.updated_at = utcnow()
    _flush(session)


def _flush(session: Session) -> None:
    try:
        session.flush()
    except IntegrityError:
        session.rollback()
        raise BadPage({"slug": [N_("There is a status page at this address already.")]}) from None
