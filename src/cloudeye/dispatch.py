"""Flask's way from a request to its answer, shorter where nothing is to be done.

Every request goes Flask's way: contexts, routing, hooks, view, hooks, teardown. What is left out is finding out anew
for each of them what is the same for all: how a host is written, that nobody listens to a signal, that a response has
no headers to be put right. Wherever something is to be done, Flask's own method does it.

tests/unit/cloudeye/test_dispatch.py holds both ways against each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from flask import Flask
from flask import Request as FlaskRequest
from flask import Response as FlaskResponse
from flask.globals import request_ctx
from flask.signals import (
    appcontext_tearing_down,
    request_finished,
    request_started,
    request_tearing_down,
)
from werkzeug.datastructures import EnvironHeaders, Headers
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import Map, MapAdapter
from werkzeug.sansio.utils import get_host

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

HOSTS = 256  # names of this host whose form is remembered
JSON = "application/json"
WORD = re.compile(r"[0-9A-Za-z.:]+").fullmatch

# Headers that need no look before an answer leaves (``get_wsgi_headers``: Location, Content-Location).
_AS_THEY_ARE = frozenset(
    {"Content-Type", "Content-Length", "X-Request-ID", "ETag", "Cache-Control", "Content-Language", "Vary"}
)
_BODILESS = frozenset({204, 304})

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Request(FlaskRequest):
    """Flask's request, made without asking the environment what a server always says."""

    def __init__(self, environ: WSGIEnvironment, populate_request: bool = True, shallow: bool = False) -> None:
        if shallow or environ.get("SCRIPT_NAME") or "SERVER_PORT" not in environ:
            super().__init__(environ, populate_request, shallow)
            return
        port = environ["SERVER_PORT"]
        self.method = environ["REQUEST_METHOD"].upper()
        self.scheme = environ["wsgi.url_scheme"]
        self.server = environ["SERVER_NAME"], int(port) if port.isdigit() else None
        self.root_path = ""
        self.path = "/" + _text(environ.get("PATH_INFO") or "").lstrip("/")
        self.query_string = environ.get("QUERY_STRING", "").encode("latin-1")
        self.headers = EnvironHeaders(environ)
        self.remote_addr = environ.get("REMOTE_ADDR")
        self.environ = environ
        self.shallow = False
        if populate_request:
            environ["werkzeug.request"] = self


