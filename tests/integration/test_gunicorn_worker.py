"""Our worker answers everything as gunicorn's own does, byte by byte, and the simple requests by its short way."""

from __future__ import annotations

import os
import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
OURS, GUNICORNS = "cloudeye.gunicorn_worker.Worker", "gevent"
HEAD = b"Host: example.com\r\n"
NGINX = (
    HEAD + b"X-Real-IP: 192.0.2.7\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n"
    b"X-Forwarded-Host: example.com\r\nX-Request-ID: 0123456789abcdef\r\nAccept: */*\r\nUser-Agent: t\xe9st\r\n"
)


def get(target: bytes, headers: bytes = HEAD) -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\n" + headers + b"\r\n"


def post(body: bytes, headers: bytes = HEAD) -> bytes:
    length = b"Content-Length: %d\r\n" % len(body)
    return b"POST /x HTTP/1.1\r\n" + headers + length + b"Content-Type: text/plain\r\n\r\n" + body


SIMPLE = {
    "as nginx sends it": get(b"/a?b=c", NGINX),
    "a query that looks odd": get(b"/a?b=c?d&%20=/"),
    "an escaped path": get(b"/%E4%BD%A0/%2F%00x"),
    "latin letters in the path": get(b"/\xe9"),
    "a semicolon": get(b"/a;b=c/d?e"),
    "HEAD": b"HEAD /x HTTP/1.1\r\n" + HEAD + b"\r\n",
    "OPTIONS": b"OPTIONS /x HTTP/1.1\r\n" + HEAD + b"\r\n",
    "another method": b"M-SEARCH /x HTTP/1.1\r\n" + HEAD + b"\r\n",
    "a short body": post(b"abc", NGINX),
    "a body of many bytes": post(random.Random(1).randbytes(40_000)),
    "an empty body": post(b""),
    "the end is asked for": get(b"/x", HEAD + b"Connection: Close\r\n"),
    "no host": get(b"/x", b""),
    "blanks around a value": get(b"/x", HEAD + b"X-A:   b \t \r\n"),
    "an empty value": get(b"/x", HEAD + b"X-A:\r\n"),
    "a scheme that is none": get(b"/x", HEAD + b"X-Forwarded-Proto: gopher\r\n"),
    "another word for the scheme": get(b"/x", HEAD + b"X-Forwarded-Ssl: on\r\n"),
    "streamed": get(b"/streamed"),
    "streamed, the head alone": b"HEAD /streamed HTTP/1.1\r\n" + HEAD + b"\r\n",
    "written by the old way": get(b"/written"),
    "no content": get(b"/empty"),
    "not modified": get(b"/unchanged"),
    "nothing": get(b"/nothing"),
    "an application that fails": get(b"/broken"),
}
OTHERS = {
    "HTTP/1.0": b"GET /x HTTP/1.0\r\n\r\n",
    "HTTP/1.0, kept alive": b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "HTTP/2.0": b"GET /x HTTP/2.0\r\n" + HEAD + b"\r\n",
    "no version": b"GET /x\r\n\r\n",
    "a whole URL": get(b"http://example.com/x"),
    "two slashes": get(b"//x//y"),
    "a fragment": get(b"/x#y"),
    "an asterisk": b"OPTIONS * HTTP/1.1\r\n" + HEAD + b"\r\n",
    "a small method": b"get /x HTTP/1.1\r\n" + HEAD + b"\r\n",
    "two requests at once": get(b"/1") + get(b"/2") + post(b"abc") + get(b"/3"),
    "two hosts": get(b"/x", HEAD + HEAD),
    "a header twice": get(b"/x", HEAD + b"X-A: 1\r\nx-a: 2\r\n"),
    "two lengths": b"POST /x HTTP/1.1\r\n" + HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length and chunks": post(b"3\r\nabc\r\n0\r\n\r\n", HEAD + b"Transfer-Encoding: chunked\r\n"),
    "chunks": b"POST /x HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "a length that is none": b"POST /x HTTP/1.1\r\n" + HEAD + b"Content-Length: +3\r\n\r\nabc",
    "a length in other digits": b"POST /x HTTP/1.1\r\n" + HEAD + b"Content-Length: \xb2\r\n\r\nab",
    "a long body": post(b"x" * 200_000),
    "an expectation": post(b"abc", HEAD + b"Expect: 100-continue\r\n"),
    "another expectation": post(b"abc", HEAD + b"Expect: miracles\r\n"),
    "an underscore in a name": get(b"/x", HEAD + b"X_Real_IP: 1\r\nX-Real-IP: 2\r\n"),
    "a script's name": get(b"/x/y", HEAD + b"Script_Name: /x\r\n"),
    "two words for the scheme": get(b"/x", HEAD + b"X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n"),
    "a folded header": get(b"/x", HEAD + b"X-A: b\r\n c\r\n"),
    "a blank before the colon": get(b"/x", HEAD + b"X-A : b\r\n"),
    "a header without a colon": get(b"/x", HEAD + b"X-A\r\n"),
    "a NUL in a value": get(b"/x", HEAD + b"X-A: b\0c\r\n"),
    "bare line feeds": b"GET /x HTTP/1.1\nHost: example.com\n\n",
    "an upgrade": get(b"/x", HEAD + b"Connection: upgrade\r\nUpgrade: websocket\r\n"),
    "a long target": get(b"/" + b"x" * 9_000),
    "a long header": get(b"/x", HEAD + b"X-A: " + b"x" * 9_000 + b"\r\n"),
    "many headers": get(b"/x", HEAD + b"".join(b"X-%d: x\r\n" % number for number in range(120))),
    "nonsense": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "an empty line first": b"\r\n" + get(b"/x"),
    "a header with a line end in the answer": get(b"/split"),
}


