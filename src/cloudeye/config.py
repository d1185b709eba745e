"""The settings of a process: one frozen object, built once from the environment.

The environment is rendered from ``deploy/stack.yml``; there are no defaults here, so a value lives in one
place. Secrets are never in the environment, only the paths of the files that hold them.
"""

# ruff: noqa: RUF009 - _variable() returns a dataclass field
from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

ENVIRONMENTS = ("production", "staging", "local", "test")
LOG_LEVELS = ("debug", "info", "warning", "error")
LONGEST_TOKEN = 16_384  # characters of an issuer's token


class ConfigurationError(Exception):
    """The environment lacks a variable or holds one that cannot be read; the text names each of them."""


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("is neither 0 nor 1")
    return text == "1"


def _whole(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError("is negative")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError("is no number of seconds")
    return value


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"is none of {', '.join(choices)}")
        return text

    return parse


def _absolute(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute():
        raise ValueError("is no absolute path")
    return path


def _list(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part)


def _pairs(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in _list(text)]
    if not all(left and right for left, _, right in pairs):
        raise ValueError("holds an entry that is not of the form left=right")
    return {left: right for left, _, right in pairs}


def _absolute_or_none(text: str) -> Path | None:
    return _absolute(text) if text else None


def _secret(text: str) -> str:
    secret = _absolute(text).read_text(encoding="utf-8").strip()
    if len(secret) < 32:
        raise ValueError("names a file with fewer than 32 characters")
    return secret


def _secret_if_there(text: str) -> str | None:
    try:
        return _secret(text) if text else None
    except FileNotFoundError:
        return None  # it is there during a rotation and for a while after it


def _database_url(text: str) -> str:
    if text.startswith("sqlite:////"):
        return text
    if text.startswith("mysql+mysqldb://"):
        if ":" in text.removeprefix("mysql+mysqldb://").partition("@")[0]:
            raise ValueError("holds a password: it belongs into the password file")
        return text
    raise ValueError("starts with neither sqlite://// nor mysql+mysqldb://")


def _variable(name: str, parse: Callable[[str], Any] = str, *, may_be_empty: bool = False, secret: bool = False) -> Any:
    return field(repr=not secret, metadata={"variable": name, "parse": parse, "may_be_empty": may_be_empty})


@dataclass(frozen=True, kw_only=True)
class SyncConfig:
    """What the background process is allowed to do, and how fast. Times are seconds."""

    allow_private: bool = _variable("APP_SYNC_ALLOW_PRIVATE", _flag)
    concurrency: int = _variable("APP_SYNC_CONCURRENCY", _whole)
    connections: int = _variable("APP_SYNC_CONNECTIONS", _whole)
    batch: int = _variable("APP_SYNC_BATCH", _whole)
    poll_seconds: float = _variable("APP_SYNC_POLL_SECONDS", _seconds)
    connect_timeout: float = _variable("APP_SYNC_CONNECT_TIMEOUT", _seconds)
    read_timeout: float = _variable("APP_SYNC_READ_TIMEOUT", _seconds)
    total_timeout: float = _variable("APP_SYNC_TOTAL_TIMEOUT", _seconds)
    max_bytes: int = _variable("APP_SYNC_MAX_BYTES", _whole)
    max_redirects: int = _variable("APP_SYNC_MAX_REDIRECTS", _whole)
    minimum_interval: int = _variable("APP_SYNC_MINIMUM_INTERVAL", _whole)
    default_interval: int = _variable("APP_SYNC_DEFAULT_INTERVAL", _whole)
    heartbeat_seconds: float = _variable("APP_SYNC_HEARTBEAT_SECONDS", _seconds)


@dataclass(frozen=True, kw_only=True)
class AttemptsConfig:
    """How often somebody may try, each in the notation of Flask-Limiter."""

    login_address: str = _variable("APP_ATTEMPTS_LOGIN_ADDRESS")
    login_account: str = _variable("APP_ATTEMPTS_LOGIN_ACCOUNT")
    register_address: str = _variable("APP_ATTEMPTS_REGISTER_ADDRESS")
    reset_address: str = _variable("APP_ATTEMPTS_RESET_ADDRESS")
    reset_account: str = _variable("APP_ATTEMPTS_RESET_ACCOUNT")


@dataclass(frozen=True, kw_only=True)
class MailConfig:
    """The SMTP server; without a host, mail is written to files."""

    host: str = _variable("APP_MAIL_HOST", may_be_empty=True)
    port: int = _variable("APP_MAIL_PORT", _whole)
    security: str = _variable("APP_MAIL_SECURITY", _one_of("none", "starttls", "tls"))
    user: str = _variable("APP_MAIL_USER", may_be_empty=True)
    password_file: Path | None = _variable("APP_MAIL_PASSWORD_FILE", _absolute_or_none, may_be_empty=True)
    sender: str = _variable("APP_MAIL_SENDER")


@dataclass(frozen=True, kw_only=True)
class OidcConfig:
    """Who may vouch for people by OpenID Connect; nobody where the issuer is empty."""

    issuer: str = _variable("APP_OIDC_ISSUER", may_be_empty=True)
    client_id: str = _variable("APP_OIDC_CLIENT_ID", may_be_empty=True)
    client_secret_file: Path | None = _variable("APP_OIDC_CLIENT_SECRET_FILE", _absolute_or_none, may_be_empty=True)
    create_accounts: bool = _variable("APP_OIDC_CREATE_ACCOUNTS", _flag)
    domains: tuple[str, ...] = _variable("APP_OIDC_DOMAINS", _list, may_be_empty=True)
    introspect: bool = _variable("APP_OIDC_INTROSPECT", _flag)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything the application reads from outside, checked."""

    name: str = _variable("APP_NAME")
    environment: str = _variable("APP_ENVIRONMENT", _one_of(*ENVIRONMENTS))
    release: str = _variable("APP_RELEASE")
    database_url: str = _variable("APP_DATABASE_URL", _database_url)
    database_password_file: Path | None = _variable("APP_DATABASE_PASSWORD_FILE", _absolute_or_none, may_be_empty=True)
    pool_size: int = _variable("APP_DATABASE_POOL_SIZE", _whole)
    pool_overflow: int = _variable("APP_DATABASE_POOL_OVERFLOW", _whole)
    pool_wait: float = _variable("APP_DATABASE_POOL_WAIT", _seconds)
    connections: int = _variable("APP_DATABASE_CONNECTIONS", _whole)
    lock_wait: int = _variable("APP_DATABASE_LOCK_WAIT", _whole)
    # The order matters: a rotation writes previous and proof first, then the key, and takes next away last. A process
    # that starts meanwhile and reads in this order has both keys in any case.
    secret_key_next: str | None = _variable(
        "APP_SECRET_KEY_NEXT_FILE", _secret_if_there, may_be_empty=True, secret=True
    )
    secret_key: str = _variable("APP_SECRET_KEY_FILE", _secret, secret=True)
    secret_key_previous: str | None = _variable(
        "APP_SECRET_KEY_PREVIOUS_FILE", _secret_if_there, may_be_empty=True, secret=True
    )
    proof_key_kept: str | None = _variable("APP_PROOF_KEY_FILE", _secret_if_there, may_be_empty=True, secret=True)
    data_dir: Path = _variable("APP_DATA_DIR", _absolute)
    run_dir: Path = _variable("APP_RUN_DIR", _absolute)
    log_level: str = _variable("APP_LOG_LEVEL", _one_of(*LOG_LEVELS))
    debug: bool = _variable("APP_DEBUG", _flag)
    secure_cookies: bool = _variable("APP_SECURE_COOKIES", _flag)
    trusted_proxies: int = _variable("APP_TRUSTED_PROXIES", _whole)
    cache_url: str = _variable("APP_CACHE_URL", may_be_empty=True)
    public_url: str = _variable("APP_PUBLIC_URL")
    aliases: dict[str, str] = _variable("APP_ALIASES", _pairs, may_be_empty=True)
    cors_origins: tuple[str, ...] = _variable("APP_CORS_ORIGINS", _list, may_be_empty=True)
    open_registration: bool = _variable("APP_OPEN_REGISTRATION", _flag)
    access_token_minutes: int = _variable("APP_ACCESS_TOKEN_MINUTES", _whole)
    refresh_token_days: int = _variable("APP_REFRESH_TOKEN_DAYS", _whole)
    admin_email: str = _variable("APP_ADMIN_EMAIL")
    heartbeat_file: Path = _variable("APP_HEARTBEAT_FILE", _absolute)
    attempts: AttemptsConfig
    mail: MailConfig
    oidc: OidcConfig
    sync: SyncConfig

    @property
    def on_sqlite(self) -> bool:
        """Is the database a SQLite file."""
        return self.database_url.startswith("sqlite:")

    @property
    def secret_keys(self) -> tuple[str, ...]:
        """The keys whose signatures are good, the one that signs first; more than one while keys are rotated."""
        keys = (self.secret_key, self.secret_key_next, self.secret_key_previous)
        return tuple(dict.fromkeys(key for key in keys if key))

    @property
    def proof_key(self) -> str:
        """What the tokens are made with that people put on their sites: it outlives each rotation."""
        return self.proof_key_kept or self.secret_key

    def database_login(self) -> tuple[str, str]:
        """Read the password file anew, so that the next connection uses what a rotation has put there.

        Its first line is the password. There is a second one when the account is another than that of the URL: both
        lie in one file, so no connection is ever made with the one's name and the other's password.

        Returns:
            The account, empty for that of the URL, and the password, empty where no file is configured.

        Raises:
            ConfigurationError: the file holds something else.
        """
        if self.database_password_file is None:
            return "", ""
        password, *account = self.database_password_file.read_text(encoding="utf-8").strip().split("\n")
        if len(account) > 1 or any(not name or name.split() != [name] for name in account):
            raise ConfigurationError(
                "APP_DATABASE_PASSWORD_FILE names a file with more in it than a password, and an account below it"
            )
        return (account[0] if account else ""), password

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Config:
        """Build the configuration.

        Args:
            environ: the variables by name.

        Raises:
            ConfigurationError: with one line for each variable that is missing or cannot be read.
        """
        problems: list[str] = []
        parts = {name: (kind, _read(kind, environ, problems)) for name, kind in PARTS.items()}
        values = _read(cls, environ, problems)
        if problems:
            raise ConfigurationError("\n".join(sorted(problems)))
        return cls(**values, **{name: kind(**inner) for name, (kind, inner) in parts.items()})


PARTS: dict[str, type[Any]] = {
    "attempts": AttemptsConfig,
    "mail": MailConfig,
    "oidc": OidcConfig,
    "sync": SyncConfig,
}


def _read(kind: type[Any], environ: Mapping[str, str], problems: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for item in fields(kind):
        if "variable" not in item.metadata:
            continue  # one of PARTS, which are read by themselves
        variable = item.metadata["variable"]
        text = environ.get(variable)
        if text is None:
            problems.append(f"{variable} is not set")
        elif not text and not item.metadata["may_be_empty"]:
            problems.append(f"{variable} is empty")
        else:
            try:
                values[item.name] = item.metadata["parse"](text)
            except OSError as error:
                problems.append(f"{variable} names a file that cannot be read: {error}")
            except ValueError as error:
                problems.append(f"{variable} {error}")
    return values
