"""The Flask extensions, made once and bound to an application by its factory."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask_caching import Cache
from flask_jwt_extended import JWTManager
from flask_login import LoginManager
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect
from sqlalchemy import Engine

from cloudeye.config import Config
from cloudeye.db import make_engine
from cloudeye.models import Base


class Database(SQLAlchemy):
    """Flask-SQLAlchemy's session per request, on the engine that the sync process has too."""

    def _make_engine(self, bind_key: str | None, options: dict[str, Any], app: Flask) -> Engine:
        config: Config = app.config["CLOUDEYE"]
        return make_engine(config)


db = Database(metadata=Base.metadata, session_options={"expire_on_commit": False})
jwt = JWTManager()
login = LoginManager()
csrf = CSRFProtect()
cache = Cache()  # of this process alone: for what may be a few seconds old
