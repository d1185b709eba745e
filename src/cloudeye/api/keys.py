"""API keys: made, listed and taken back by the user for whom they act."""

from __future__ import annotations

from typing import Any

from marshmallow import fields
from sqlalchemy import select

from cloudeye.access import account_only, caller
from cloudeye.api.base import Blueprint
from cloudeye.errors import INVALID, Problem
from cloudeye.extensions import db
from cloudeye.i18n import N_, gettext
from cloudeye.models import ApiKey
from cloudeye.preconditions import NEVER_CACHED
from cloudeye.schemas.common import envelope, success
from cloudeye.schemas.people import KeySchema, NewKeySchema
from cloudeye.services import keys

blueprint = Blueprint("keys", __name__, url_prefix="/auth/keys", description="Keys for machines")

NewKeyAnswer = envelope(
    "NewKeyAnswer",
    key=fields.Nested(KeySchema, required=True),
    secret=fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "for the X-API-Key header; null when the answer is given again"},
    ),
)
KeysAnswer = envelope("KeysAnswer", keys=fields.List(fields.Nested(KeySchema), required=True))
RemovedKeyAnswer = envelope("RemovedKeyAnswer")


@blueprint.route("")
@account_only
@blueprint.response(200, KeysAnswer)
def list_keys() -> dict[str, Any]:
    """List one's own keys, oldest first."""
    mine = select(ApiKey).where(ApiKey.user_id == caller().id).order_by(ApiKey.id)
    return success(keys=db.session.scalars(mine).all())


@blueprint.route("", methods=["POST"])
@account_only
@blueprint.arguments(NewKeySchema)
@blueprint.response(201, NewKeyAnswer)
def add_key(given: dict[str, Any]) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Make a key; its secret is in this answer and nowhere else."""
    try:
        key, secret = keys.create_key(db.session(), caller().id, **given)
    except keys.NameTaken:
        raise Problem(400, INVALID, {"name": [N_("You have a key of this name.")]}) from None
    answer = success(gettext("%(name)s was added!", name=key.name), key=key, secret=secret)
    return answer, 201, NEVER_CACHED


@blueprint.route("/<id:key_id>", methods=["DELETE"])
@account_only
@blueprint.response(200, RemovedKeyAnswer)
@blueprint.others("BAD_REQUEST", "NOT_FOUND")
def remove_key(key_id: int) -> dict[str, Any]:
    """Take a key back; within seconds it is worth nothing."""
    key = db.session.get(ApiKey, key_id)
    if key is None or key.user_id != caller().id:
        raise Problem(404, "Key does not exist")
    db.session.delete(key)
    db.session.flush()
    return success(gettext("%(name)s was removed!", name=key.name))
