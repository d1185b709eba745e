"""How often somebody may try: logins, registrations and resets are counted per address and per account.

The decorators go right above the view, below flask-smorest's: a body that does not fit the schema is no attempt.

    @blueprint.route("/login", methods=["POST"])
    @blueprint.arguments(LoginSchema)
    @blueprint.response(200, TokenAnswer)
    @limit_login
    def log_in(given): ...

A login is counted before the password is looked at, and given back when the answer is not 401. Counting afterwards
would let through as many guesses as can be under way at the same time, and that is hundreds. The price: of one account
no more logins than the limit may be under way at once, even right ones.

Keys are hashes under a secret of the application, so neither database nor cache nor log holds an address of a person.
Whether the account exists plays no part. A window begins with the first attempt and is not prolonged by further ones.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import math
import time
from collections.abc import Callable
from copy import deepcopy
from functools import wraps
from typing import Any, TypeVar

from flask import Flask, Response, current_app, g, request
from flask_limiter import Limiter, RequestLimit
from limits import parse_many
from limits.errors import StorageError
from sqlalchemy.exc import SQLAlchemyError

from cloudeye.attempts_storage import (
    EXTENSION,
    Counted,
    Counters,
    Places,
    TableCounters,
    give_back,
    places,
    short,
)
from cloudeye.config import AttemptsConfig, Config, ConfigurationError
from cloudeye.errors import Problem
from cloudeye.extensions import db
from cloudeye.i18n import N_
from cloudeye.models import User, email_key

log = logging.getLogger(__name__)

MESSAGE = N_("Too many attempts. Please try again later.")
WRONG_PASSWORD, WRONG_ENTRY = 401, 400  # the answers that count as failures

_View = TypeVar("_View", bound=Callable[..., Any])


class TooManyAttempts(Problem):
    """The answer to whoever has tried too often (RFC 6585, section 4); ``Retry-After`` says when the window ends."""

    def __init__(self, seconds: int) -> None:
        super().__init__(429, MESSAGE, headers={"Retry-After": str(seconds)})


def address_key() -> str:
    """Return the key of where the request comes from; an IPv6 network of one customer (/64) counts as one address."""
    return _keyed(f"address {_network(request.remote_addr or '')}")


def account_key() -> str:
    """Return the key of the account that the request names, whether or not there is such an account."""
    return _account_key(g.attempts_email)


limiter = Limiter(address_key, storage_uri="attempts://", strategy="fixed-window", swallow_errors=False)


def register(app: Flask) -> None:
    """Let the application count attempts.

    Args:
        app: with its configuration under ``CLOUDEYE``; its database is asked for only when something is counted.

    Raises:
        ConfigurationError: a limit is not in Flask-Limiter's notation. (Flask-Limiter would leave it out.)
    """
    config: Config = app.config["CLOUDEYE"]
    problems = [f"APP_ATTEMPTS_{name.upper()} {text!r}: {why}" for name, text, why in _unreadable(config.attempts)]
    if problems:
        raise ConfigurationError("\n".join(problems))
    cache = _cache(config) if config.cache_url else None
    app.extensions[EXTENSION] = Places(TableCounters(lambda: db.engine), cache)
    hooks: list[list[Any]] = [
        app.before_request_funcs[None],
        app.after_request_funcs[None],
        app.teardown_request_funcs[None],
    ]
    before = [list(functions) for functions in hooks]
    limiter.init_app(app)
    # Limits are on views, and looked at when these are called; there are no headers of the limiter's, either. So its
    # hooks have nothing to do for any request, and take long to find that out.
    for functions, without in zip(hooks, before, strict=True):
        functions[:] = without
    app.after_request(_give_back)


def _cache(config: Config) -> Counters:
    from cloudeye.attempts_cache import CacheCounters

    return CacheCounters(config.cache_url, f"{config.name}:attempts")


def limit_login(view: _View) -> _View:
    """Count failed logins per address and per account; the account is ``email`` in the view's first argument."""
    return _limit(view, "login", "login_address", "login_account", _of_argument, WRONG_PASSWORD)


def limit_login_form(view: _View) -> _View:
    """Count failed logins as ``limit_login`` does; the account is the form's field ``email``."""
    return _limit(view, "login", "login_address", "login_account", _of_form, WRONG_PASSWORD)


def limit_own_password(view: _View) -> _View:
    """Count wrong passwords of whoever is logged in already as failed logins: a stolen token is no way around those.

    For the API's views behind ``account_only``, which answer 400 to a wrong password.
    """
    return _limit(view, "login", "login_address", "login_account", _of_caller, WRONG_ENTRY)


def limit_login_by_token(view: _View) -> _View:
    """Count failed logins per address, where no account is known before the login succeeds."""
    return _limit(view, "login", "login_address", None, None, WRONG_PASSWORD)


