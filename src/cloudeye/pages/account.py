"""One's own account: who one is, the address, the password, where one is logged in, and keys for machines."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import available_timezones

from flask import flash, redirect, render_template, request, url_for
from flask_login import current_user
from markupsafe import Markup
from marshmallow import ValidationError
from sqlalchemy import select

from cloudeye.api.account import WRONG
from cloudeye.api.auth import SENT
from cloudeye.api.users import refusing_taken
from cloudeye.attempts import limit_login, limit_reset
from cloudeye.errors import INVALID, Problem
from cloudeye.extensions import db
from cloudeye.i18n import N_, gettext
from cloudeye.models import ApiKey, User, UserSession, utcnow
from cloudeye.moments import zone_of
from cloudeye.pages.base import Form, blueprint, desk, members_only
from cloudeye.pages.languages import NAMES
from cloudeye.schemas.people import EmailChangeSchema, NewKeySchema, PasswordChangeSchema, UserChangeSchema
from cloudeye.services import accounts, keys, sessions, users
from cloudeye.tokens import revocation_lifetime

PROFILE = ("username", "phone", "language", "time_zone")
# Read from files, and written out, before anybody waits for it: there are about six hundred.
TIME_ZONES = ["", *sorted(available_timezones())]  # the first stands for no choice
ZONE_OPTIONS = Markup("").join(
    Markup('<option value="{0}">{1}</option>\n').format(name, name or "UTC") for name in TIME_ZONES
)
# What browsers call themselves, and the systems that they run on; the first that is found counts, for each names the
# older ones as well.
BROWSERS = {"Edg": "Edge", "OPR": "Opera", "Firefox": "Firefox", "FxiOS": "Firefox", "Chrome": "Chrome",
            "CriOS": "Chrome", "Safari": "Safari"}  # fmt: skip
SYSTEMS = {"iPhone": "iPhone", "iPad": "iPad", "Android": "Android", "Windows": "Windows", "Macintosh": "macOS",
           "CrOS": "ChromeOS", "Linux": "Linux"}  # fmt: skip


@blueprint.app_template_filter("program")
def name_program(agent: str | None) -> str:
    """Return what a client called itself, a browser in two words; it may have lied."""
    agent = agent or ""
    if not agent.startswith("Mozilla/"):
        return agent
    found = [next((said for sign, said in names.items() if sign in agent), "") for names in (BROWSERS, SYSTEMS)]
    return " · ".join(word for word in found if word) or agent


@blueprint.get("/account")
@members_only
def show_account() -> Any:
    """Show everything about the visitor's account."""
    return _page(_me())


@blueprint.post("/account")
@members_only
def change_account() -> Any:
    """Change the name, the phone, the language or the time zone."""
    form = Form("profile")
    with form.explaining():
        form.read(*PROFILE)
        blank = {name: None for name in PROFILE[1:] if not form.values[name].strip()}
        given = form.check(UserChangeSchema(only=PROFILE), **blank)
        with refusing_taken():
            users.change_user(db.session(), _me(), access=revocation_lifetime(), **given)
        db.session.commit()
        return _done(gettext("Your account was changed."))
    return _page(_me(), form)


@blueprint.post("/account/email")
@members_only
def change_email() -> Any:
    """Send a link to another address, which is the visitor's once the link was followed."""
    form = Form("address")
    with form.explaining():
        form.read("email", "password")
        _request_email_change(form.check(EmailChangeSchema()))
        return _done(gettext(SENT))
    return _page(_me(), form)


@blueprint.post("/account/password")
@members_only
def change_password() -> Any:
    """Choose another password, which ends the visitor's other sessions."""
    form = Form("password")
    with form.explaining():
        form.read("old_password", "new_password")
        given = form.check(PasswordChangeSchema())
        me = _me()
        _change_password({"email": me.email}, me, given)
        return _done(gettext("The password was changed."))
    return _page(_me(), form)


@blueprint.post("/account/sessions/end")
@members_only
def end_other_sessions() -> Any:
    """Log out everywhere else."""
    sessions.end_sessions(db.session(), current_user.id, access=revocation_lifetime(), keep=current_user.session_id)
    db.session.commit()
    return _done(gettext("You are logged in nowhere else."))


@blueprint.post("/account/sessions/<session_id>/end")
@members_only
def end_session(session_id: str) -> Any:
    """Log out somewhere."""
    mine = select(UserSession.id).where(UserSession.id == session_id, UserSession.user_id == current_user.id)
    if db.session.scalar(mine) is None:
        raise Problem(404, "Session does not exist")
    sessions.end_session(db.session(), session_id, access=revocation_lifetime())
    db.session.commit()
    return _done(gettext("The session was ended."))


