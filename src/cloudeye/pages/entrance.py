"""The way in and out: log in and out, register, choose a forgotten password anew, confirm an address.

What is said to strangers does not tell who has an account. The token of a mail's link is used up by a button, never
by the link itself: mail programs open links by themselves.
"""

from __future__ import annotations

from typing import Any

from flask import abort, current_app, flash, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from cloudeye.api.auth import EXPIRED_LINK, SENT
from cloudeye.api.users import refusing_taken
from cloudeye.attempts import forgive, limit_confirmation, limit_login_form, limit_registration, limit_reset
from cloudeye.errors import Problem
from cloudeye.extensions import db
from cloudeye.i18n import N_, gettext
from cloudeye.pages.base import Form, blueprint, desk, is_ours
from cloudeye.pages.languages import chosen_language
from cloudeye.pages.visitors import leave, let_in
from cloudeye.schemas.people import (
    EmailConfirmationSchema,
    RegistrationSchema,
    ResetRequestSchema,
    ResetSchema,
    VerificationSchema,
)
from cloudeye.services import accounts, users

WRONG_LINK = N_("This link has expired or was used before, or the password is wrong.")


@blueprint.get("/login")
def log_in() -> Any:
    """Ask who is there."""
    if current_user.is_authenticated:
        return redirect(url_for("pages.show_sites"))
    return render_template("login.html", form=Form("login", next=request.args.get("next", "")))


@blueprint.post("/login")
def check_login() -> Any:
    """Let in whoever knows the password."""
    form = Form("login")
    form.read("email", "next")
    with form.explaining():
        let_in(_authenticate())
        wanted = form.values["next"]
        return redirect(wanted if is_ours(wanted) else url_for("pages.show_sites"), 303)
    return form.answer(render_template("login.html", form=form))


@blueprint.post("/logout")
def log_out() -> Response:
    """End the session."""
    leave()
    return redirect(url_for("pages.log_in"), 303)


@blueprint.route("/register", methods=["GET", "POST"])
def register() -> Any:
    """Ask for an account; it is made when the address is confirmed."""
    if not current_app.config["CLOUDEYE"].open_registration:
        abort(404)
    form = Form("register", username="", email="", password="")
    if request.method == "POST":
        with form.explaining():
            form.read("username", "email", "password")
            given = form.check(RegistrationSchema())
            chosen = chosen_language()
            _register({**given, "language": chosen} if chosen else given)
            flash(gettext(SENT))
            return redirect(url_for("pages.log_in"), 303)
    return form.answer(render_template("register.html", form=form))


@blueprint.route("/verify", methods=["GET", "POST"])
def verify() -> Any:
    """Make the account that was registered, for whoever has both the mail and the password."""
    form = Form("verify", token=request.args.get("token", ""), password="")
    if request.method == "POST":
        with form.explaining():
            form.read("token", "password")
            user = _confirm(form.check(VerificationSchema()))
            let_in(user)
            flash(gettext("%(name)s was added!", name=user.email))
            return redirect(url_for("pages.show_sites"), 303)
    return form.answer(render_template("verify.html", form=form))


@blueprint.route("/reset", methods=["GET", "POST"])
def reset() -> Any:
    """Send a link by which a new password can be chosen; or choose it, where the link led here."""
    if request.values.get("token"):
        return _choose_password()
    form = Form("reset", email="")
    if request.method == "POST":
        with form.explaining():
            form.read("email")
            _request_reset(form.check(ResetRequestSchema()))
            flash(gettext(SENT))
            return redirect(url_for("pages.log_in"), 303)
    return form.answer(render_template("reset.html", form=form))


@blueprint.route("/email", methods=["GET", "POST"])
def confirm_email() -> Any:
    """Give an account the address that the link was sent to."""
    form = Form("email", token=request.args.get("token", ""))
    if request.method == "POST":
        with form.explaining():
            form.read("token")
            user = _confirm_email(form.check(EmailConfirmationSchema()))
            flash(gettext("Your address is %(email)s now.", email=user.email))
            return redirect(url_for("pages.show_account"), 303)
    return form.answer(render_template("email.html", form=form))


def _choose_password() -> Any:
    form = Form("reset", token=request.args.get("token", ""), password="")
    if request.method == "POST":
        with form.explaining():
            form.read("token", "password")
            _reset(form.check(ResetSchema()))
            leave()  # this browser's session ended with the others
            flash(gettext("The password was changed."))
            return redirect(url_for("pages.log_in"), 303)
    return form.answer(render_template("new_password.html", form=form))


@limit_login_form
def _authenticate() -> Any:
    email, password = request.form.get("email", ""), request.form.get("password", "")
    # The whole address: what is looked up is what was counted.
    user = users.authenticate(db.session(), email, password[:256])
    if user is None:
        raise Problem(401, "E-mail or password is wrong.")
    return user


@limit_registration
def _register(given: dict[str, Any]) -> None:
    accounts.register(db.session(), desk(), **given)
    db.session.commit()


@limit_confirmation
def _confirm(given: dict[str, Any]) -> Any:
    try:
        with refusing_taken():
            return accounts.confirm(db.session(), **given)
    except accounts.BadToken:
        raise Problem(400, WRONG_LINK) from None


@limit_reset
def _request_reset(given: dict[str, Any]) -> None:
    accounts.request_reset(db.session(), desk(), given["email"])
    db.session.commit()


@limit_confirmation
def _reset(given: dict[str, Any]) -> None:
    try:
        user = accounts.reset(db.session(), desk(), **given)
    except accounts.BadToken:
        raise Problem(400, EXPIRED_LINK) from None
    db.session.commit()
    forgive(user.email)


@limit_confirmation
def _confirm_email(given: dict[str, Any]) -> Any:
    try:
        with refusing_taken():
            user = accounts.confirm_email_change(db.session(), desk(), **given)
    except accounts.BadToken:
        raise Problem(400, EXPIRED_LINK) from None
    db.session.commit()
    return user
