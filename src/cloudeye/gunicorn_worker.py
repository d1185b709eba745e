"""The worker that gunicorn.conf.py gives gunicorn: its gevent worker, with a shorter way for what nginx sends.

gunicorn takes a request through several layers of buffers, keeps each header twice, arms a timer, and sends the head
and the body of the answer one after the other. What nginx sends needs none of that: the head comes in one piece, and
the body, if there is one, has a length. Such a request is answered here. Whatever looks otherwise is gunicorn's, which
gets what was read so far: it alone judges what is a bad request, and how.

tests/integration/test_gunicorn_worker.py holds both ways against each other.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import lru_cache
from io import BytesIO
from ipaddress import ip_address
from typing import Any

import gevent
from gunicorn import SERVER, util  # type: ignore[import-untyped]
from gunicorn.http.errors import InvalidHeader  # type: ignore[import-untyped]
from gunicorn.http.wsgi import base_environ  # type: ignore[import-untyped]
from gunicorn.workers.ggevent import GeventWorker  # type: ignore[import-untyped]

from cloudeye.gunicorn_logs import Logger

try:
    from gunicorn_h1c import parse_request  # type: ignore[import-untyped]
except ImportError:  # it needs a compiler, which a checkout can do without
    parse_request = None

PIECE = 65_536  # bytes read at once
LONGEST_BODY = 65_536  # bytes; a longer one is read as the application asks for it
KNOWN_NAMES = 512  # headers whose place in the environment is remembered
NO_BODY = frozenset({"204", "304"})

# Where these stand there is something to decide.
_UNUSUAL = frozenset({"EXPECT", "TRANSFER-ENCODING", "TRAILER", "UPGRADE", "HTTP2-SETTINGS"})


class Worker(GeventWorker):  # type: ignore[misc]
    """gunicorn's gevent worker, faster where a request is as simple as most are."""

    def init_process(self) -> None:
        """Begin; this returns when the worker ends."""
        cfg = self.cfg
        simple = not cfg.is_ssl and cfg.proxy_protocol == "off" and cfg.protocol == "http" and cfg.keepalive
        self._is_simple = bool(simple and parse_request is not None and not os.environ.get("SCRIPT_NAME"))
        self._limits = {
            "limit_request_line": cfg.limit_request_line,
            "limit_request_fields": cfg.limit_request_fields,
            "limit_request_field_size": cfg.limit_request_field_size,
        }
        self._environ = {
            **base_environ(cfg),
            "wsgi.multithread": True,
            "wsgi.url_scheme": "http",
            "SCRIPT_NAME": "",
            "SERVER_PROTOCOL": "HTTP/1.1",
        }
        del self._environ["wsgi.file_wrapper"]  # files are nginx's
        self._silent: dict[Any, float] = {}  # connections that wait for their client, and since when
        super().init_process()

    def run(self) -> None:
        """Serve until this worker is to end."""
        if isinstance(self.log, Logger):
            self.log.gather(gevent.get_hub().loop.run_callback)
        try:
            super().run()
        finally:
            if isinstance(self.log, Logger):
                self.log.flush()

    def notify(self) -> None:
        """Tell the master that this worker lives, and hang up on clients that were silent for too long."""
        super().notify()
        longest = time.monotonic() - self.cfg.keepalive
        for client, since in list(self._silent.items()):
            if since < longest:
                util.close(client)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Answer the requests of one connection."""
        rest: bytes | None = b""
        if self._is_simple and isinstance(addr, tuple):
            connection = Connection(self, client, addr, listener.getsockname())
            try:
                rest = connection.serve()
            except OSError as error:
                self.log.debug("the client left: %s", error)
                rest = None
            except BaseException:
                util.close(client)
                raise
        if rest is None:
            util.close(client)
        else:
            super().handle(listener, Resumed(client, rest) if rest else client, addr)


class Resumed:
    """A connection of which something was read already."""

    def __init__(self, client: Any, read: bytes) -> None:
        self._client, self._read = client, read

    def recv(self, size: int) -> bytes:
        """Return what was read before, then what comes."""
        if not self._read:
            received: bytes = self._client.recv(size)
            return received
        part, self._read = self._read[:size], self._read[size:]
        return part

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


class Request:
    """What loggers ask of a request."""

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._headers = headers

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Its headers, as gunicorn names them."""
        return [(name.decode("latin-1").upper(), value.decode("latin-1")) for name, value in self._headers]


