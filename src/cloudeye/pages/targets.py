"""Where alerts go: a visitor's own targets, and the pages that the links of mails lead to."""

from __future__ import annotations

from typing import Any

from flask import current_app, flash, redirect, render_template, request, url_for
from flask_login import current_user
from sqlalchemy import select

from cloudeye.api.auth import EXPIRED_LINK
from cloudeye.api.targets import explaining, place
from cloudeye.attempts import limit_confirmation
from cloudeye.errors import Problem
from cloudeye.extensions import db
from cloudeye.i18n import N_, gettext
from cloudeye.models import EVENT_KINDS, SEVERITIES, TARGET_KINDS, AlertTarget, User
from cloudeye.pages.base import UNGUARDED, Form, blueprint, desk, members_only
from cloudeye.schemas.targets import NewTargetSchema, TargetChangeSchema
from cloudeye.services import accounts, targets

# Of the templates.
KIND_WORDS = {"mail": N_("mail"), "webhook": N_("webhook"), "slack": N_("Slack and the like")}
EVENT_WORDS = {
    "down": N_("a site is down"),
    "up": N_("a site is up again"),
    "page": N_("a page changed"),
    "finding": N_("a weakness was found or fixed"),
    "certificate": N_("a certificate ends soon"),
}
FIELDS = ("name", "address", "minimum_severity")


@blueprint.get("/targets")
@members_only
def show_targets() -> Any:
    """List the visitor's alert targets."""
    return _page(_new_form())


@blueprint.post("/targets")
@members_only
def add_target() -> Any:
    """Add a target; a webhook's secret is on the page that answers, and on no other."""
    form = _new_form()
    with form.explaining():
        form.read(*FIELDS, "kind")
        given = form.check(NewTargetSchema(), kinds=_kinds(form))
        with explaining():
            target, secret = targets.create_target(db.session(), desk(), _me(), given, allow_private=_allow_private())
        name, confirmed = target.name, target.confirmed_at is not None
        db.session.commit()
        if secret is not None:
            return render_template("target_secret.html", name=name, secret=secret), 201
        if confirmed:
            return _done(gettext("%(name)s was added!", name=name))
        return _done(gettext("%(name)s was added. A mail asks there whether alerts may come.", name=name))
    return _page(form)


@blueprint.route("/targets/<id:target_id>", methods=["GET", "POST"])
@members_only
def change_target(target_id: int) -> Any:
    """Change where a target leads and what is told there."""
    target = _target(target_id)
    form = Form("target", kinds=target.kinds or list(EVENT_KINDS), active=target.active, **_values(target))
    if request.method == "POST":
        with form.explaining():
            form.read(*FIELDS)
            form.values["active"] = "active" in request.form
            given = form.check(TargetChangeSchema(), kinds=_kinds(form))
            with explaining():
                targets.change_target(db.session(), desk(), _me(), target, given, allow_private=_allow_private())
            name = target.name
            db.session.commit()
            return _done(gettext("%(name)s was changed.", name=name))
        target = _target(target_id)
    return form.answer(render_template("target.html", target=target, form=form, **_choices()))


@blueprint.post("/targets/<id:target_id>/test")
@members_only
def test_target(target_id: int) -> Any:
    """Send a message that shows whether alerts arrive."""
    form = Form("test")
    with form.explaining():
        target = _target(target_id)
        with explaining():
            targets.send_test(db.session(), place(), _me(), target)
        name = target.name
        db.session.commit()
        return _done(gettext("A test is on its way to %(name)s.", name=name))
    return _page(_new_form(), form)


@blueprint.post("/targets/<id:target_id>/secret")
@members_only
def rotate_target_secret(target_id: int) -> Any:
    """Give a webhook another secret, which is on the page that answers, and on no other."""
    target = _target(target_id)
    with explaining():
        secret = targets.rotate_secret(db.session(), target)
    name = target.name
    db.session.commit()
    return render_template("target_secret.html", name=name, secret=secret)


