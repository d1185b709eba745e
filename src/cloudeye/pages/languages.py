"""How a page speaks: the language switch at its foot, and times without the zone, which stands there too."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from babel import Locale
from babel.dates import format_datetime
from flask import abort, current_app, g, redirect, request, url_for
from flask_login import current_user

from cloudeye.config import Config
from cloudeye.extensions import db
from cloudeye.i18n import LANGUAGE_COOKIE, language, time_zone
from cloudeye.models import LANGUAGES, User
from cloudeye.moments import zone_of
from cloudeye.pages.base import blueprint, is_ours
from cloudeye.services import users
from cloudeye.tokens import revocation_lifetime

NAMES = {"en": "English", "zh_Hans": "简体中文"}  # each in itself, so that whoever needs it can read it
LASTING = 365 * 86_400  # seconds


@blueprint.post("/language")
def choose_language() -> Any:
    """Speak another language from now on: for a stranger kept in a cookie, for a member with the account too."""
    chosen, wanted = request.form.get("language", ""), request.form.get("next", "")
    if chosen not in LANGUAGES:
        abort(400)
    if current_user.is_authenticated:
        user = db.session.get_one(User, current_user.id)
        users.change_user(db.session(), user, access=revocation_lifetime(), language=chosen)
        db.session.commit()
    answer = redirect(wanted if is_ours(wanted) else url_for("pages.show_sites"), 303)
    config: Config = current_app.config["CLOUDEYE"]
    answer.set_cookie(
        LANGUAGE_COOKIE, chosen, max_age=LASTING, secure=config.secure_cookies, httponly=True, samesite="Lax"
    )
    return answer


def chosen_language() -> str | None:
    """Return what was chosen with the switch in this browser, if anything was."""
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    return chosen if chosen in LANGUAGES else None


def here() -> str:
    """Return where the switch leads back to: the page at hand, or the one that a form on it belongs to."""
    if request.method == "GET":
        return request.full_path.rstrip("?")
    adapter = current_app.create_url_adapter(request)
    return request.path if adapter is not None and adapter.test(request.path, "GET") else "/"


def show_clock(time: datetime) -> str:
    """Return a time in the visitor's zone and language, without the zone's name."""
    if "clock" not in g:  # once for all the times on a page
        g.clock = zone_of(time_zone()), Locale.parse(language())
    zone, locale = g.clock
    return str(format_datetime(time, "medium", tzinfo=zone, locale=locale))


def zone_name() -> str:
    """Return the name of the zone in which the visitor is shown times."""
    return str(zone_of(time_zone()))
