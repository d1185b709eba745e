"""HTTP over a unix socket: how `stack` asks one instance, and supervisord's XML-RPC."""

from __future__ import annotations

import http.client
import json
import socket
import xmlrpc.client
from typing import Any


class UnixConnection(http.client.HTTPConnection):
    """An HTTP connection whose peer is a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket's path."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def get(path: str, url: str, *, timeout: float = 5.0) -> tuple[int, Any]:
    """GET a URL from the instance behind a unix socket.

    Returns:
        The status and the decoded JSON body; the status is 0 and the body says why when nothing answers.
    """
    connection = UnixConnection(path, timeout)
    try:
        connection.request("GET", url, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        body = answer.read()
        try:
            return answer.status, json.loads(body)
        except ValueError:
            return answer.status, body.decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return 0, f"{type(error).__name__}: {error}"
    finally:
        connection.close()


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__()
        self._path = path
        self._timeout = timeout

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return UnixConnection(self._path, self._timeout)


def supervisor_rpc(path: str, *, timeout: float = 120.0) -> xmlrpc.client.ServerProxy:
    """supervisord's XML-RPC behind its unix socket; the timeout must outlast a process's stop."""
    return xmlrpc.client.ServerProxy("http://localhost", transport=_UnixTransport(path, timeout), allow_none=True)
