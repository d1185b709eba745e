"""Sites: made and changed by the API and the pages; probed by the sync process."""

from __future__ import annotations

from sqlalchemy.orm import Session

from cloudeye.models import Site, utcnow
from cloudeye.services import netguard


class BadSite(Exception):
    """A site that cannot be watched; ``data`` holds the messages by field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.data = {field: [message]}


def create_site(session: Session, *, owner_id: int, name: str, url: str, interval: int, allow_private: bool) -> Site:
    """Add a site to the session's transaction, to be probed at once.

    Args:
        session: committed by the caller.
        owner_id: the user whose site it is.
        name: what the owner calls it.
        url: http or https.
        interval: seconds between two probes.
        allow_private: may the URL hold a loopback, link-local or private address.

    Raises:
        BadSite: the URL cannot be watched.
    """
    _check(url, allow_private)
    site = Site(owner_id=owner_id, name=name, url=url, interval=interval, state="unknown")
    session.add(site)
    session.flush()
    return site


def change_site(
    site: Site,
    *,
    name: str | None = None,
    url: str | None = None,
    interval: int | None = None,
    allow_private: bool,
) -> None:
    """Change what is given of a site; a new URL starts with a clean slate.

    It is probed at once when its URL or interval changed: another name is no reason to ask the site again.

    Raises:
        BadSite: the URL cannot be watched; nothing was changed.
    """
    if url is not None and url != site.url:
        _check(url, allow_private)
        site.url = url
        site.state = "unknown"
        site.status_code = site.latency_ms = site.error = site.last_checked_at = site.state_since = None
        due = True
    else:
        due = interval is not None and interval != site.interval
    if name is not None:
        site.name = name
    if interval is not None:
        site.interval = interval
    site.updated_at = utcnow()
    if due:
        site.next_check_at = site.updated_at
        # A probe under way asked the old URL: without its claim it has nothing to write.
        site.claimed_by = site.claimed_until = None


def _check(url: str, allow_private: bool) -> None:
    try:
        netguard.check_url(url, allow_private)
    except netguard.RefusedAddress as refused:
        raise BadSite("url", str(refused)) from None
