"""Where alerts go: a user's own targets. Nobody else sees them, not even admins: their addresses are half a secret."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import current_app
from marshmallow import fields
from sqlalchemy import select

from cloudeye.access import caller, signed_in
from cloudeye.api.auth import EXPIRED_LINK
from cloudeye.api.base import Blueprint, desk
from cloudeye.attempts import limit_confirmation
from cloudeye.config import Config
from cloudeye.errors import INVALID, Problem
from cloudeye.extensions import db
from cloudeye.i18n import gettext
from cloudeye.models import AlertTarget, User
from cloudeye.preconditions import NEVER_CACHED, current
from cloudeye.schemas.common import envelope, success
from cloudeye.schemas.targets import ConfirmationSchema, NewTargetSchema, TargetChangeSchema, TargetSchema
from cloudeye.services import accounts, alerts, targets

blueprint = Blueprint("targets", __name__, url_prefix="/targets", description="Where alerts go")

SIGNS = "signs what the webhook gets; shown here alone, null for other kinds and when the answer is given again"
TargetAnswer = envelope("TargetAnswer", target=fields.Nested(TargetSchema, required=True))
NewTargetAnswer = envelope(
    "NewTargetAnswer",
    target=fields.Nested(TargetSchema, required=True),
    secret=fields.String(required=True, allow_none=True, metadata={"description": SIGNS}),
)
TargetsAnswer = envelope(
    "TargetsAnswer",
    targets=fields.List(fields.Nested(TargetSchema), required=True),
    fallback=fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "where alerts go while there is no target: one's own verified address"},
    ),
)
TestAnswer = envelope("TestAnswer", message_id=fields.String(required=True))
ConfirmedAnswer = envelope("ConfirmedAnswer", address=fields.String(required=True))
RemovedTargetAnswer = envelope("RemovedTargetAnswer")


@blueprint.route("")
@signed_in
@blueprint.response(200, TargetsAnswer)
def list_targets() -> dict[str, Any]:
    """List one's own targets, oldest first."""
    mine = select(AlertTarget).where(AlertTarget.owner_id == caller().id).order_by(AlertTarget.id)
    return success(targets=db.session.scalars(mine).all(), fallback=targets.fallback(db.session(), _owner()))


@blueprint.route("", methods=["POST"])
@signed_in
@blueprint.arguments(NewTargetSchema)
@blueprint.response(201, NewTargetAnswer)
@blueprint.others("CONFLICT", "TOO_MANY_REQUESTS")
def add_target(given: dict[str, Any]) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Add a target; a mail address that is not one's own verified one is asked first."""
    with explaining():
        target, secret = targets.create_target(
            db.session(), desk(), _owner(), given, allow_private=_config().sync.allow_private
        )
    answer = success(gettext("%(name)s was added!", name=target.name), target=target, secret=secret)
    return answer, 201, NEVER_CACHED


@blueprint.route("/<id:target_id>")
@signed_in
@blueprint.response(200, TargetAnswer)
@blueprint.others("BAD_REQUEST", "NOT_FOUND")
def get_target(target_id: int) -> dict[str, Any]:
    """Read a target."""
    return success(target=_target(target_id))


@blueprint.route("/<id:target_id>", methods=["PATCH"])
@signed_in
@blueprint.arguments(TargetChangeSchema)
@blueprint.response(200, TargetAnswer)
@blueprint.others("NOT_FOUND", "TOO_MANY_REQUESTS")
def change_target(given: dict[str, Any], target_id: int) -> dict[str, Any]:
    """Change a target; another mail address is asked first."""
    target = _target(target_id)
    with explaining():
        private = _config().sync.allow_private
        targets.change_target(db.session(), desk(), _owner(), target, given, allow_private=private)
    return success(target=target)


@blueprint.route("/<id:target_id>", methods=["DELETE"])
@signed_in
@blueprint.response(200, RemovedTargetAnswer)
@blueprint.others("BAD_REQUEST", "NOT_FOUND")
def remove_target(target_id: int) -> dict[str, Any]:
    """Remove a target, also from the sites that name it."""
    target = _target(target_id)
    targets.remove_target(db.session(), target)
    return success(gettext("%(name)s was removed!", name=target.name))


@blueprint.route("/<id:target_id>/test", methods=["POST"])
@signed_in
@blueprint.response(202, TestAnswer)
@blueprint.others("BAD_REQUEST", "NOT_FOUND", "CONFLICT", "TOO_MANY_REQUESTS")
def test_target(target_id: int) -> dict[str, Any]:
    """Send a message that shows whether alerts arrive; what came of it is the target's error, or null."""
    target = _target(target_id)
    with explaining():
        message = targets.send_test(db.session(), place(), _owner(), target)
    return success(message_id=message.event_id)


@blueprint.route("/<id:target_id>/secret", methods=["POST"])
@signed_in
@blueprint.response(200, NewTargetAnswer)
@blueprint.others("BAD_REQUEST", "NOT_FOUND", "CONFLICT")
def rotate_target_secret(target_id: int) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Give a webhook another secret; everything that is sent from now on is signed with it."""
    target = _target(target_id)
    with explaining():
        secret = targets.rotate_secret(db.session(), target)
    return success(target=target, secret=secret), 200, NEVER_CACHED


@blueprint.route("/confirm", methods=["POST"])
@blueprint.arguments(ConfirmationSchema)
@blueprint.response(200, ConfirmedAnswer)
@limit_confirmation
def confirm_target(given: dict[str, str]) -> dict[str, Any]:
    """Agree that alerts come to an address, by the token that was mailed to it."""
    try:
        target = targets.confirm(db.session(), given["token"])
    except accounts.BadToken:
        raise Problem(400, EXPIRED_LINK) from None
    db.session.commit()
    return success(address=target.address)


@contextmanager
def explaining() -> Iterator[None]:
    """Turn what the service refuses into answers."""
    try:
        yield
    except targets.BadTarget as bad:
        raise Problem(400, INVALID, bad.data) from None
    except targets.Refused as why:
        raise Problem(409, str(why)) from None
    except targets.TooSoon as why:
        raise Problem(429, str(why), headers={"Retry-After": str(why.seconds)}) from None


def place() -> alerts.Place:
    """Return where links in alerts lead."""
    secret, *others = _config().secret_keys
    return alerts.Place(_config().public_url, secret, tuple(others))


def _target(target_id: int) -> AlertTarget:
    """Return a target of the caller's; anybody else's is as unknown as one that never was."""
    target = db.session.get(AlertTarget, target_id)
    if target is None or target.owner_id != caller().id:
        raise Problem(404, "Target does not exist")
    return current(target)


def _owner() -> User:
    owner = db.session.get(User, caller().id)
    if owner is None:
        raise Problem(404, "User does not exist")
    return owner


def _config() -> Config:
    config: Config = current_app.config["CLOUDEYE"]
    return config
