"""The pages for people with a browser: rendered here, no script and nothing from elsewhere needed."""

from __future__ import annotations

from datetime import timedelta

from flask import Flask

from cloudeye.config import Config
from cloudeye.i18n import language_tag
from cloudeye.pages import account, entrance, languages, people, public, site, sites, status_pages, targets, visitors
from cloudeye.pages.base import blueprint

# Their views are on the blueprint.
__all__ = ["account", "entrance", "languages", "people", "register", "site", "sites", "status_pages", "targets"]


def register(app: Flask) -> None:
    """Add the pages to the application."""
    config: Config = app.config["CLOUDEYE"]
    app.config.update(
        # The cookie lasts as long as the session that it names; it is sent anew when that is carried on.
        PERMANENT_SESSION_LIFETIME=timedelta(days=config.refresh_token_days),
        SESSION_REFRESH_EACH_REQUEST=False,
        WTF_CSRF_TIME_LIMIT=None,  # a form is good for as long as the cookie; an hour is short for a lunch
        WTF_CSRF_SSL_STRICT=False,  # pages/base.py asks the browser where a form came from, without a Referer
    )
    visitors.register(app)
    app.register_blueprint(blueprint)
    app.register_blueprint(public.blueprint)
    app.jinja_env.globals.update(
        app_name=config.name,
        environment=config.environment,
        here=languages.here,
        zone_name=languages.zone_name,
        language_names={name: (language_tag(name), said) for name, said in languages.NAMES.items()},
    )
    app.jinja_env.filters["clock"] = languages.show_clock
