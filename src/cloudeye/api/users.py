"""Users: admins make and list them, everyone may read themselves."""

from __future__ import annotations

from typing import Any

from marshmallow import fields
from sqlalchemy import select

from cloudeye.access import admin_only, caller, signed_in
from cloudeye.api.base import Blueprint, page_of
from cloudeye.errors import Problem
from cloudeye.extensions import db
from cloudeye.models import User, email_key
from cloudeye.schemas import NewUserSchema, PagingSchema, UserQuerySchema, UserSchema, envelope, success
from cloudeye.services import users

blueprint = Blueprint("users", __name__, url_prefix="/users", description="People with an account")

UserAnswer = envelope("UserAnswer", user=fields.Nested(UserSchema, required=True))
UsersAnswer = envelope(
    "UsersAnswer",
    users=fields.List(fields.Nested(UserSchema), required=True),
    paging=fields.Nested(PagingSchema, required=True),
)

TAKEN = {"email": "Sorry. That email already exists.", "phone": "Sorry. That phone already exists."}


@blueprint.route("")
@admin_only
@blueprint.arguments(UserQuerySchema, location="query")
@blueprint.response(200, UsersAnswer)
def list_users(asked: dict[str, Any]) -> dict[str, Any]:
    """List users, oldest first."""
    query = select(User).order_by(User.id)
    if "email" in asked:
        query = query.where(User.email_key == email_key(asked["email"]))
    if "phone" in asked:
        query = query.where(User.phone == asked["phone"])
    if "active" in asked:
        query = query.where(User.active == asked["active"])
    found, paging = page_of(query, asked["page"], asked["per_page"])
    return success(users=found, paging=paging)


@blueprint.route("", methods=["POST"])
@admin_only
@blueprint.arguments(NewUserSchema)
@blueprint.response(201, UserAnswer)
def add_user(given: dict[str, Any]) -> dict[str, Any]:
    """Make a user."""
    try:
        user = users.create_user(db.session(), **given)
        db.session.commit()
    except users.Taken as taken:
        message = TAKEN[taken.field]
        raise Problem(400, message, {taken.field: [message]}) from None
    return success(f"{user.email} was added!", user=user)


@blueprint.route("/<id:user_id>")
@signed_in
@blueprint.response(200, UserAnswer)
@blueprint.others("BAD_REQUEST", "NOT_FOUND")
def get_user(user_id: int) -> dict[str, Any]:
    """Read a user: admins anyone, others themselves."""
    user = db.session.get(User, user_id) if caller().is_admin or caller().id == user_id else None
    if user is None:
        raise Problem(404, "User does not exist")
    return success(user=user)
