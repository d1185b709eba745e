"""The factory of the web application."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from flask import Flask, Response, request
from flask_cors import CORS

from cloudeye import api, attempts, cli, errors, i18n, pages, tokens, tracing
from cloudeye.aliases import Aliases
from cloudeye.config import Config
from cloudeye.cookies import SessionInterface
from cloudeye.dispatch import Application, Forwarded
from cloudeye.extensions import cache, csrf, db, jwt, login
from cloudeye.json_provider import JsonProvider

MAXIMUM_BODY = 1_048_576
PAGES = Path(__file__).parent / "pages"


def create_app(config: Config | None = None) -> Flask:
    """Make the application.

    Args:
        config: the settings; None reads them from the environment.

    Raises:
        ConfigurationError: the environment is not complete.
    """
    config = config or Config.from_environment()
    cookies, *other_cookies = derive_keys(config, "cookies")
    app = Application("cloudeye", template_folder=str(PAGES / "templates"), static_folder=str(PAGES / "static"))
    app.config.update(
        CLOUDEYE=config,
        SECRET_KEY=cookies,
        SECRET_KEY_FALLBACKS=other_cookies,
        WTF_CSRF_SECRET_KEY=[*other_cookies, cookies],  # itsdangerous signs with the last
        JWT_SECRET_KEY=derive_keys(config, "access tokens")[0],
        JWT_ALGORITHM=tokens.ALGORITHM,
        SQLALCHEMY_DATABASE_URI=config.database_url,
        SESSION_COOKIE_NAME=f"{config.name}_session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=config.secure_cookies,
        WTF_CSRF_CHECK_DEFAULT=False,  # the pages ask for it; the API's tokens are not sent by browsers
        MAX_CONTENT_LENGTH=MAXIMUM_BODY,
        PROPAGATE_EXCEPTIONS=False,
        CACHE_TYPE="SimpleCache",
    )
    app.json = JsonProvider(app)
    app.session_interface = SessionInterface()
    app.debug = config.debug
    app.wsgi_app = Forwarded(app.wsgi_app, config.trusted_proxies)  # type: ignore[method-assign]
    for extension in (db, jwt, login, csrf, cache):
        extension.init_app(app)
    # Flask-Login looks into the session after every request, to offer "remember me": that would make every
    # answer of the API one that varies with the cookie, and there is no such offer.
    app.after_request_funcs[None].remove(login._update_remember_cookie)
    # Flask-WTF's hook has nothing to do without WTF_CSRF_CHECK_DEFAULT.
    app.before_request_funcs[None].clear()
    if config.cors_origins:
        CORS(
            app,
            resources="/api/*",
            origins=list(config.cors_origins),
            supports_credentials=True,
            expose_headers=["ETag", "Retry-After", "X-Request-ID", "Idempotency-Replayed"],
            max_age=600,  # seconds
        )
        app.after_request(_depends_on_origin)
    app.wsgi_app = Aliases(app.wsgi_app, config.aliases)  # type: ignore[method-assign]
    tracing.register(app)
    i18n.register(app)
    tokens.register(app, derive_keys(config, "access tokens"))
    attempts.register(app)
    errors.register(app)
    api.register(app)
    pages.register(app)
    cli.register(app)
    return app


def _depends_on_origin(response: Response) -> Response:
    """Caches must know it; flask-cors says so only where several origins are listed."""
    if request.path.startswith("/api/"):
        response.vary.add("Origin")
    return response


def derive_keys(config: Config, purpose: str) -> list[str]:
    """Derive the keys for one purpose, so that what one signs is worth nothing to another; the first one signs."""
    return [hmac.new(key.encode(), purpose.encode(), hashlib.sha256).hexdigest() for key in config.secret_keys]