class Connection:
    """One client's connection, and the simple requests that come over it."""

    def __init__(self, worker: Worker, client: Any, address: tuple[Any, ...], server: tuple[Any, ...]) -> None:
        self._worker, self._client = worker, client
        self._environ = {
            **worker._environ,
            "SERVER_NAME": server[0],
            "SERVER_PORT": str(server[1]),
            "REMOTE_ADDR": address[0],
            "REMOTE_PORT": str(address[1]),
            "gunicorn.socket": client,
        }
        # By which headers this client may say that its own client came by https.
        cfg = worker.cfg
        believed = "*" in cfg.forwarded_allow_ips or any(
            ip_address(address[0]) in network for network in cfg.forwarded_allow_networks()
        )
        self._schemes = [
            (_place(name.encode()), value) for name, value in cfg.secure_scheme_headers.items() if believed
        ]

    def serve(self) -> bytes | None:
        """Answer requests until one comes that is not simple, or the connection ends.

        Returns:
            What was read of a request that is not simple; None when the connection is to be closed.

        Raises:
            OSError: the client has gone.
        """
        while read := self._receive():
            environ, request, read = self._understand(read)
            if environ is None:
                return read or None
            if not self._answer(environ, request):
                return None
        return None

    def _receive(self) -> bytes:
        silent, client = self._worker._silent, self._client
        silent[client] = time.monotonic()
        try:
            received: bytes = client.recv(PIECE)
        finally:
            del silent[client]
        return received

    def _understand(self, read: bytes) -> tuple[dict[str, Any] | None, Any, bytes]:
        """Return a request's environment if it is simple, the request, and all that was read of it.

        What was read is empty where the client left in the middle of a body.
        """
        try:
            found = parse_request(read, **self._worker._limits)
        except Exception:  # incomplete, or bad: gunicorn says which
            return None, None, read
        environ = self._environ.copy()
        for name, value in found["headers"]:
            place = _place(name)
            # Said twice, it is for gunicorn to say whether that can be joined.
            if place is None or place in environ:
                return None, None, read
            environ[place] = value.decode("latin-1")
        schemes = [environ[place] == value for place, value in self._schemes if place in environ]
        if schemes:
            environ["wsgi.url_scheme"] = "https" if schemes[0] else "http"
        uri = found["path"].decode("latin-1")
        if len(schemes) > 1 or found["minor_version"] != 1 or uri[:1] != "/" or uri[:2] == "//" or "#" in uri:
            return None, None, read
        path, _, environ["QUERY_STRING"] = uri.partition("?")
        environ["PATH_INFO"] = path if path.isascii() and "%" not in path else util.unquote_to_wsgi_str(path)
        environ["RAW_URI"] = uri
        environ["REQUEST_METHOD"] = found["method"].decode("latin-1")
        begin, length = found["consumed"], environ.get("CONTENT_LENGTH", "0")
        if len(length) > 5 or not (length.isascii() and length.isdigit()):
            return None, None, read
        end = begin + int(length)
        while len(read) < end <= begin + LONGEST_BODY:
            more = self._receive()
            if not more:
                return None, None, b""
            read += more
        if len(read) != end:  # too long, or the next request has come already
            return None, None, read
        environ["wsgi.input"] = BytesIO(read[begin:])
        return environ, Request(found["headers"]), read

    def _answer(self, environ: dict[str, Any], request: Request) -> bool:
        """Answer a request; return whether the connection may be used for the next."""
        worker, begun = self._worker, time.monotonic()
        worker.nr += 1
        if worker.nr >= worker.max_requests and worker.alive:
            worker.log.info("Autorestarting worker after current request.")
            worker.alive = False
        closing = not worker.alive or environ.get("HTTP_CONNECTION", "").strip().lower() == "close"
        answer = Answer(self._client, environ["REQUEST_METHOD"], closing)
        parts: Iterable[bytes] = ()
        try:
            parts = worker.wsgi(environ, answer.start)
            for part in parts:
                answer.write(part)
            answer.end()
        except OSError:
            raise
        except Exception as error:
            worker.log.exception("Error handling request")
            if not answer.begun:
                worker.handle_error(None, self._client, (environ["REMOTE_ADDR"],), error)
            return False
        finally:
            if answer.status:
                spent = timedelta(seconds=time.monotonic() - begun)
                worker.log.access(answer, request, environ, spent)
            close: Callable[[], None] | None = getattr(parts, "close", None)
            if close is not None:
                close()
        return not answer.closing


