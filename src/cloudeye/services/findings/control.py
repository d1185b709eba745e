"""Whose site is it: what proves control of a site, and what is kept of a proof.

The token is made of who asks and the host, under the stack's proof key, which no rotation changes: an owner puts the
token there once. So it can be shown before anything is kept, it is another one for another host, and all sites of one
owner on one host share it. It proves nothing by being known: it must be put where only somebody in control can put it
(see `proof`).
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.orm import object_session

from cloudeye.models import Finding, Site
from cloudeye.services.findings.store import regrade
from cloudeye.services.netguard import Target

if TYPE_CHECKING:
    from cloudeye.services.findings.proof import Proof

PATH = "/.well-known/cloudeye.txt"
LABEL = "_cloudeye"
PREFIX = "cloudeye="
# A scan under way looks at what is not its business any more: without its claim it has nothing to write.
_PROOF = ("control_token", "controlled_at", "next_scan_at", "scan_claimed_by", "scan_claimed_until")


def token_of(secret: str, owner_id: int, host: str) -> str:
    """Return the token by which a user proves control of a host."""
    said = f"control of {host} by {owner_id}".encode()
    return hmac.new(secret.encode(), said, hashlib.sha256).hexdigest()[:40]


def file_url(target: Target) -> str:
    """Return where the file with the token is looked for: on the very origin that is watched."""
    return f"{target.scheme}://{target.authority}{PATH}"


def record_name(target: Target) -> str | None:
    """Return the name of the TXT record with the token; None where the host is an address."""
    return None if target.address is not None else f"{LABEL}.{target.host}"


def settle(connection: Connection, site_id: int, url: str, token: str, proof: Proof, at: datetime) -> bool:
    """Write down what came of looking for the token: control is proven and the site scanned soon, or it is so no more.

    Args:
        connection: committed by the caller, also where control is not proven.
        site_id: the site.
        url: what it was when the token was looked for.
        token: what was looked for.
        proof: what was found.
        at: when, an aware time.

    Returns:
        Whether control is proven; not so of a site that has another URL by now.
    """
    if proof.undecided and proof.way is None:
        return False  # what was known stays
    proven = {"control_token": token, "controlled_at": at, "next_scan_at": at}
    values = proven if proof.way is not None else {"controlled_at": None, "next_scan_at": None}
    # Past the ORM, which would count it as a change of what is watched, and a visit under way would be in vain.
    settled = connection.execute(update(Site).where(Site.id == site_id, Site.url == url).values(**values))
    return proof.way is not None and settled.rowcount == 1


def give_up(connection: Connection, site_id: int) -> None:
    """Forget that control was proven, and what only scans can find, since nothing will look after it any more."""
    connection.execute(update(Site).where(Site.id == site_id).values(**dict.fromkeys(_PROOF)))
    connection.execute(delete(Finding).where(Finding.site_id == site_id, Finding.kind == "scan"))
    if connection.scalar(select(Site.grade).where(Site.id == site_id)) is not None:
        regrade(connection, site_id)


def forget(site: Site) -> None:
    """Forget the proof and everything that was found: the site's URL leads to another host now.

    Args:
        site: in a session, whose transaction the caller commits.
    """
    for name in _PROOF:
        setattr(site, name, None)
    site.grade = site.score = site.worst_severity = None
    site.open_findings = 0
    # So that the next visit looks into everything again.
    site.headers_digest = site.inspected_at = site.certificate_expires_at = site.certificate_warned = None
    session = object_session(site)
    if session is not None and site.id is not None:
        session.execute(delete(Finding).where(Finding.site_id == site.id))