@blueprint.post("/account/keys")
@members_only
def add_key() -> Any:
    """Make a key; its secret is on the page that answers, and on no other."""
    form = Form("key")
    with form.explaining():
        form.read("name", "expires_on")
        form.values["scopes"] = request.form.getlist("scopes")
        given = form.check(NewKeySchema(exclude=["expires_at"], unknown="exclude"))
        expires_at = _end_of_day(form.values["expires_on"])
        try:
            key, secret = keys.create_key(db.session(), current_user.id, expires_at=expires_at, **given)
        except keys.NameTaken:
            raise Problem(400, INVALID, {"name": [N_("You have a key of this name.")]}) from None
        db.session.commit()
        return render_template("key.html", key=key, secret=secret), 201
    return _page(_me(), form)


@blueprint.post("/account/keys/<id:key_id>/remove")
@members_only
def remove_key(key_id: int) -> Any:
    """Take a key back."""
    key = db.session.get(ApiKey, key_id)
    if key is None or key.user_id != current_user.id:
        raise Problem(404, "Key does not exist")
    db.session.delete(key)
    db.session.commit()
    return _done(gettext("%(name)s was removed!", name=key.name))


def _me() -> User:
    return db.session.get_one(User, current_user.id)


def _done(message: str) -> Any:
    flash(message)
    return redirect(url_for("pages.show_account"), 303)


def _page(me: User, sent: Form | None = None) -> Any:
    """Return the page, with what was sent of one form and what is known in the others."""
    forms = {
        form.name: form
        for form in (
            Form("profile", **{name: getattr(me, name) or "" for name in PROFILE}),
            Form("address", email=""),
            Form("password"),
            Form("key", name="", expires_on="", scopes=["sites:read"]),
        )
    }
    sent = sent or forms["profile"]
    forms[sent.name] = sent
    here = db.session.scalars(
        select(UserSession)
        .where(UserSession.user_id == me.id, UserSession.expires_at > utcnow())
        .order_by(UserSession.last_used_at.desc(), UserSession.id)
    ).all()
    mine = db.session.scalars(select(ApiKey).where(ApiKey.user_id == me.id).order_by(ApiKey.id)).all()
    page = render_template(
        "account.html",
        me=me,
        forms=forms,
        sessions=here,
        keys=mine,
        language_choices=[(name, said) for name, said in NAMES.items()],
        zone_options=zone_options(forms["profile"].values["time_zone"]),
        scopes=keys.SCOPES,
        now=utcnow(),
    )
    return sent.answer(page)


def zone_options(chosen: str) -> Markup:
    """Return the options of a field with time zones, one of them chosen."""
    if chosen not in TIME_ZONES:
        return ZONE_OPTIONS
    value = Markup('value="{0}"').format(chosen)
    return Markup(str(ZONE_OPTIONS).replace(value, f"{value} selected", 1))  # noqa: S704 - of escaped parts


@limit_reset
def _request_email_change(given: dict[str, Any]) -> None:
    me = _me()
    _with_password({"email": me.email}, me, given)


@limit_login
def _with_password(_account: dict[str, str], me: User, given: dict[str, Any]) -> None:
    """Ask for another address; wrong passwords are counted as those of a login: a stolen session is no way around."""
    if not accounts.request_email_change(db.session(), desk(), me, **given):
        raise Problem(401, INVALID, WRONG)
    db.session.commit()


@limit_login
def _change_password(_account: dict[str, str], me: User, given: dict[str, Any]) -> None:
    """Choose another password; wrong ones are counted likewise."""
    if not accounts.change_password(db.session(), desk(), me, keep=current_user.session_id, **given):
        raise Problem(401, INVALID, {"old_password": WRONG["password"]})
    db.session.commit()


def _end_of_day(text: str) -> datetime | None:
    """Return when the day ends that was chosen in a date field, in the visitor's zone; None where none was."""
    if not text:
        return None
    try:
        day = datetime.strptime(text, "%Y-%m-%d").date() + timedelta(days=1)
        ends = datetime.combine(day, time(), zone_of(current_user.time_zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValidationError({"expires_on": [N_("Not a valid date.")]}) from None
    if ends <= utcnow():
        raise ValidationError({"expires_on": [N_("This day has passed.")]})
    return ends