class Answer:
    """An answer on its way: its head leaves together with the first part of its body."""

    def __init__(self, client: Any, method: str, closing: bool) -> None:
        self._client, self._is_head, self.closing = client, method == "HEAD", closing
        self.status = ""
        self.headers: list[tuple[str, str]] = []
        self.sent = 0
        self.begun = False
        self._lines = ""
        self._length: int | None = None
        self._without_body = self._chunked = False

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        """Take the head of the answer (PEP 3333, "The start_response() Callable")."""
        if exc_info and self.begun:
            raise exc_info[1].with_traceback(exc_info[2])
        if self.status and not exc_info:
            raise AssertionError("the answer has begun already")
        self.status, self.headers, self._length = status, [], None
        for name, value in headers:
            lower = name.lower()
            if lower == "content-length":
                self._length = int(value)
            elif lower in util.hop_headers:
                continue  # what concerns one connection is not the application's (PEP 3333, "Other HTTP Features")
            self.headers.append((name, value))
        self._lines = "".join([f"{name}: {value}\r\n" for name, value in self.headers])
        if not self._lines.count("\n") == self._lines.count("\r") == len(self.headers) or "\0" in self._lines:
            raise InvalidHeader(next(repr(value) for _, value in self.headers if not value.isprintable()))
        code = status[:3]
        self._without_body = self._is_head or code in NO_BODY or code[0] == "1"
        self._chunked = self._length is None and not self._without_body
        return self.write

    def write(self, part: bytes) -> None:
        """Send a part of the body, and the head before the first."""
        if self._without_body or not part:
            return
        if self._length is not None:
            part = part[: self._length - self.sent]
        self.sent += len(part)
        if self._chunked:
            part = b"%x\r\n%b\r\n" % (len(part), part)
        self._send(part if self.begun else self._head() + part)

    def end(self) -> None:
        """Send what is left to say when the body has ended."""
        last = b"0\r\n\r\n" if self._chunked else b""
        if not self.begun:
            last = self._head() + last
        if last:
            self._send(last)
        if self._length not in (None, self.sent) and not self._without_body:
            self.closing = True  # the client waits for more; the next answer must not be taken for it

    def _send(self, data: bytes) -> None:
        # Most answers fit the kernel's buffer. gevent's sendall asks first how large that is.
        sent = self._client.send(data)
        if sent < len(data):
            self._client.sendall(memoryview(data)[sent:])

    def _head(self) -> bytes:
        self.begun = True
        connection = "close" if self.closing else "keep-alive"
        coding = "Transfer-Encoding: chunked\r\n" if self._chunked else ""
        return (
            f"HTTP/1.1 {self.status}\r\nServer: {SERVER}\r\nDate: {_date(int(time.time()))}\r\n"
            f"Connection: {connection}\r\n{coding}{self._lines}\r\n"
        ).encode("latin-1")


@lru_cache(KNOWN_NAMES)
def _place(name: bytes) -> str | None:
    """Return where a header stands in the environment; None where there is something to decide first."""
    upper = name.decode("latin-1").upper()
    if "_" in upper or upper in _UNUSUAL:
        return None
    place = upper.replace("-", "_")
    return place if place in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{place}"


@lru_cache(2)
def _date(second: int) -> str:
    date: str = util.http_date(second)
    return date
