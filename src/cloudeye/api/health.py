"""Is the process there, and can it serve. Asked by people, nginx's operators and the release engine."""

from __future__ import annotations

import logging
from typing import Any

from flask import Response, current_app, jsonify

from cloudeye.api.base import Blueprint
from cloudeye.config import Config
from cloudeye.errors import Problem
from cloudeye.extensions import db
from cloudeye.schemas.common import envelope, success
from cloudeye.schemas.health import HealthSchema, ReadinessSchema
from cloudeye.services.readiness import check_readiness, heartbeat_age

log = logging.getLogger(__name__)

blueprint = Blueprint("health", __name__, description="The state of this instance")

PongAnswer = envelope("PongAnswer")
HealthAnswer = envelope("HealthAnswer", HealthSchema)
ReadinessAnswer = envelope("ReadinessAnswer", ReadinessSchema)


@blueprint.route("/ping")
@blueprint.response(200, PongAnswer)
def ping() -> Response:
    """Answer."""
    return jsonify(success() | {"message": "pong!"})  # the same in every language, so that it varies with none


@blueprint.route("/healthz")
@blueprint.response(200, HealthAnswer)
def healthz() -> dict[str, Any]:
    """Say that the process answers, and nothing more."""
    return success(release=current_app.config["CLOUDEYE"].release)


@blueprint.route("/readyz")
@blueprint.response(200, ReadinessAnswer)
@blueprint.others("SERVICE_UNAVAILABLE")
def readyz() -> dict[str, Any]:
    """Say whether the database is reachable and has every revision that this release needs.

    The age of sync's heartbeat is told, but never decides.
    """
    config: Config = current_app.config["CLOUDEYE"]
    found = check_readiness(db.engine)
    age = heartbeat_age(config.heartbeat_file)
    details: dict[str, Any] = {
        "release": config.release,
        "database": "reachable" if found.reachable else "unreachable",
        "missing_revisions": list(found.missing),
        "sync_heartbeat_age": None if age is None else round(age, 1),
    }
    if found.error:
        log.warning("not ready: %s", found.error)
    if not found.ready:
        raise Problem(503, "This instance is not ready.", details)
    return success(**details)
