"""The pages for people with a browser: rendered here, no script and nothing from elsewhere needed."""

from __future__ import annotations

from flask import Flask

from cloudeye.config import Config
from cloudeye.pages import visitors
from cloudeye.pages.views import blueprint


def register(app: Flask) -> None:
    """Add the pages to the application."""
    config: Config = app.config["CLOUDEYE"]
    visitors.register(app)
    app.register_blueprint(blueprint)
    app.jinja_env.globals.update(app_name=config.name, environment=config.environment)
