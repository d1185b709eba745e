"""Status pages: what a visitor publishes of their sites."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask_login import current_user
from sqlalchemy import select

from cloudeye.api.status_pages import explaining
from cloudeye.errors import Problem
from cloudeye.extensions import db
from cloudeye.i18n import gettext, language
from cloudeye.models import StatusPage
from cloudeye.pages.base import Form, blueprint, members_only
from cloudeye.pages.languages import NAMES
from cloudeye.schemas.status_pages import NewStatusPageSchema, StatusPageChangeSchema
from cloudeye.services import status_pages

FIELDS = ("slug", "title", "tag", "language")


@blueprint.get("/status-pages")
@members_only
def show_status_pages() -> Any:
    """List the visitor's status pages."""
    return _list(_new_form())


@blueprint.post("/status-pages")
@members_only
def add_status_page() -> Any:
    """Publish another page."""
    form = _new_form()
    with form.explaining():
        form.read(*FIELDS)
        given = form.check(NewStatusPageSchema(), tag=_tag(form))
        with explaining():
            page = status_pages.create_page(db.session(), current_user.id, given, language=language())
        title = page.title
        db.session.commit()
        return _done(gettext("%(name)s was added!", name=title))
    return _list(form)


@blueprint.route("/status-pages/<id:page_id>", methods=["GET", "POST"])
@members_only
def change_status_page(page_id: int) -> Any:
    """Change what a page shows and where it is found."""
    page = _page(page_id)
    form = Form("page", **{name: getattr(page, name) or "" for name in FIELDS})
    if request.method == "POST":
        with form.explaining():
            form.read(*FIELDS)
            given = form.check(StatusPageChangeSchema(), tag=_tag(form))
            with explaining():
                status_pages.change_page(db.session(), page, given)
            title = page.title
            db.session.commit()
            return _done(gettext("%(name)s was changed.", name=title))
        page = _page(page_id)
    return form.answer(render_template("status_page.html", page=page, form=form, languages=list(NAMES.items())))


@blueprint.post("/status-pages/<id:page_id>/remove")
@members_only
def remove_status_page(page_id: int) -> Any:
    """Take a page away."""
    page = _page(page_id)
    title = page.title
    db.session.delete(page)
    db.session.commit()
    return _done(gettext("%(name)s was removed!", name=title))


def _new_form() -> Form:
    return Form("new", slug="", title="", tag="", language=language())


def _tag(form: Form) -> str | None:
    return form.values["tag"].strip() or None


def _list(form: Form) -> Any:
    mine = select(StatusPage).where(StatusPage.owner_id == current_user.id).order_by(StatusPage.id)
    pages = db.session.scalars(mine).all()
    return form.answer(render_template("status_pages.html", pages=pages, form=form, languages=list(NAMES.items())))


def _page(page_id: int) -> StatusPage:
    page = db.session.get(StatusPage, page_id)
    if page is None or page.owner_id != current_user.id:
        raise Problem(404, "Status page does not exist")
    return page


def _done(message: str) -> Any:
    flash(message)
    return redirect(url_for("pages.show_status_pages"), 303)
