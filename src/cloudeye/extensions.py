"""The Flask extensions, made once and bound to an application by its factory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask
from flask_caching import Cache
from flask_jwt_extended import JWTManager
from flask_login import LoginManager
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect
from sqlalchemy import Connection, Engine

from cloudeye.config import Config
from cloudeye.db import make_engine
from cloudeye.models import Base


class Database(SQLAlchemy):
    """Flask-SQLAlchemy's session per request, on the engine that the sync process has too."""

    def _make_engine(self, bind_key: str | None, options: dict[str, Any], app: Flask) -> Engine:
        config: Config = app.config["CLOUDEYE"]
        return make_engine(config)


@contextmanager
def reading() -> Iterator[Connection]:
    """Give a connection to read columns by: the session's where it has one, else one that goes back at once.

    Rows come as they are, past the session and what it keeps account of.
    """
    if db.session.registry.has() and db.session().in_transaction():
        yield db.session.connection()
        return
    with db.engine.connect() as connection:
        yield connection


db = Database(metadata=Base.metadata, session_options={"expire_on_commit": False})
jwt = JWTManager()
login = LoginManager()
csrf = CSRFProtect()
cache = Cache()  # of this process alone: for what may be a few seconds old
