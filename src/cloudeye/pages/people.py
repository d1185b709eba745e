"""Who has an account: listed, added, changed and removed by admins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import flash, redirect, render_template, request, url_for
from marshmallow import ValidationError
from sqlalchemy import select

from cloudeye.api.base import page_of, sorted_by
from cloudeye.api.users import COLUMNS, refusing_taken
from cloudeye.errors import INVALID, Problem
from cloudeye.extensions import db
from cloudeye.i18n import N_, gettext
from cloudeye.models import ROLES, User, email_key
from cloudeye.pages.base import Form, admins_only, blueprint, desk
from cloudeye.schemas.people import NewUserSchema, UserChangeSchema, UserQuerySchema
from cloudeye.services import accounts, users
from cloudeye.tokens import revocation_lifetime

ROLE_WORDS = (N_("user"), N_("admin"))  # of the templates; the words of ROLES
FILTERS = ("email", "phone", "active", "sort", "page", "per_page")
ROW = ("username", "email", "phone", "role")


@blueprint.get("/people")
@admins_only
def show_people() -> Any:
    """List who has an account."""
    return _list(Form("new", role="user"))


@blueprint.post("/people")
@admins_only
def add_person() -> Any:
    """Make an account for somebody, who is sent a link to choose a password."""
    form = Form("new")
    with form.explaining():
        form.read(*ROW)
        given = form.check(NewUserSchema(), **_blank(form))
        with refusing_taken():
            user = users.create_user(db.session(), **given)
        accounts.welcome(db.session(), desk(), user)
        db.session.commit()
        flash(gettext("%(name)s was added!", name=user.email))
        return redirect(url_for("pages.show_people"), 303)
    return _list(form)


@blueprint.get("/people/<id:user_id>")
@admins_only
def show_person(user_id: int) -> Any:
    """Show an account to change it."""
    user = _user(user_id)
    return render_template("person.html", person=user, form=_form_of(user), role_choices=_roles())


@blueprint.post("/people/<id:user_id>")
@admins_only
def change_person(user_id: int) -> Any:
    """Change an account; its owner is logged out where it is made inactive."""
    user = _user(user_id)
    form = _form_of(user)
    with form.explaining():
        form.read(*ROW)
        form.values["active"] = "active" in request.form
        given = form.check(UserChangeSchema(), **_blank(form))
        with refusing_taken(), _keeping_an_admin():
            users.change_user(db.session(), user, access=revocation_lifetime(), **given)
        db.session.commit()
        flash(gettext("%(name)s was changed.", name=user.email))
        return redirect(url_for("pages.show_people"), 303)
    return form.answer(render_template("person.html", person=_user(user_id), form=form, role_choices=_roles()))


@blueprint.route("/people/<id:user_id>/remove", methods=["GET", "POST"])
@admins_only
def remove_person(user_id: int) -> Any:
    """Ask whether an account is really to go, with its sites and what was found of them; then remove it."""
    user = _user(user_id)
    form = Form("remove")
    if request.method == "POST":
        with form.explaining():
            with _keeping_an_admin():
                users.remove_user(db.session(), user, access=revocation_lifetime())
            db.session.commit()
            flash(gettext("%(name)s was removed!", name=user.email))
            return redirect(url_for("pages.show_people"), 303)
    return form.answer(render_template("remove.html", person=_user(user_id), form=form))


def _list(form: Form) -> Any:
    chosen = Form("filter")
    chosen.values.update((name, request.args.get(name, "")) for name in FILTERS)
    query, schema = select(User), UserQuerySchema()
    try:
        asked: dict[str, Any] = schema.load({name: value for name, value in chosen.values.items() if value})
    except ValidationError as error:
        chosen.refuse(400, INVALID, error.messages_dict)
        asked = schema.load({})
    if "email" in asked:
        query = query.where(User.email_key == email_key(asked["email"]))
    for name in ("phone", "active"):
        if name in asked:
            query = query.where(getattr(User, name) == asked[name])
    found, paging = page_of(sorted_by(query, User, asked["sort"]), COLUMNS, asked["page"], asked["per_page"])
    page = render_template(
        "people.html",
        people=found,
        paging=paging,
        filter=chosen,
        form=form,
        role_choices=_roles(),
        words={**dict(_roles()), True: gettext("active"), False: gettext("inactive")},
    )
    return form.answer(page) if form.status != 200 else chosen.answer(page)


def _roles() -> list[tuple[str, str]]:
    return [(role, gettext(role)) for role in ROLES]


def _form_of(user: User) -> Form:
    return Form("person", active=user.active, **{name: getattr(user, name) or "" for name in ROW})


def _blank(form: Form) -> dict[str, None]:
    return {} if form.values["phone"].strip() else {"phone": None}


def _user(user_id: int) -> User:
    user = db.session.get(User, user_id)
    if user is None:
        raise Problem(404, "User does not exist")
    return user


@contextmanager
def _keeping_an_admin() -> Iterator[None]:
    try:
        yield
    except users.LastAdmin:
        raise Problem(409, N_("This is the last active admin.")) from None