@blueprint.post("/targets/<id:target_id>/remove")
@members_only
def remove_target(target_id: int) -> Any:
    """Take a target away."""
    target = _target(target_id)
    name = target.name
    targets.remove_target(db.session(), target)
    db.session.commit()
    return _done(gettext("%(name)s was removed!", name=name))


# -- where the links of mails lead -----------------------------------------------------------------------------


@blueprint.route("/confirm", methods=["GET", "POST"])
def confirm_target() -> Any:
    """Let alerts come to an address, for whoever has the mail that asks; a button does it, never the link itself."""
    form = Form("confirm", token=request.args.get("token", ""))
    address = None
    if request.method == "POST":
        with form.explaining():
            form.read("token")
            address = _confirm(form.values["token"])
    return form.answer(render_template("confirm.html", form=form, address=address))


@blueprint.route("/unsubscribe", methods=["GET", "POST"])
def stop_alerts() -> Any:
    """End the alerts to an address, for whoever got one; mail programs ask for it by themselves (RFC 8058)."""
    form = Form("stop", token=request.args.get("token", ""))
    name = None
    if request.method == "POST":
        with form.explaining():
            form.values["token"] = request.form.get("token") or form.values["token"]
            name = _stop(form.values["token"])
    return form.answer(render_template("unsubscribe.html", form=form, name=name))


# Who has the token may; a mail program has no page of ours, and so nothing else to show.
UNGUARDED.add("pages.stop_alerts")


@limit_confirmation
def _confirm(token: str) -> str:
    try:
        target = targets.confirm(db.session(), token)
    except accounts.BadToken:
        raise Problem(400, EXPIRED_LINK) from None
    address = target.address
    db.session.commit()
    return address


@limit_confirmation
def _stop(token: str) -> str:
    try:
        target = targets.find_stopped(db.session(), place(), token)
    except accounts.BadToken:
        raise Problem(400, N_("This link is not complete.")) from None
    targets.stop(db.session(), target)
    name = target.address
    db.session.commit()
    return name


def _new_form() -> Form:
    return Form("new", name="", address="", kind="mail", minimum_severity="low", kinds=list(EVENT_KINDS))


def _values(target: AlertTarget) -> dict[str, str]:
    return {name: getattr(target, name) for name in FIELDS}


def _kinds(form: Form) -> list[str] | None:
    """Return what was chosen to be told of; all of it stands for whatever there will be."""
    form.values["kinds"] = request.form.getlist("kinds")
    return None if set(form.values["kinds"]) == set(EVENT_KINDS) else form.values["kinds"]


def _choices() -> dict[str, Any]:
    return {
        "kind_choices": [(kind, gettext(KIND_WORDS[kind])) for kind in TARGET_KINDS],
        "event_choices": [(kind, gettext(EVENT_WORDS[kind])) for kind in EVENT_KINDS],
        "severity_choices": [(severity, gettext(severity)) for severity in SEVERITIES],
    }


def _page(form: Form, other: Form | None = None) -> Any:
    mine = select(AlertTarget).where(AlertTarget.owner_id == current_user.id).order_by(AlertTarget.id)
    page = render_template(
        "targets.html",
        targets=db.session.scalars(mine).all(),
        fallback=targets.fallback(db.session(), _me()),
        words={kind: gettext(said) for kind, said in {**KIND_WORDS, **EVENT_WORDS}.items()},
        severities={severity: gettext(severity) for severity in SEVERITIES},
        form=form,
        other=other,
        **_choices(),
    )
    return (other or form).answer(page)


def _me() -> User:
    return db.session.get_one(User, current_user.id)


def _target(target_id: int) -> AlertTarget:
    target = db.session.get(AlertTarget, target_id)
    if target is None or target.owner_id != current_user.id:
        raise Problem(404, "Target does not exist")
    return target


def _allow_private() -> bool:
    return bool(current_app.config["CLOUDEYE"].sync.allow_private)


def _done(message: str) -> Any:
    flash(message)
    return redirect(url_for("pages.show_targets"), 303)
