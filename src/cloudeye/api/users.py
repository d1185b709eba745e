"""Users: admins make, list, change and remove them; everyone may read and change themselves."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from marshmallow import fields
from sqlalchemy import select

from cloudeye.access import admin_only, caller, signed_in
from cloudeye.api.base import Blueprint, desk, page_of, sorted_by
from cloudeye.errors import Problem
from cloudeye.extensions import db
from cloudeye.i18n import N_, gettext
from cloudeye.models import User, email_key
from cloudeye.preconditions import current
from cloudeye.schemas.common import PagingSchema, envelope, success
from cloudeye.schemas.people import NewUserSchema, UserChangeSchema, UserQuerySchema, UserSchema
from cloudeye.services import accounts, users
from cloudeye.tokens import revocation_lifetime

blueprint = Blueprint("users", __name__, url_prefix="/users", description="People with an account")

UserAnswer = envelope("UserAnswer", user=fields.Nested(UserSchema, required=True))
UsersAnswer = envelope(
    "UsersAnswer",
    users=fields.List(fields.Nested(UserSchema), required=True),
    paging=fields.Nested(PagingSchema, required=True),
)
RemovedUserAnswer = envelope("RemovedUserAnswer")

COLUMNS = UserSchema().columns_of(User)

TAKEN = {"email": N_("Sorry. That email already exists."), "phone": N_("Sorry. That phone already exists.")}
FOR_ADMINS = frozenset({"email", "role", "active"})
FOR_PEOPLE = frozenset({"email", "role"})  # what an account is entered by, and what may be done then


@contextmanager
def refusing_taken() -> Iterator[None]:
    """Answer 400 where another user has the e-mail or the phone."""
    try:
        yield
    except users.Taken as taken:
        message = TAKEN[taken.field]
        raise Problem(400, message, {taken.field: [message]}) from None


@blueprint.route("")
@admin_only
@blueprint.arguments(UserQuerySchema, location="query")
@blueprint.response(200, UsersAnswer)
def list_users(asked: dict[str, Any]) -> dict[str, Any]:
    """List users, oldest first unless sorted otherwise; the filters are exact and can be combined."""
    query = select(User)
    if "email" in asked:
        query = query.where(User.email_key == email_key(asked["email"]))
    for name in ("phone", "active"):
        if name in asked:
            query = query.where(getattr(User, name) == asked[name])
    found, paging = page_of(sorted_by(query, User, asked["sort"]), COLUMNS, asked["page"], asked["per_page"])
    return success(users=found, paging=paging)


@blueprint.route("", methods=["POST"])
@admin_only
@blueprint.arguments(NewUserSchema)
@blueprint.response(201, UserAnswer)
def add_user(given: dict[str, Any]) -> dict[str, Any]:
    """Make a user, who is told so by mail; neither happens without the other."""
    if caller().scopes is not None and given.get("role") == "admin":
        raise _forbidden(N_("No API key may make an admin."), {"role"})
    with refusing_taken():
        user = users.create_user(db.session(), **given)
    accounts.welcome(db.session(), desk(), user)
    return success(gettext("%(name)s was added!", name=user.email), user=current(user))


@blueprint.route("/<id:user_id>")
@signed_in
@blueprint.response(200, UserAnswer)
@blueprint.others("BAD_REQUEST", "NOT_FOUND")
def get_user(user_id: int) -> dict[str, Any]:
    """Read a user: admins anyone, others themselves."""
    return success(user=_user(user_id))


@blueprint.route("/<id:user_id>", methods=["PATCH"])
@signed_in
@blueprint.arguments(UserChangeSchema)
@blueprint.response(200, UserAnswer)
@blueprint.others("NOT_FOUND", "CONFLICT")
def change_user(given: dict[str, Any], user_id: int) -> dict[str, Any]:
    """Change a user: admins anyone, others themselves but for address, role and activity."""
    user = _user(user_id)
    if not caller().is_admin and FOR_ADMINS & given.keys():
        raise _forbidden(N_("Only admins may change that."), FOR_ADMINS & given.keys())
    if caller().scopes is not None and FOR_PEOPLE & given.keys():
        raise _forbidden(N_("No API key may change that."), FOR_PEOPLE & given.keys())
    old = user.email
    with refusing_taken(), _keeping_an_admin():
        users.change_user(db.session(), user, access=revocation_lifetime(), **given)
    if email_key(old) != user.email_key:
        accounts.tell_of_new_address(db.session(), desk(), user, old)
    return success(user=user)


@blueprint.route("/<id:user_id>", methods=["DELETE"])
@admin_only
@blueprint.response(200, RemovedUserAnswer)
@blueprint.others("BAD_REQUEST", "NOT_FOUND", "CONFLICT")
def remove_user(user_id: int) -> dict[str, Any]:
    """Remove a user with their sites and what was found of them."""
    user = _user(user_id)
    with _keeping_an_admin():
        users.remove_user(db.session(), user, access=revocation_lifetime())
    return success(gettext("%(name)s was removed!", name=user.email))


def _forbidden(message: str, names: Collection[str]) -> Problem:
    return Problem(403, message, {name: [message] for name in sorted(names)})


@contextmanager
def _keeping_an_admin() -> Iterator[None]:
    try:
        yield
    except users.LastAdmin:
        raise Problem(409, "This is the last active admin.") from None


def _user(user_id: int) -> User:
    """Return a user that the caller may see; another is as unknown as one that never was."""
    user = db.session.get(User, user_id) if caller().is_admin or caller().id == user_id else None
    if user is None:
        raise Problem(404, "User does not exist")
    return current(user)
