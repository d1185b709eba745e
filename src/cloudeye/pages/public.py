"""Status pages and badges, for anybody: no login, no cookie, and the same answer for everybody, so that nginx keeps it.

Nothing here may look into the request beyond its path and If-None-Match: nginx does not pass on what could make a
difference (`nginx.cached` of deploy/stack.yml), and an answer must not vary with what a visitor sends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, Response, current_app, jsonify, request

from cloudeye.extensions import db
from cloudeye.i18n import ENGLISH, N_, gettext, speak
from cloudeye.models import utcnow
from cloudeye.pages.badges import draw_badge
from cloudeye.pages.base import write
from cloudeye.preconditions import PUBLIC
from cloudeye.schemas.common import LARGEST_ID, success
from cloudeye.services.status import SiteStatus, Status, figures_of, find_page, status_of
from cloudeye.services.usability.tally import Tally
from cloudeye.turns import Turns, begin_page, end_page

blueprint = Blueprint("public", __name__, url_prefix="/status")
blueprint.before_request(begin_page)
blueprint.teardown_request(end_page)

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
DAY, QUARTER = "24h", "90d"
STATE_WORDS = (N_("up"), N_("down"), N_("maintenance"), N_("unknown"), N_("paused"))  # of services.status.STATES
NO_PAGE = N_("There is no such status page.")


@blueprint.get("/<slug>")
def show_status(slug: str) -> Response:
    """Show how the sites of a page are."""
    return _answer(slug, "text/html", _page)


@blueprint.get("/<slug>.json")
def get_status(slug: str) -> Response:
    """Say for programs what the page shows."""
    return _answer(slug, "application/json", _json)


@blueprint.get("/<slug>/badge.svg")
def show_badge(slug: str) -> Response:
    """Draw how all sites of a page are, as if they were one."""
    return _answer(slug, "image/svg+xml", _badge)


@blueprint.get("/<slug>/<int:site_id>.svg")
def show_site_badge(slug: str, site_id: int) -> Response:
    """Draw how a site of a page is."""
    # What no row can have is no row's.
    return _answer(slug, "image/svg+xml", _badge, site_id=site_id if site_id <= LARGEST_ID else 0)


@blueprint.after_request
def say_what_anybody_may_do(response: Response) -> Response:
    """Pages use nothing but our style sheet."""
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _answer(slug: str, kind: str, make: Callable[[Status], Any], *, site_id: int | None = None) -> Response:
    """Answer with what is made of a page, or without it to who has it already (304): checks are then not added up."""
    session = db.session()
    page = find_page(session, slug)
    if page is None:
        return _nothing(kind)
    speak(page.language)
    Turns.of_page().rest()
    release = current_app.config["CLOUDEYE"].release
    status = status_of(session, page, utcnow(), release=release, site_id=site_id)
    if status is None:
        return _nothing(kind)
    response = Response(mimetype=kind)
    if not request.if_none_match.contains_weak(status.fingerprint):
        Turns.of_page().rest()
        response = current_app.make_response(make(status))
        response.mimetype = kind
    else:
        response.status_code = 304
    response.set_etag(status.fingerprint)
    response.headers.update(PUBLIC)
    return response


def _nothing(kind: str) -> Response:
    """Say that there is nothing; this may be kept as well, or asking for it again and again would cost us something."""
    speak(ENGLISH)
    if kind == "text/html":
        response = Response(write("status_none.html", message=gettext(NO_PAGE)), mimetype=kind)
    else:
        response = jsonify({"status": "fail", "message": gettext(NO_PAGE), "data": None})
    response.status_code = 404
    response.headers.update(PUBLIC)
    return response


def _page(status: Status) -> str:
    figures = figures_of(db.session(), status, DAY, QUARTER)
    return write(
        "status.html",
        status=status,
        uptimes={number: [percent(windows[name]) for name in (DAY, QUARTER)] for number, windows in figures.items()},
        words={state: gettext(state) for state in STATE_WORDS},
        down=sum(site.state == "down" for site in status.sites),
    )


def _json(status: Status) -> Response:
    figures = figures_of(db.session(), status, DAY, QUARTER)
    page = status.page
    about = {"slug": page.slug, "title": page.title, "state": status.state, "more": status.more}
    sites = [_site(site, figures[site.id], status) for site in status.sites]
    return jsonify(success(page={**about, "checked_at": _iso(status.checked_at)}, sites=sites))


def _site(site: SiteStatus, figures: Mapping[str, Tally], status: Status) -> dict[str, Any]:
    planned = site.maintenance
    return {
        "id": site.id,
        "name": site.name,
        "state": site.state,
        "since": _iso(site.since),
        "uptime_24h": figures[DAY].uptime,
        "uptime_90d": figures[QUARTER].uptime,
        "maintenance": None if planned is None else {"start": _iso(planned[0]), "end": _iso(planned[1])},
    }


def _badge(status: Status) -> str:
    name = status.page.title if len(status.sites) != 1 else status.sites[0].name
    tallies = [windows[DAY] for windows in figures_of(db.session(), status, DAY).values()]
    together = Tally(sum(one.checks for one in tallies), sum(one.down for one in tallies))
    uptime = percent(together)
    said = gettext(status.state) if uptime is None else f"{gettext(status.state)} {uptime}"
    return draw_badge(name, said, status.state)


def percent(tally: Tally) -> str | None:
    """Write an uptime down; what is not all of it never reads as if it were."""
    if tally.uptime is None:
        return None
    return f"{int(tally.uptime * 10_000 + 1e-6) / 100:.2f} %"


def _iso(time: Any) -> str | None:
    return None if time is None else time.isoformat()
