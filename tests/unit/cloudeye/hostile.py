"""Hostile sites: each a way to behave and what a probe should make of it.

`python -m tests.unit.cloudeye.hostile FOLDER` serves them all, and one ordinary site called good, from a process of
their own, prints their URLs as JSON and ends when its standard input does. The certificates of those that speak TLS
are in the folder, with ca.pem, which vouches for them. `PYTHONPATH=src python -m tests.unit.cloudeye.hostile --table`
probes them all and prints what came of each.
"""

from __future__ import annotations

import gzip
import itertools
import json
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import gevent
from gevent import socket

from tests.unit.cloudeye.playback import DAY, NOW, Certificates, Handler, answer, endless, read_request, tcp_server

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


GOOD = answer(OK + b"Content-Length: 2\r\n\r\nok")


def silent(sock: socket.socket) -> None:
    read_request(sock)
    gevent.sleep(60)


def close_at_once(sock: socket.socket) -> None:
    sock.shutdown(socket.SHUT_WR)


def reset_in_the_body(sock: socket.socket) -> None:
    read_request(sock)
    sock.sendall(OK + b"Content-Length: 99\r\n\r\nhalf")
    gevent.sleep(0.1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def stays(sock: socket.socket) -> None:
    read_request(sock)
    sock.sendall(OK + b"Content-Length: 2\r\n\r\nok")
    gevent.sleep(60)


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


NOTHING = b"\0" * 50_000_000
BOMB = gzip.compress(NOTHING)
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
GZIP = OK + b"Content-Encoding: gzip\r\n\r\n"
DEFLATE = OK + b"Content-Encoding: deflate\r\n\r\n"

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
    (
        "interim answers with large headers",
        endless(b"", itertools.repeat(b"HTTP/1.1 103 X\r\n" + b"X: y\r\n" * 9000 + b"\r\n")),
        "headers_too_large",
    ),
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
    ("reset in its body", reset_in_the_body, "reset"),
    ("keeps the connection open", stays, None),
    ("a second answer nobody asked for", answer(OK + b"Content-Length: 2\r\n\r\nok" + OK + b"\r\n"), None),
    ("length beyond all measure", answer(OK + b"Content-Length: 99999999999999999999\r\n\r\nx"), "incomplete_body"),
    ("length of 400 digits", answer(OK + b"Content-Length: " + b"9" * 400 + b"\r\n\r\nx"), "bad_response"),
    ("chunk beyond all measure", answer(CHUNKED + b"FFFFFFFFFFFFFFFF\r\nx"), "incomplete_body"),
    ("drips the size of a chunk", endless(CHUNKED, itertools.repeat(b"0"), 0.1), "total_timeout"),
    ("trailer flood", endless(CHUNKED + b"0\r\n", itertools.repeat(b"X: y\r\n" * 999)), "headers_too_large"),
    ("drips its trailers", endless(CHUNKED + b"0\r\n", itertools.repeat(b"X: y\r\n"), 0.1), "total_timeout"),
    ("a length and chunks", answer(OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), None),
    ("chunks that are packed", answer(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), "bad_response"),
    ("NUL in a header", answer(OK + b"X: a\0b\r\n\r\n"), "bad_response"),
    ("blank in a header's name", answer(OK + b"Content-Length : 2\r\n\r\nok"), "bad_response"),
    ("header without a name", answer(OK + b": x\r\n\r\n"), "bad_response"),
    ("odd bytes in a header", answer(OK + b"X: \xff\x80\x01\x7f\r\n\r\nok"), None),
    ("folded header", answer(OK + b"X: a\r\n b\r\n\r\nok"), None),
    ("line feeds alone", answer(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"), None),
    ("many cookies", answer(OK + b"Set-Cookie: a=%s\r\n" % (b"c" * 230) * 250 + b"\r\nok"), None),
    ("status below all", answer(b"HTTP/1.1 099 X\r\n\r\n"), "bad_response"),
    ("status of four digits", answer(b"HTTP/1.1 2000 X\r\n\r\n"), "bad_response"),
    ("switches protocols", answer(b"HTTP/1.1 101 X\r\nUpgrade: ws\r\nConnection: upgrade\r\n\r\n"), "bad_response"),
    ("speaks HTTP/2", answer(b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64", b"\0" * 99 + b"\r\n\r\n"), "bad_response"),
    ("answers without a head", answer(b"<html>hello</html>\r\n\r\n"), "bad_response"),
    ("deflate bomb", answer(DEFLATE, zlib.compress(NOTHING)), None),
    ("deflate bomb without a header", answer(DEFLATE, raw_deflate(NOTHING)), None),
    ("bomb in a bomb", answer(OK + b"Content-Encoding: gzip, gzip\r\n\r\n", gzip.compress(BOMB)), None),
    (
        "packed names without end",
        endless(GZIP + b"\x1f\x8b\x08\x08\0\0\0\0\0\x03", itertools.repeat(b"n" * 4096)),
        None,
    ),
    ("thousands of empty packed parts", answer(GZIP, gzip.compress(b"") * 9000), None),
    ("gzip that ends early", answer(GZIP, gzip.compress(b"hello" * 99)[:-9]), None),
    ("brotli nobody asked for", answer(OK + b"Content-Encoding: br\r\n\r\n", b"\x0b\x02\x80hello\x03"), None),
    ("zstd nobody asked for", answer(OK + b"Content-Encoding: zstd\r\n\r\n", b"\x28\xb5\x2f\xfd" * 99), None),
    (
        "an encoding that is none",
        answer(OK + b"Content-Type: text/html; charset=punycode\r\n\r\n", b"-a" * 90_000),
        None,
    ),
    (
        "a page that is dear to decode",
        answer(OK + b"Content-Type: text/html; charset=gb18030\r\n\r\n", b"\x81\x30\x81" * 60_000),
        None,
    ),
    ("redirects beyond all measure", answer(b"HTTP/1.1 302 X\r\nLocation: /" + b"a" * 60_000 + b"\r\n\r\n"), "bad_url"),
    ("redirects in odd bytes", answer(b"HTTP/1.1 302 X\r\nLocation: /\xff\xfe\r\n\r\n"), "too_many_redirects"),
    (
        "redirects with an endless body",
        endless(b"HTTP/1.1 302 X\r\nLocation: /\r\n\r\n", itertools.repeat(b"x" * 4096)),
        "too_many_redirects",
    ),
    ("redirects without saying where", answer(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"), None),
]


# -- over TLS ----------------------------------------------------------------------------------------------------------


def drip_handshake(context: ssl.SSLContext) -> Handler:
    """A handshake that is right in every byte, of which one comes each tenth of a second."""

    def handler(sock: socket.socket) -> None:
        taken, given = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = ssl.SSLContext.wrap_bio(context, taken, given, server_side=True)
        taken.write(sock.recv(65536))
        with suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        while given.pending:
            sock.sendall(given.read(1))
            gevent.sleep(0.1)

    return handler


def ticket_flood(context: ssl.SSLContext) -> ssl.SSLContext:
    """A server that answers each handshake with a million session tickets."""
    context.num_tickets = 1_000_000
    return context


JUNK = b"\x16\x03\x03\x40" + b"\0" * 99  # the start of a long TLS record
Made = tuple[Handler, ssl.SSLContext | None]

# what it is, how it behaves once it has a certificate, the code of its failure (None: up)
HOSTILE_TLS: list[tuple[str, Callable[[Certificates], Made], str | None]] = [
    ("handshake that drips", lambda made: (drip_handshake(made.server("127.0.0.1")), None), "total_timeout"),
    ("handshake of junk that drips", lambda _: (endless_at_once(JUNK, 0.1), None), "total_timeout"),
    ("says nothing", lambda _: (lambda sock: gevent.sleep(60), None), "tls_timeout"),
    ("speaks plainly", lambda _: (lambda sock: sock.sendall(OK + b"\r\n"), None), "tls_failed"),
    ("speaks junk", lambda _: (lambda sock: sock.sendall(b"\x16\x03\x03\x00\x05junk!"), None), "tls_failed"),
    ("closes in the handshake", lambda _: (close_at_once, None), "tls_failed"),
    ("resets in the handshake", lambda _: (reset, None), "tls_failed"),
    ("certificate of 200 KB", lambda made: (GOOD, made.server("127.0.0.1", other_names=9000)), "tls_failed"),
    ("certificate of 60 KB", lambda made: (GOOD, made.server("127.0.0.1", other_names=2500)), None),
    ("expired certificate", lambda made: (GOOD, made.server("127.0.0.1", not_after=NOW - DAY / 2)), "tls_expired"),
    ("certificate for another name", lambda made: (GOOD, made.server("127.0.0.2")), "tls_wrong_name"),
    ("self-signed certificate", lambda made: (GOOD, made.server("127.0.0.1", self_signed=True)), "tls_self_signed"),
    ("flood of tickets", lambda made: (GOOD, ticket_flood(made.server("127.0.0.1"))), "tls_failed"),
    (
        "endless body over TLS",
        lambda made: (endless(OK + b"\r\n", itertools.repeat(b"x" * 4096)), made.server("127.0.0.1")),
        None,
    ),
]


def endless_at_once(parts: bytes, pause: float) -> Handler:
    """A handler that sends one byte after the other without waiting for anything."""

    def handler(sock: socket.socket) -> None:
        for byte in parts:
            sock.sendall(bytes([byte]))
            gevent.sleep(pause)

    return handler


@contextmanager
def hostile_process(folder: Path) -> Iterator[dict[str, str]]:
    """The URLs of all hostile sites, and of the good one, served by another process. `folder` gets ca.pem."""
    command = [sys.executable, "-m", "tests.unit.cloudeye.hostile", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            if process.stdout is None or process.stdin is None:
                raise RuntimeError("no pipes")
            yield json.loads(process.stdout.readline())
            process.stdin.close()
        finally:
            process.kill()


def table() -> None:
    """Probe each kind and print a line of a table on it."""
    from cloudeye.services.probe import Limits, ProbeResult, probe
    from cloudeye.services.probe_wire import make_tls_context
    from cloudeye.services.resolver import Resolver

    limits = Limits(True, 1, 1, 3, max_bytes=200_000, max_redirects=3)
    with tempfile.TemporaryDirectory() as folder, hostile_process(Path(folder)) as urls:
        context, resolver = make_tls_context(f"{folder}/ca.pem"), Resolver()

        def look(name: str) -> tuple[ProbeResult, float]:
            started = time.process_time()
            return probe(urls[name], limits, resolver, context), (time.process_time() - started) * 1000

        print("| kind | state | what is said of it | seconds | ms of the processor | bytes kept |")
        print("|---|---|---|---|---|---|")
        for name, _ in KINDS:
            result, cost = look(name)
            said = (result.error or "").replace("|", "\\|")[:90] or ("cut" if result.truncated else "")
            seconds = result.timings.total_ms / 1000
            print(
                f"| {name} | {result.state} | {said} | {seconds:.2f} | {cost:.0f} | {result.body_bytes} |", flush=True
            )


def main() -> None:
    if sys.argv[1:] == ["--table"]:
        table()
        return
    certificates = Certificates.make(Path(sys.argv[1]))
    with ExitStack() as stack:
        sites = [*((name, handler) for name, handler, _ in HOSTILE), ("good", GOOD)]
        urls = {name: f"http://127.0.0.1:{stack.enter_context(tcp_server(handler))}/" for name, handler in sites}
        for name, make, _ in HOSTILE_TLS:
            urls[name] = f"https://127.0.0.1:{stack.enter_context(tcp_server(*make(certificates)))}/"
        print(json.dumps(urls), flush=True)
        gevent.get_hub().threadpool.apply(sys.stdin.read)


# All of them: what it is, and the code of its failure.
KINDS = [*((name, code) for name, _, code in HOSTILE), *((name, code) for name, _, code in HOSTILE_TLS)]

if __name__ == "__main__":
    main()
