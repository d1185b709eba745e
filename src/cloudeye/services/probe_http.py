"""One request and its answer over a connected socket: HTTP/1.1, with a bound on all that a site may send."""

from __future__ import annotations

import re
import time

import gevent
import h11
from gevent import socket

from cloudeye.services.answer import Answer
from cloudeye.services.ask import METHODS_WITH_BODY
from cloudeye.services.netguard import Target
from cloudeye.services.probe_body import Body
from cloudeye.services.probe_wire import Failed, TlsStream, receive, send

USER_AGENT = "cloudeye (website monitor)"
MAX_HEADER_BYTES = 65536
MAX_HEADERS = 256
MAX_INTERIM = 16
MAX_READS = 8192  # each costs as much as some kilobytes; a megabyte in the packets of a slow line takes 2,000
# Parts of a body worked through before other greenlets get their turn.
_TURN = 128
_OF_PYTHON = re.compile(r"bytearray\(b(.*)\)", re.DOTALL)  # how h11 writes what it quotes
_DEFAULT_HEADERS = (("User-Agent", USER_AGENT), ("Accept", "*/*"))


class Exchange:
    """A request, sent once, and the answer to it.

    Arguments:
        sock: connected, and past TLS's handshake.
        method, headers, body: of the request; they have passed `ask.check_request`.
        read_timeout: seconds for sending, and between two reads.
        max_bytes: of the answer's body.
    """

    def __init__(
        self,
        sock: socket.socket | TlsStream,
        method: str,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
        read_timeout: float,
        max_bytes: int,
    ) -> None:
        self.first_byte_ms = 0.0  # from sending to the first byte that came back
        self.answer: Answer | None = None  # also of a body that broke off
        self._sock = sock
        self._method, self._headers, self._body = method, headers, body
        self._read_timeout, self._max_bytes = read_timeout, max_bytes
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER_BYTES)
        self._wire_bytes = self._reads = 0

    def ask(self, target: Target) -> h11.Response:
        """Send the request for `target` and wait for the head of its answer. Raises Failed."""
        request = self._request(target)
        started = time.perf_counter()
        unsent: Failed | None = None
        try:
            send(self._sock, request, self._read_timeout)
        except Failed as failed:
            if not self._body:
                raise
            unsent = failed  # a site may refuse a body before it has all of it (RFC 9112, 9.5)
        interim = 0
        while True:
            event = self._next_event("the answer")
            if event is h11.NEED_DATA:
                # h11 bounds one head; here are all of them, interim answers included.
                if self._wire_bytes > 2 * MAX_HEADER_BYTES or self._reads > MAX_READS:
                    raise Failed("headers_too_large", "headers that are too large, or come in too many pieces")
                first = self._wire_bytes == 0
                try:
                    data = self._receive()
                except Failed:
                    if unsent is not None:
                        raise unsent from None
                    raise
                if first:
                    self.first_byte_ms = (time.perf_counter() - started) * 1000
                if not data:
                    raise unsent or Failed("closed", "the site closed the connection before it answered")
                self._connection.receive_data(data)
            elif isinstance(event, h11.InformationalResponse):
                interim += 1
                if interim > MAX_INTERIM:
                    raise Failed("too_many_interim", f"more than {MAX_INTERIM} interim answers")
            elif isinstance(event, h11.Response):
                if len(event.headers) > MAX_HEADERS:
                    raise Failed("headers_too_large", f"more than {MAX_HEADERS} headers")
                return event
            else:
                raise Failed("bad_response", "the site sent no answer")

    def read(self, response: h11.Response, url: str) -> None:
        """Read the body of the answer and set `answer`. Raises Failed when it breaks off or cannot be unpacked."""
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers)
        coding = ",".join(value for name, value in headers if name == "content-encoding")
        body = Body("" if self._method == "HEAD" else coding, self._max_bytes)
        whole = False
        try:
            whole = self._read_body(body)
        finally:
            truncated = body.truncated or not whole
            self.answer = Answer(response.status_code, headers, body.content(), url, truncated, body.packed)

    def _request(self, target: Target) -> bytes:
        chosen = {name.lower() for name, _ in self._headers}
        headers = [("Host", target.authority)]
        headers += [item for item in _DEFAULT_HEADERS if item[0].lower() not in chosen]
        headers += self._headers
        headers += [("Accept-Encoding", "identity"), ("Connection", "close")]
        if self._body or self._method in METHODS_WITH_BODY:
            headers.append(("Content-Length", str(len(self._body))))
        send_event = self._connection.send
        request = send_event(h11.Request(method=self._method, target=target.path, headers=headers)) or b""
        if self._body:
            request += send_event(h11.Data(data=self._body)) or b""
        send_event(h11.EndOfMessage())
        return request

    def _read_body(self, body: Body) -> bool:
        """Whether it was read to its end."""
        parts = 0
        while True:
            event = self._next_event("the body")
            if event is h11.NEED_DATA:
                # More than the body alone, for what chunks add to it.
                if self._wire_bytes > 2 * self._max_bytes + MAX_HEADER_BYTES or self._reads > MAX_READS:
                    return False
                self._connection.receive_data(self._receive())
            elif isinstance(event, h11.Data):
                parts += 1
                if not body.take(event.data):
                    return False
                if parts % _TURN == 0:
                    gevent.sleep(0)
            else:  # the end of the body
                body.end()
                return True

    def _next_event(self, what: str) -> object:
        try:
            return self._connection.next_event()
        except h11.RemoteProtocolError as error:
            if error.error_status_hint == 431:
                raise Failed("headers_too_large", f"headers of more than {MAX_HEADER_BYTES} bytes") from None
            if "peer closed" in str(error) or "without sending" in str(error):
                raise Failed("incomplete_body", "the connection ended before the body did") from None
            said = _OF_PYTHON.sub(r"\1", str(error)).replace("request line", "status line")
            raise Failed("bad_response", f"{what} is not valid HTTP: {said}") from None

    def _receive(self) -> bytes:
        data = receive(self._sock, self._read_timeout)
        self._wire_bytes += len(data)
        self._reads += 1
        return data
