"""What the pages share: their blueprint, what browsers may do with them, and forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar
from urllib.parse import urlsplit

import marshmallow as ma
from flask import Blueprint, Response, current_app, request
from flask_login import current_user, login_required

from cloudeye.access import SAFE_METHODS
from cloudeye.config import Config
from cloudeye.errors import INVALID, Problem
from cloudeye.extensions import csrf, db, login
from cloudeye.i18n import gettext, language, translated
from cloudeye.services import accounts
from cloudeye.tokens import revocation_lifetime
from cloudeye.turns import Turns, begin_page, end_page

blueprint = Blueprint("pages", __name__)

POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
UNGUARDED: set[str] = set()  # views that need nothing but the token of a mail, from wherever it is sent
OWN_SITES = frozenset({"same-origin", "none"})  # of Sec-Fetch-Site

_View = TypeVar("_View", bound=Callable[..., Any])


blueprint.before_request(begin_page)
blueprint.teardown_request(end_page)


@blueprint.before_request
def refuse_forged_forms() -> None:
    """Every form carries a token that only our own pages hold, and comes from one of them.

    Browsers say the latter themselves (https://www.w3.org/TR/fetch-metadata/), also for a page whose address is
    kept from everybody, so that there is no Referer. One that says nothing is believed for the token alone.
    """
    if request.endpoint in UNGUARDED:
        return
    csrf.protect()
    if request.method not in SAFE_METHODS and request.headers.get("Sec-Fetch-Site", "none") not in OWN_SITES:
        raise Problem(400, gettext("This form was sent by another site."))


@blueprint.before_request
def find_visitor() -> None:
    """Look who is there before anything is changed: a session's use is written down in a transaction of its own."""
    bool(current_user.is_authenticated)
    Turns.of_page().rest()


@blueprint.after_request
def say_what_browsers_may_do(response: Response) -> Response:
    """Pages use nothing but our own files, and are not kept by caches; an address with a token goes nowhere."""
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer" if "token" in request.args else "same-origin"
    response.headers["Cache-Control"] = "no-store"
    return response


def members_only(view: _View) -> _View:
    """Send strangers to the login."""
    guarded: _View = login_required(view)
    return guarded


def admins_only(view: _View) -> _View:
    """Send strangers to the login, and everybody away but admins."""

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if not current_user.is_authenticated:
            return login.unauthorized()
        if not current_user.is_admin:
            raise Problem(403, gettext("Only admins may do this."))
        return view(*args, **kwargs)

    return wrapper  # type: ignore[return-value]


def desk() -> accounts.Desk:
    """Return what writing to people takes, for the visitor at hand."""
    config: Config = current_app.config["CLOUDEYE"]
    time_zone = current_user.time_zone if current_user.is_authenticated else None
    return accounts.Desk(url=config.public_url, language=language(), time_zone=time_zone, access=revocation_lifetime())


def is_ours(url: str) -> bool:
    """Is this a path on this host: browsers read a backslash as a slash, and // as another host."""
    parts = urlsplit(url)
    return url.startswith("/") and not url.startswith(("//", "/\\")) and not parts.netloc and url.isprintable()


def render(template: str, **values: Any) -> str:
    """Render a long page, letting others go on in between: a row of a table takes a good part of a millisecond."""
    Turns.of_page().rest()
    current_app.update_template_context(values)
    return write(template, **values)


def write(template: str, **values: Any) -> str:
    """The same without asking who is there."""
    rest, pieces = Turns.of_page().rest, []
    rest()
    for piece in current_app.jinja_env.get_template(template).generate(values):
        pieces.append(piece)
        rest()
    return "".join(pieces)


class Form:
    """What was typed into a form, and what was wrong with it.

    Args:
        name: makes the ids of the fields unique on a page.
        values: what is in the fields before anybody types.
    """

    def __init__(self, name: str, /, **values: Any) -> None:
        self.name, self.values = name, values
        self.problem: str | None = None
        self.errors: dict[str, list[str]] = {}
        self.status = 200
        self.headers: Mapping[str, str] = {}

    def read(self, *names: str) -> None:
        """Take what was typed into fields of one line."""
        self.values.update((name, request.form.get(name, "")) for name in names)

    def check(self, schema: ma.Schema, **instead: Any) -> dict[str, Any]:
        """Return the fields as the API would take them.

        Args:
            schema: of the API.
            instead: values of fields that a browser sends otherwise than the API wants them.

        Raises:
            marshmallow.ValidationError: explained by ``explaining``.
        """
        given: dict[str, Any] = schema.load({**self.values, **instead})
        return given

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Turn what a schema or a service refuses into what the form says; nothing of it is kept."""
        try:
            yield
        except ma.ValidationError as error:
            db.session.rollback()
            self.refuse(400, INVALID, error.messages_dict)
        except Problem as problem:
            db.session.rollback()
            self.refuse(problem.status, problem.message, problem.data, problem.headers)

    def refuse(self, status: int, message: str, data: Any = None, headers: Mapping[str, str] | None = None) -> None:
        """Say why a form is not accepted: at its fields, or above them."""
        texts = {str(name): list(dict.fromkeys(_texts(messages))) for name, messages in (data or {}).items()}
        self.status, self.headers = status, headers or {}
        self.errors = {name: said for name, said in texts.items() if name in self.values}
        general = [text for name, said in texts.items() if name not in self.values for text in said]
        self.problem = " ".join(general) if general else None if self.errors else translated(message)

    def answer(self, page: str) -> Any:
        """Return a page that shows the form, with the status that goes with it."""
        return page, self.status, self.headers


def _texts(messages: Any) -> Iterator[str]:
    """Yield the texts of a schema's messages, which lie deeper for a field of several values."""
    if isinstance(messages, dict):
        for inner in messages.values():
            yield from _texts(inner)
    elif isinstance(messages, list | tuple):
        for inner in messages:
            yield from _texts(inner)
    else:
        yield translated(str(messages))