@contextmanager
def served(worker: str, log: Path) -> Iterator[int]:
    """An instance with the application that tells what it was asked."""
    port = free_port()
    path = os.pathsep.join([str(ROOT), str(ROOT / "src"), *sys.path])
    line = [sys.executable, "-m", "gunicorn", "--worker-class", worker, "--bind", f"127.0.0.1:{port}"]
    line += ["--keep-alive", "5", "--no-control-socket", "--limit-request-line", "8190"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*line, "tests.integration.echo_app:app"],
            env={**os.environ, "PYTHONPATH": path},
            stdout=output,
            stderr=output,
            cwd=log.parent,
        )
    try:
        end = time.monotonic() + 30
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Our worker's port and that of gunicorn's own."""
    logs = tmp_path_factory.mktemp("gunicorn")
    with served(OURS, logs / "ours.log") as ours, served(GUNICORNS, logs / "gunicorns.log") as gunicorns:
        yield ours, gunicorns


def say(port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Return all that comes back for some bytes, up to the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            with suppress(OSError):
                client.sendall(piece)
            time.sleep(pause)
        with suppress(OSError):
            client.shutdown(socket.SHUT_WR)
        answer = b""
        with suppress(ConnectionResetError):
            while part := client.recv(65_536):
                answer += part
    return re.sub(rb"\r\nDate: [^\r]+", b"", answer)


@pytest.mark.parametrize("request_", [*SIMPLE.values(), *OTHERS.values()], ids=[*SIMPLE, *OTHERS])
def test_every_request_is_answered_as_gunicorn_does(ports: tuple[int, int], request_: bytes) -> None:
    ours, gunicorns = (say(port, request_) for port in ports)
    assert ours == gunicorns
    assert ours


@pytest.mark.parametrize("request_", [*SIMPLE.values(), *OTHERS.values()], ids=[*SIMPLE, *OTHERS])
def test_it_is_the_same_in_pieces_and_after_another_request(ports: tuple[int, int], request_: bytes) -> None:
    cut = len(request_) // 2
    pieces = (get(b"/before"), request_[:cut], request_[cut:])
    ours, gunicorns = (say(port, *pieces, pause=0.02) for port in ports)
    assert ours == gunicorns


def mangled(seed: int) -> bytes:
    """A request with some bytes changed, the same for the same number."""
    chance = random.Random(seed)
    text = bytearray(chance.choice([*SIMPLE.values(), *OTHERS.values()]))
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(text))
        change: Callable[[], bytes] = chance.choice(
            [
                lambda: b"",
                lambda: bytes([chance.randrange(256)]),
                lambda: chance.choice([b"\r\n", b":", b" ", b"_", b"\t"]),
            ]
        )
        text[place : place + chance.randint(0, 2)] = change()
    return bytes(text)


def is_cut_short(request_: bytes) -> bool:
    """Whether less of a body comes than was promised. gunicorn takes that for all of it; ours hangs up."""
    head, _, body = request_.partition(b"\r\n\r\n")
    length = re.search(rb"\r\nContent-Length: *([0-9]{1,5})(\r|$)", head)
    return (
        length is not None
        and int(length[1]) > len(body)
        and head.count(b"Content-Length") == 1
        and b"chunked" not in head
    )


@pytest.mark.parametrize("seed", range(600))
def test_what_nobody_thought_of_is_answered_as_gunicorn_does(ports: tuple[int, int], seed: int) -> None:
    request_ = mangled(seed)
    ours, gunicorns = (say(port, request_) for port in ports)
    assert ours == gunicorns or (ours == b"" and is_cut_short(request_)), request_


@pytest.mark.parametrize(
    ("headers", "way"),
    [
        (NGINX, b"short"),
        (NGINX + b"Authorization: Bearer x.y.z\r\nAccept-Encoding: gzip\r\nCookie: a=b; c=d\r\n", b"short"),
        (NGINX + b"Content-Length: 0\r\n", b"short"),
        (NGINX + b"Expect: 100-continue\r\n", b"gunicorn"),
        (NGINX + b"X_Y: z\r\n", b"gunicorn"),
    ],
)
def test_what_nginx_sends_goes_the_short_way(ports: tuple[int, int], headers: bytes, way: bytes) -> None:
    assert say(ports[0], get(b"/is-short", headers)).endswith(b"\r\n\r\n" + way)


def test_an_answer_takes_the_place_of_one_that_failed(ports: tuple[int, int]) -> None:
    head, _, body = say(ports[0], get(b"/retold")).partition(b"\r\n\r\n")
    assert (head.splitlines()[0], body) == (b"HTTP/1.1 500 Second Thoughts", b"four")


def test_a_client_that_says_nothing_is_hung_up_on(ports: tuple[int, int]) -> None:
    with socket.create_connection(("127.0.0.1", ports[0]), 20) as client:
        client.sendall(get(b"/is-short"))
        assert client.recv(65_536).endswith(b"short")
        assert client.recv(1) == b""


def test_a_client_that_leaves_in_the_middle_of_a_body_leaves_nothing_behind(ports: tuple[int, int]) -> None:
    request_ = post(b"abcdef")[:-3]
    assert say(ports[0], request_) == b""
    assert say(ports[0], get(b"/is-short")).endswith(b"short")
