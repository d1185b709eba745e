"""Hostile sites: each a way to behave and what a probe should make of it.

`python -m tests.unit.cloudeye.hostile` serves them all, and one ordinary site called good, from a process of their
own, prints their ports as JSON and ends when its standard input does.
"""

from __future__ import annotations

import gzip
import itertools
import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import gevent
from gevent import socket

from tests.unit.cloudeye.playback import Handler, answer, endless, read_request, tcp_server

OK = b"HTTP/1.1 200 OK\r\n"
ROOT = Path(__file__).parents[3]


def redirect(*locations: str) -> Handler:
    """Answers each connection with the next redirect; the last one for ever."""
    left = list(locations)

    def handler(sock: socket.socket) -> None:
        read_request(sock)
        location = left.pop(0) if len(left) > 1 else left[0]
        sock.sendall(b"HTTP/1.1 302 Found\r\nLocation: " + location.encode() + b"\r\nContent-Length: 0\r\n\r\n")

    return handler


def reset(sock: socket.socket) -> None:
    sock.recv(1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def silent(sock: socket.socket) -> None:
    read_request(sock)
    gevent.sleep(60)


def close_at_once(sock: socket.socket) -> None:
    sock.shutdown(socket.SHUT_WR)


BOMB = gzip.compress(b"\0" * 50_000_000)

# what it is, how it behaves, the code of its failure (None: up)
HOSTILE: list[tuple[str, Handler, str | None]] = [
    ("silent", silent, "read_timeout"),
    ("closes at once", close_at_once, "closed"),
    ("reset", reset, "reset"),
    ("drips its headers", endless(OK, itertools.repeat(b"X: y\r\n"), 0.1), "total_timeout"),
    ("drips one header line", endless(OK + b"X: ", itertools.repeat(b"y"), 0.1), "total_timeout"),
    ("drips its body", endless(OK + b"\r\n", itertools.repeat(b"x"), 0.1), "total_timeout"),
    ("stops in its body", endless(OK + b"Content-Length: 9\r\n\r\nx", [b"", b"y"], 5), "read_timeout"),
    ("endless body", endless(OK + b"\r\n", itertools.repeat(b"x" * 4096)), None),
    (
        "endless chunks",
        endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", itertools.repeat(b"1\r\nx\r\n" * 999)),
        None,
    ),
    (
        "chunks with long extensions",
        endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", itertools.repeat(b"1;" + b"e" * 9000 + b"\r\nx\r\n")),
        None,
    ),
    ("gzip bomb", answer(OK + b"Content-Encoding: gzip\r\n\r\n", BOMB), None),
    ("gzip that is none", answer(OK + b"Content-Encoding: gzip\r\n\r\nplain"), "bad_encoding"),
    ("promises more than it sends", answer(OK + b"Content-Length: 100\r\n\r\nshort"), "incomplete_body"),
    ("sends more than it promises", answer(OK + b"Content-Length: 2\r\n\r\n", b"far too long" * 99), None),
    ("two lengths", answer(OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"), "bad_response"),
    ("negative length", answer(OK + b"Content-Length: -1\r\n\r\n"), "bad_response"),
    ("bad chunk", answer(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n"), "bad_response"),
    ("unfinished chunks", answer(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"), "incomplete_body"),
    ("header flood", endless(OK, itertools.repeat(b"X: y\r\n" * 999)), "headers_too_large"),
    ("many small headers", answer(OK + b"X: y\r\n" * 300 + b"\r\n"), "headers_too_large"),
    ("huge header line", endless(OK + b"X: ", itertools.repeat(b"y" * 4096)), "headers_too_large"),
    ("interim flood", endless(b"", itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 9)), "too_many_interim"),
    ("invalid status line", answer(b"HELLO there\r\n\r\n"), "bad_response"),
    ("speaks another protocol", answer(b"SSH-2.0-OpenSSH_9.6\r\n", b"\0" * 40 + b"\r\n\r\n"), "bad_response"),
    ("binary noise", answer(bytes(range(256)) * 40), "bad_response"),
    ("headers that never end", answer(OK + b"X: y\r\n"), "closed"),
    ("redirects to itself", redirect("/"), "too_many_redirects"),
    ("redirects to a file", redirect("file:///etc/passwd"), "bad_scheme"),
    ("redirects to gopher", redirect("gopher://127.0.0.1:6379/_FLUSHALL"), "bad_scheme"),
    ("redirects to metadata", redirect("http://169.254.169.254/latest/meta-data/"), "refused_address"),
    ("redirects to disguised metadata", redirect("http://[::ffff:a9fe:a9fe]/"), "refused_address"),
    ("redirects with a password", redirect("http://user:secret@127.0.0.1/"), "bad_url"),
    ("redirects to no URL", redirect("http://[::1"), "bad_response"),
    ("redirects without saying where", answer(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"), None),
]


@contextmanager
def hostile_process() -> Iterator[dict[str, int]]:
    """The ports of all hostile sites, and of the good one, served by another process."""
    command = [sys.executable, "-m", "tests.unit.cloudeye.hostile"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            if process.stdout is None or process.stdin is None:
                raise RuntimeError("no pipes")
            yield json.loads(process.stdout.readline())
            process.stdin.close()
        finally:
            process.kill()


def main() -> None:
    with ExitStack() as stack:
        sites = [*((name, handler) for name, handler, _ in HOSTILE), ("good", GOOD)]
        print(json.dumps({name: stack.enter_context(tcp_server(handler)) for name, handler in sites}), flush=True)
        gevent.get_hub().threadpool.apply(sys.stdin.read)


GOOD = answer(OK + b"Content-Length: 2\r\n\r\nok")

if __name__ == "__main__":
    main()
