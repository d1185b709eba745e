"""Log in, see the sites, add one."""

from __future__ import annotations

from collections import Counter
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, current_app, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required, login_user, logout_user
from marshmallow import ValidationError
from sqlalchemy import func, select
from werkzeug.wrappers import Response as AnyResponse

from cloudeye.attempts import TooManyAttempts, limit_login_form
from cloudeye.extensions import csrf, db
from cloudeye.i18n import N_, gettext, translated
from cloudeye.models import STATES, Site
from cloudeye.pages.visitors import Visitor
from cloudeye.schemas.sites import NewSiteSchema
from cloudeye.services import sites, users

blueprint = Blueprint("pages", __name__)

PER_PAGE = 100
POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
STATE_WORDS = (N_("up"), N_("down"), N_("unknown"))  # of the template; the words of STATES


@blueprint.before_request
def refuse_forged_forms() -> None:
    """Every form carries a token that only our own pages hold."""
    csrf.protect()


@blueprint.after_request
def say_what_browsers_may_do(response: Response) -> Response:
    """Pages use nothing but our own files, and are not kept by caches."""
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.get("/login")
def log_in() -> Any:
    """Ask who is there."""
    if current_user.is_authenticated:
        return redirect(url_for("pages.show_sites"))
    return render_template("login.html", email="", next=request.args.get("next", ""))


@blueprint.post("/login")
@limit_login_form
def check_login() -> Any:
    """Let in whoever knows the password."""
    email, password = request.form.get("email", ""), request.form.get("password", "")
    # The whole address: what is looked up is what was counted.
    user = users.authenticate(db.session(), email, password[:256])
    wanted = request.form.get("next", "")
    if user is None:
        page = render_template("login.html", email=email, next=wanted, error=gettext("E-mail or password is wrong."))
        return page, 401
    db.session.commit()
    login_user(Visitor.of(user))
    return redirect(wanted if _is_ours(wanted) else url_for("pages.show_sites"), 303)


@blueprint.errorhandler(TooManyAttempts)
def ask_again_later(problem: TooManyAttempts) -> Any:
    """Show the form to whoever has tried too often, and say so."""
    form = request.form
    page = render_template(
        "login.html", email=form.get("email", ""), next=form.get("next", ""), error=translated(problem.message)
    )
    return page, problem.status, problem.headers


@blueprint.post("/logout")
def log_out() -> AnyResponse:
    """End the session."""
    logout_user()
    return redirect(url_for("pages.log_in"), 303)


@blueprint.get("/")
@login_required  # type: ignore[untyped-decorator]
def show_sites() -> str:
    """Show the sites that the visitor may see, those that are down first."""
    return _sites_page({}, {})


@blueprint.post("/sites")
@login_required  # type: ignore[untyped-decorator]
def add_site() -> Any:
    """Watch another site."""
    settings = current_app.config["CLOUDEYE"].sync
    form = {key: request.form.get(key, "").strip() for key in ("name", "url", "interval")}
    try:
        given = NewSiteSchema().load({**form, "interval": _number(form["interval"])})
        site = sites.create_site(db.session(), owner_id=current_user.id, allow_private=settings.allow_private, **given)
    except ValidationError as error:
        return _sites_page(form, translated(dict(error.messages_dict))), 400
    except sites.BadSite as error:
        return _sites_page(form, translated(error.data)), 400
    db.session.commit()
    flash(gettext("%(name)s was added. Its first check is under way.", name=site.name))
    return redirect(url_for("pages.show_sites"), 303)


def _sites_page(form: dict[str, str], errors: dict[str, Any]) -> str:
    mine = [] if current_user.is_admin else [Site.owner_id == current_user.id]
    counts = Counter(dict(db.session.execute(select(Site.state, func.count()).where(*mine).group_by(Site.state)).all()))
    page = max(1, _number(request.args.get("page", "1")) or 1)
    total = sum(counts.values())
    pages = max(1, -(-total // PER_PAGE))
    page = min(page, pages)
    # "down" < "unknown" < "up": the alphabet happens to put first what needs a look.
    query = select(Site).where(*mine).order_by(Site.state, Site.name, Site.id)
    found = db.session.scalars(query.limit(PER_PAGE).offset((page - 1) * PER_PAGE)).all()
    return render_template(
        "sites.html",
        sites=found,
        counts={state: counts[state] for state in STATES},
        page=page,
        pages=pages,
        form=form,
        errors=errors,
        settings=current_app.config["CLOUDEYE"].sync,
    )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def _is_ours(url: str) -> bool:
    """Is this a path on this host: browsers read a backslash as a slash, and // as another host."""
    parts = urlsplit(url)
    return url.startswith("/") and not url.startswith(("//", "/\\")) and not parts.netloc and url.isprintable()
