"""Swagger UI on the API's description; its scripts come from an installed package, not from elsewhere."""

from __future__ import annotations

from importlib.resources import files

from flask import Blueprint, Response, abort, render_template, send_from_directory

blueprint = Blueprint("docs", __name__, url_prefix="/api/docs")

ASSETS = frozenset({"swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"})
# Swagger UI writes style attributes and draws its icons from data: URLs.
POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)


@blueprint.get("", strict_slashes=False)
def show() -> Response:
    """Show the page."""
    response = Response(render_template("docs.html"), mimetype="text/html")
    response.headers["Content-Security-Policy"] = POLICY
    return response


@blueprint.get("/assets/<name>")
def asset(name: str) -> Response:
    """Send one of Swagger UI's files."""
    if name not in ASSETS:
        abort(404)
    return send_from_directory(str(files("flask_swagger_ui") / "dist"), name, max_age=86_400)
