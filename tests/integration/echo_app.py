"""A WSGI application that answers with what it was asked, or in the odd manner that the path names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Start = Callable[..., Callable[[bytes], None]]


def app(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    """Answer one request."""
    manner = MANNERS.get(environ["PATH_INFO"])
    if manner is not None:
        return manner(environ, start)
    said = {
        name: value
        for name, value in environ.items()
        if isinstance(value, str | bool | int) and name not in ("REMOTE_PORT", "SERVER_PORT", "HTTP_X_SHORT")
    }
    said["body"] = environ["wsgi.input"].read().decode("latin-1")
    text = json.dumps(said, sort_keys=True).encode()
    start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(text)))])
    return [text]


def is_short(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    """Whether the request came the short way, which lets nobody send files."""
    text = b"gunicorn" if "wsgi.file_wrapper" in environ else b"short"
    start("200 OK", [("Content-Length", str(len(text)))])
    return [text]


def streamed(_: dict[str, Any], start: Start) -> Iterator[bytes]:
    """A body whose length nobody knows."""
    start("200 OK", [("Content-Type", "text/plain")])
    yield b"one,"
    yield b""
    yield b"two"


def written(_: dict[str, Any], start: Start) -> Iterable[bytes]:
    """By the function that WSGI keeps for old frameworks."""
    write = start("200 OK", [("Content-Length", "8")])
    write(b"one,")
    return [b"two", b"!", b"more than was promised"]


def empty(_: dict[str, Any], start: Start) -> Iterable[bytes]:
    """No body, and none can be."""
    start("204 No Content", [("X-Is", "empty")])
    return []


def unchanged(_: dict[str, Any], start: Start) -> Iterable[bytes]:
    """What the client has already; its length is that of the answer it has."""
    start("304 Not Modified", [("Content-Length", "17"), ("ETag", '"x"')])
    return []


def nothing(_: dict[str, Any], start: Start) -> Iterable[bytes]:
    """An empty body, of which that is said."""
    start("200 OK", [("Content-Length", "0"), ("Connection", "close"), ("Server", "other"), ("Date", "never")])
    return [b""]


def broken(_: dict[str, Any], start: Start) -> Iterable[bytes]:
    """It fails before it has said anything."""
    raise RuntimeError("broken")


def split(_: dict[str, Any], start: Start) -> Iterable[bytes]:
    """A header with a line end in it."""
    start("200 OK", [("X-Evil", "a\r\nSet-Cookie: b=c"), ("Content-Length", "0")])
    return []


def retold(_: dict[str, Any], start: Start) -> Iterable[bytes]:
    """An answer that failed before it was sent, and another one in its place."""
    start("200 OK", [("Content-Length", "3")])
    try:
        raise ValueError("second thoughts")
    except ValueError as error:
        start("500 Second Thoughts", [("Content-Length", "4")], (type(error), error, error.__traceback__))
    return [b"four"]


MANNERS: dict[str, Callable[[dict[str, Any], Start], Iterable[bytes]]] = {
    "/is-short": is_short,
    "/streamed": streamed,
    "/written": written,
    "/empty": empty,
    "/unchanged": unchanged,
    "/nothing": nothing,
    "/broken": broken,
    "/split": split,
    "/retold": retold,
}