class Response(FlaskResponse):
    """Flask's response, which leaves as it is where it is whole."""

    @classmethod
    def of_json(cls, body: bytes) -> Response:
        """Return what ``Response(body, mimetype="application/json")`` is."""
        response = cls.__new__(cls)
        response.headers = Headers()
        response.headers._list = [("Content-Type", JSON), ("Content-Length", str(len(body)))]
        response._status, response._status_code = "200 OK", 200
        response.direct_passthrough = False
        response._on_close = []
        response.response = [body]
        return response

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer as a WSGI application."""
        body, headers = self.response, self.headers._list
        if (
            type(body) is list
            and len(body) == 1
            and type(body[0]) is bytes
            and not (self._on_close or self.direct_passthrough)
            and self._status_code >= 200
            and self._status_code not in _BODILESS
            and environ["REQUEST_METHOD"] != "HEAD"
            and _AS_THEY_ARE.issuperset(names := [name for name, _ in headers])
            and "Content-Length" in names
        ):
            start_response(self._status, headers.copy())
            return body
        return super().__call__(environ, start_response)


class Application(Flask):
    """Flask, without its questions to which there is but one answer here."""

    request_class = Request
    response_class = Response

    def ensure_sync(self, func: _Function) -> _Function:
        """Return the function as it is: none of them is a coroutine."""
        return func

    def create_url_adapter(self, request: FlaskRequest | None) -> MapAdapter | None:
        """Return what matches a request's path, and makes paths."""
        config = self.config
        if request is None or config["SERVER_NAME"] is not None or config["TRUSTED_HOSTS"] is not None:
            return super().create_url_adapter(request)
        environ = request.environ
        host = environ.get("HTTP_HOST")
        if not host or "HTTP_UPGRADE" in environ or self.url_map.host_matching or self.subdomain_matching:
            return super().create_url_adapter(request)
        request.host, name = _names(environ["wsgi.url_scheme"], host)
        return MapAdapter(
            self.url_map,
            name,
            _text(environ.get("SCRIPT_NAME") or ""),
            self.url_map.default_subdomain or "",
            request.scheme,
            _text(environ.get("PATH_INFO", "/")),
            environ["REQUEST_METHOD"],
            _text(environ.get("QUERY_STRING", "")),
        )

    def full_dispatch_request(self) -> FlaskResponse:
        """Answer the request at hand."""
        if request_started.receivers or request_finished.receivers:
            return super().full_dispatch_request()
        self._got_first_request = True
        try:
            value = self.preprocess_request()
            if value is None:
                value = self.dispatch_request()
        except Exception as error:
            value = self.handle_user_exception(error)
        return self.process_response(self.make_response(value))

    def preprocess_request(self) -> Any:
        """Call the hooks before the view."""
        if self.url_value_preprocessors:
            return super().preprocess_request()
        for name in (None, *reversed(request_ctx.request.blueprints)):
            for hook in self.before_request_funcs.get(name, ()):
                value = hook()
                if value is not None:
                    return value
        return None

    def dispatch_request(self) -> Any:
        """Call the view."""
        request = request_ctx.request
        rule = request.url_rule
        if request.routing_exception is not None or rule is None or request.method == "OPTIONS":
            return super().dispatch_request()
        return self.view_functions[rule.endpoint](**request.view_args or {})

    def make_response(self, rv: Any) -> FlaskResponse:
        """Make a response of what a view returned."""
        return rv if type(rv) is Response else super().make_response(rv)

    def process_response(self, response: FlaskResponse) -> FlaskResponse:
        """Call the hooks after the view."""
        context = request_ctx._get_current_object()  # type: ignore[attr-defined]
        for hook in context._after_request_functions:
            response = hook(response)
        for name in (*context.request.blueprints, None):
            for hook in reversed(self.after_request_funcs.get(name, ())):
                response = hook(response)
        if not self.session_interface.is_null_session(context._session):
            self.session_interface.save_session(self, context._session, response)
        return response

    def do_teardown_request(self, *exc: Any) -> None:
        """Call the hooks at the end of a request, where there are any."""
        if any(self.teardown_request_funcs.values()) or request_tearing_down.receivers:
            super().do_teardown_request(*exc)

    def do_teardown_appcontext(self, *exc: Any) -> None:
        """Call the hooks at the end of an application context."""
        if appcontext_tearing_down.receivers or not exc:
            super().do_teardown_appcontext(*exc)
            return
        for hook in reversed(self.teardown_appcontext_funcs):
            hook(exc[0])


class Forwarded:
    """WSGI middleware that believes what the proxies before this host say of the client.

    Args:
        application: what is asked then.
        hops: how many proxies there are; each adds to X-Forwarded-For, and writes X-Forwarded-Proto.
    """

    def __init__(self, application: WSGIApplication, hops: int) -> None:
        self.application, self.hops = application, hops
        self._any = ProxyFix(application, x_for=hops, x_proto=hops)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request."""
        address, scheme = environ.get("HTTP_X_FORWARDED_FOR", ""), environ.get("HTTP_X_FORWARDED_PROTO", "")
        # One word in each: no list that has to be taken apart.
        if self.hops != 1 or not (WORD(address) and WORD(scheme)):
            return self._any(environ, start_response)
        environ["REMOTE_ADDR"], environ["wsgi.url_scheme"] = address, scheme
        return self.application(environ, start_response)


@lru_cache(HOSTS)
def _names(scheme: str, host: str) -> tuple[str, str]:
    """Return a request's host as it is shown, and as paths are matched for it.

    Raises:
        BadRequest: it is no host.
    """
    shown = get_host(scheme, host)
    return shown, Map().bind(shown).server_name


def _text(text: str) -> str:
    """Return what WSGI hands over as Latin-1 (PEP 3333) and is UTF-8."""
    return text if text.isascii() else text.encode("latin-1").decode(errors="replace")
