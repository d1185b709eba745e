"""See the sites, add one."""

from __future__ import annotations

from collections import Counter
from typing import Any

from flask import current_app, flash, redirect, render_template, request, url_for
from flask_login import current_user
from sqlalchemy import func, select

from cloudeye.errors import INVALID, Problem
from cloudeye.extensions import db
from cloudeye.i18n import N_, gettext
from cloudeye.models import STATES, Site
from cloudeye.pages.base import Form, blueprint, members_only
from cloudeye.schemas.sites import NewSiteSchema
from cloudeye.services import sites

PER_PAGE = 50  # more would hold the hub for too long while the page is written
STATE_WORDS = (N_("up"), N_("down"), N_("unknown"))  # of the template; the words of STATES


@blueprint.get("/")
@members_only
def show_sites() -> Any:
    """Show the sites that the visitor may see, those that are down first."""
    return _page(Form("site", interval=current_app.config["CLOUDEYE"].sync.default_interval))


@blueprint.post("/sites")
@members_only
def add_site() -> Any:
    """Watch another site."""
    settings = current_app.config["CLOUDEYE"].sync
    form = Form("site")
    with form.explaining():
        form.read("name", "url", "interval")
        given = form.check(NewSiteSchema(), interval=_number(form.values["interval"].strip()))
        try:
            site = sites.create_site(
                db.session(), owner_id=current_user.id, allow_private=settings.allow_private, **given
            )
        except sites.BadSite as bad:
            raise Problem(400, INVALID, bad.data) from None
        db.session.commit()
        flash(gettext("%(name)s was added. Its first check is under way.", name=site.name))
        return redirect(url_for("pages.show_sites"), 303)
    return _page(form)


def _page(form: Form) -> Any:
    mine = [] if current_user.is_admin else [Site.owner_id == current_user.id]
    counts = Counter(dict(db.session.execute(select(Site.state, func.count()).where(*mine).group_by(Site.state)).all()))
    page = max(1, _number(request.args.get("page", "1")) or 1)
    total = sum(counts.values())
    pages = max(1, -(-total // PER_PAGE))
    page = min(page, pages)
    # "down" < "unknown" < "up": the alphabet happens to put first what needs a look.
    query = select(Site).where(*mine).order_by(Site.state, Site.name, Site.id)
    found = db.session.scalars(query.limit(PER_PAGE).offset((page - 1) * PER_PAGE)).all()
    return form.answer(
        render_template(
            "sites.html",
            sites=found,
            counts={state: counts[state] for state in STATES},
            words={state: gettext(state) for state in STATES},
            page=page,
            pages=pages,
            form=form,
            settings=current_app.config["CLOUDEYE"].sync,
        )
    )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None
