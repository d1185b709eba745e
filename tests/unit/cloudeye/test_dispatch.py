"""Flask's shortened way beside Flask's own: whatever is asked, both say the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Blueprint, Flask, after_this_request, g, request, url_for
from flask import Request as FlaskRequest
from flask import Response as FlaskResponse
from flask.signals import appcontext_tearing_down, request_finished, request_started, request_tearing_down
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import EnvironBuilder

from cloudeye.dispatch import Application, Forwarded, Request, Response

HOSTS = ("example.com", "Example.COM:80", "example.com:443", "[::1]:8080", "bücher.example", "a b", "-", "", None)
PATHS = ("/", "", "//double", "/ping", "/caf\u00c3\u00a9", "/bad\u00ff")  # as WSGI has them: bytes as Latin-1

View = Callable[..., Any]


def environ_of(**given: Any) -> dict[str, Any]:
    """The environment of a request; what is None is not there."""
    environ = {**EnvironBuilder().get_environ(), **given}
    return {name: value for name, value in environ.items() if value is not None}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("given", [{}, {"SCRIPT_NAME": "/below"}, {"SERVER_PORT": None}, {"SERVER_PORT": "/s"}])
def test_a_request_says_of_itself_what_flasks_says(path: str, given: dict[str, Any]) -> None:
    environ = environ_of(PATH_INFO=path, QUERY_STRING="a=\u00c3\u00a9", REQUEST_METHOD="get", **given)

    ours, theirs = Request(dict(environ)), FlaskRequest(dict(environ))

    for name in ("method", "scheme", "server", "root_path", "path", "query_string", "remote_addr", "shallow", "url"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert list(ours.headers) == list(theirs.headers)
    assert ours.environ["werkzeug.request"] is ours


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("upgrade", [{}, {"HTTP_UPGRADE": "websocket", "HTTP_CONNECTION": "upgrade"}])
@pytest.mark.parametrize("path", PATHS)
def test_paths_are_matched_for_the_host_that_flask_sees(
    host: str | None, scheme: str, upgrade: dict[str, str], path: str
) -> None:
    environ = environ_of(HTTP_HOST=host, PATH_INFO=path, QUERY_STRING="q=1", **{"wsgi.url_scheme": scheme}, **upgrade)
    app = Application("app")

    def adapter_of(make: View, kind: type[FlaskRequest]) -> Any:
        asked = kind(dict(environ))
        try:
            made = make(asked)
        except Exception as error:
            return type(error)
        return {name: value for name, value in vars(made).items() if name != "map"}, asked.host

    ours = adapter_of(app.create_url_adapter, Request)
    assert ours == adapter_of(lambda asked: Flask.create_url_adapter(app, asked), FlaskRequest)


def test_an_answer_in_json_is_the_one_that_flask_makes() -> None:
    ours, theirs = Response.of_json(b"{}\n"), Response(b"{}\n", mimetype="application/json")

    assert {**vars(ours), "headers": list(ours.headers)} == {**vars(theirs), "headers": list(theirs.headers)}


ANSWERS: dict[str, Callable[[type[FlaskResponse]], FlaskResponse]] = {
    "bytes": lambda kind: kind(b"body", mimetype="application/json"),
    "text": lambda kind: kind("t\u00e9xt"),
    "several parts": lambda kind: kind([b"a", b"b"]),
    "text in a list": lambda kind: kind(["t\u00e9xt"]),
    "nothing": lambda kind: kind(),
    "a stream": lambda kind: kind(iter([b"a", b"b"])),
    "without a length": lambda kind: kind([b"a"]),
    "no content": lambda kind: kind(b"x", 204),
    "not modified": lambda kind: kind(b"x", 304),
    "created": lambda kind: kind(b"x", 201, {"ETag": '"1"', "Vary": "Accept"}),
    "a place": lambda kind: kind(b"x", 302, {"Location": "/caf\u00e9"}),
    "the place of the content": lambda kind: kind(b"x", 200, {"Content-Location": "/caf\u00e9"}),
    "a cookie": lambda kind: kind(b"x", 200, {"Set-Cookie": "a=b"}),
    "a status of its own": lambda kind: kind(b"x", "299 Odd"),
}


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_answer_leaves_as_flasks_does(name: str, method: str) -> None:
    def sent(kind: type[FlaskResponse]) -> Any:
        heads: list[Any] = []
        answer = ANSWERS[name](kind)
        parts = answer(environ_of(REQUEST_METHOD=method), lambda *head: heads.append(head))  # type: ignore[arg-type]
        return b"".join(parts), [(status, list(headers)) for status, headers in heads]

    assert sent(Response) == sent(FlaskResponse)


def test_what_waits_for_the_end_of_an_answer_is_called() -> None:
    answer, ended = Response(b"x"), []
    answer.call_on_close(lambda: ended.append(True))

    parts = answer(environ_of(), lambda *_: None)  # type: ignore[arg-type]
    list(parts)
    parts.close()  # type: ignore[attr-defined]

    assert ended


@pytest.mark.parametrize("hops", [0, 1, 2])
@pytest.mark.parametrize("scheme", [None, "", "https", "http, https", '"https"'])
@pytest.mark.parametrize("address", [None, "", "192.0.2.1", "2001:db8::1", "192.0.2.1, 192.0.2.2", ' "192.0.2.1"', ","])
def test_proxies_are_believed_as_werkzeug_believes_them(hops: int, scheme: str | None, address: str | None) -> None:
    def seen(make: View) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def application(environ: dict[str, Any], _: Any) -> list[bytes]:
            found.update(environ)
            return []

        given = {"HTTP_X_FORWARDED_FOR": address, "HTTP_X_FORWARDED_PROTO": scheme, "REMOTE_ADDR": "127.0.0.1"}
        make(application)(environ_of(**given), None)
        return {name: found.get(name) for name in ("REMOTE_ADDR", "wsgi.url_scheme", "HTTP_HOST", "SERVER_NAME")}

    ours = seen(lambda application: Forwarded(application, hops))
    assert ours == seen(lambda application: ProxyFix(application, x_for=hops, x_proto=hops))


def life_of(kind: type[Flask], path: str, method: str = "GET") -> list[Any]:
    """What happens in an application from a request to its end, in order."""
    app, happened = kind("app"), list[Any]()
    app.config["PROPAGATE_EXCEPTIONS"] = False
    below = Blueprint("below", "below", url_prefix="/below")
    note = happened.append

    def after(name: str) -> View:
        def hook(response: Any) -> Any:
            note((name, response.status_code))
            return response

        return hook

    for place, name in ((app, "app"), (below, "below")):
        place.before_request(lambda name=name: note(f"before {name}"))
        place.before_request(lambda name=name: "stopped" if request.args.get("stop") == name else None)
        place.after_request(after(f"after {name} 1"))
        place.after_request(after(f"after {name} 2"))
        place.teardown_request(lambda error, name=name: note((f"end of {name}", type(error))))
    app.teardown_appcontext(lambda error: note(("end", type(error))))

    @app.route("/here")
    @below.route("/there/<int:number>")
    def view(number: int = 0) -> Any:
        after_this_request(after("once"))
        g.number = number
        if number == 500:
            raise ValueError("bug")
        return {1: "text", 2: ("text", 201), 3: {"a": 1}, 4: FlaskResponse("plain")}.get(number, url_for("view"))

    app.register_blueprint(below)
    answer = app.test_client().open(path, method=method)
    return [*happened, answer.status, sorted(answer.headers), answer.get_data()]


@pytest.mark.parametrize(
    "path",
    ["/here", "/nowhere", "/here?stop=app", "/below/there/x", "/below/there/1?stop=below"]
    + [f"/below/there/{number}" for number in (1, 2, 3, 4, 500)],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
def test_a_request_lives_as_it_does_in_flask(path: str, method: str) -> None:
    assert life_of(Application, path, method) == life_of(Flask, path, method)


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """The signals that were sent, by name."""
    names: list[str] = []
    signals = request_started, request_finished, request_tearing_down, appcontext_tearing_down
    receivers = [(signal, lambda _, name=signal.name, **__: names.append(name)) for signal in signals]
    for signal, receiver in receivers:
        signal.connect(receiver)
    yield names
    for signal, receiver in receivers:
        signal.disconnect(receiver)


def test_whoever_listens_to_a_signal_hears_it(heard: list[str]) -> None:
    app = Application("app")
    app.route("/")(lambda: "text")

    app.test_client().get("/")

    assert heard == ["request-started", "request-finished", "request-tearing-down", "appcontext-tearing-down"]
