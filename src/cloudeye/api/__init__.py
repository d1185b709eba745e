"""The JSON API: one module for each resource, all under one prefix."""

from __future__ import annotations

from flask import Flask

from cloudeye.api import (
    account,
    auth,
    bugs,
    description,
    docs,
    events,
    health,
    keys,
    oidc,
    sites,
    status_pages,
    tamper,
    targets,
    usability,
    users,
)
from cloudeye.api.base import Api, IdConverter
from cloudeye.config import Config
from cloudeye.schemas.sites import HEADER_NAMES, MAXIMUM_INTERVAL

PREFIX = "/api/v1"


def register(app: Flask) -> None:
    """Add the API and its description to the application."""
    config: Config = app.config["CLOUDEYE"]
    app.config.update(
        API_TITLE=config.name,
        API_VERSION="v1",
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/api",
        OPENAPI_JSON_PATH="openapi.json",
    )
    app.url_map.converters["id"] = IdConverter
    api = Api(app)
    api.register_converter(IdConverter, lambda _: {"type": "integer", "minimum": 1})
    api.spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})
    api.spec.components.security_scheme("key", {"type": "apiKey", "in": "header", "name": "X-API-Key"})
    api.register_blueprint(health.blueprint)
    for module in (auth, oidc, account, keys, users, sites, usability, tamper, bugs, events, targets, status_pages):
        api.register_blueprint(module.blueprint, url_prefix=PREFIX + module.blueprint.url_prefix)
    app.register_blueprint(docs.blueprint)
    api.spec.components.schemas["OidcLogin"] |= oidc.LOGIN_RULES
    description.complete(api.spec, app.url_map)
    # The shortest interval and the longest timeout are settings, so the schema cannot know them by itself.
    for name, schema in api.spec.components.schemas.items():
        if name.startswith(("NewSite", "SiteChange")):
            schema["properties"]["interval"] |= {
                "minimum": config.sync.minimum_interval,
                "maximum": MAXIMUM_INTERVAL,
            }
            schema["properties"]["timeout"] |= {"maximum": config.sync.total_timeout}
            schema["properties"]["headers"] |= {"propertyNames": HEADER_NAMES}
    api.write_description()