def limit_confirmation(view: _View) -> _View:
    """Count wrong tokens of mails per address, as many as failed logins; the view answers 400 to one."""
    return _limit(view, "confirm", "login_address", None, None, WRONG_ENTRY)


def limit_registration(view: _View) -> _View:
    """Count registrations per address, and per account as often as a reset: either sends a mail to somebody."""
    return _limit(view, "register", "register_address", "reset_account", _of_argument, None)


def limit_reset(view: _View) -> _View:
    """Count resets per address and per account; the account is ``email`` in the view's first argument."""
    return _limit(view, "reset", "reset_address", "reset_account", _of_argument, None)


def forgive(email: str) -> None:
    """Forget the failed logins of an account, whose owner has proved to be it by a mail.

    Called after the commit. Counts that cannot be reached stay: the log says so, and the window ends by itself.

    Args:
        email: the account's address.
    """
    for item in parse_many(_settings().login_account):
        try:
            limiter.limiter.clear(item, _account_key(email), "login account")
        except (SQLAlchemyError, StorageError) as error:
            log.warning("failed logins that were to be forgotten stay counted: %s", error)


def _limit(
    view: _View,
    what: str,
    by_address: str,
    by_account: str | None,
    find_account: Callable[..., str] | None,
    failure: int | None,
) -> _View:
    """Wrap a view in Flask-Limiter's decorators.

    Args:
        view: answers the request.
        what: is counted; equal ones share their counts, whichever the view.
        by_address: the setting that limits an address.
        by_account: the setting that limits an account, None where there is none.
        find_account: returns the account's e-mail, given the view's arguments.
        failure: the status of the only answer that counts; None: every attempt does.
    """

    def count(inner: Any, whose: str, setting: str, key: Callable[[], str]) -> Any:
        return limiter.shared_limit(
            lambda: getattr(_settings(), setting), f"{what} {whose}", key_func=key, on_breach=_refuse
        )(inner)

    @wraps(view)
    def attempt(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    # Flask-Limiter knows functions by their names; so one view may have several of our decorators.
    attempt.__qualname__ = f"{view.__qualname__}.{what}"
    limited = count(attempt, "address", by_address, address_key)
    if by_account is not None:
        limited = count(limited, "account", by_account, account_key)

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        g.attempts_email = find_account(*args) if find_account is not None else ""
        g.attempts_failure = failure
        # Counting takes a connection of its own. One that waits for it while it holds the first, or on SQLite the lock,
        # would wait for itself; what came before the view, such as looking up who asks, is over.
        if db.session().in_transaction():
            db.session.commit()
        return limited(*args, **kwargs)

    # flask-smorest keeps a view's description here.
    apidoc = deepcopy(getattr(view, "_apidoc", {}))
    apidoc.setdefault("manual_doc", {}).setdefault("responses", {})["429"] = "TOO_MANY_REQUESTS"
    wrapper._apidoc = apidoc  # type: ignore[attr-defined]
    return wrapper  # type: ignore[return-value]


def _of_argument(given: Any, *_: Any) -> str:
    email: str = given["email"]
    return email


def _of_form(*_: Any) -> str:
    return request.form.get("email", "")


def _of_caller(*_: Any) -> str:
    user = db.session.get(User, g.caller.id)
    return user.email if user is not None else ""


def _refuse(limit: RequestLimit) -> Response | None:
    end = limiter.storage.get_expiry(limit.key)
    places().refuse(short(limit.key), end)
    raise TooManyAttempts(max(1, math.ceil(end - time.time())))


def _give_back(response: Response) -> Response:
    """Undo what counts only with another answer than this."""
    counted: list[Counted] = g.pop("attempts_counted", [])
    undo = [one for one in counted if one.failure is not None and one.failure != response.status_code]
    if undo:
        # The answer stands; a connection that the request still holds is not to wait for a second one.
        db.session.rollback()
        give_back(undo)
    return response


def _settings() -> AttemptsConfig:
    config: Config = current_app.config["CLOUDEYE"]
    return config.attempts


def _unreadable(attempts: AttemptsConfig) -> list[tuple[str, str, str]]:
    found = []
    for name, text in vars(attempts).items():
        try:
            if any(item.amount < 1 for item in parse_many(text)):
                found.append((name, text, "allows no attempt at all"))
        except ValueError as error:
            found.append((name, text, str(error)))
    return found


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


def _account_key(email: str) -> str:
    return _keyed(f"account {email_key(email)}")


def _keyed(text: str) -> str:
    config: Config = current_app.config["CLOUDEYE"]
    key = hmac.new(config.secret_key.encode(), b"attempts", hashlib.sha256).digest()
    return f"{config.name}/{hmac.new(key, text.encode(errors='surrogatepass'), hashlib.sha256).hexdigest()[:32]}"
