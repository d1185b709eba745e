"""Clients beside those that are counted: `python -m tests.bench.requests.crowd KIND COUNT PORT REQUEST`.

KIND is `idle` (each asks once, and then keeps its connection) or `slow` (each sends the head of REQUEST at once and of
its body a byte a second). When all are there, a line appears on standard output; when standard input ends, a second
line says how many of them the server has dropped, and the process ends.
"""

from __future__ import annotations

import resource
import select
import socket
import sys

from tests.bench.requests.openloop import is_whole

EVERY = 1.0  # seconds between two bytes of a slow client
BODY = 3600  # bytes that a slow client announces: an hour's worth


def connect(port: int) -> socket.socket:
    """A connection to a loopback port."""
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def ask(client: socket.socket, request: bytes) -> bool:
    """Ask and read the whole answer; whether there was one."""
    try:
        client.sendall(request)
        data = b""
        while not is_whole(data):
            part = client.recv(65_536)
            if not part:
                return False
            data += part
    except OSError:
        return False
    return True


def idle(count: int, port: int, request: bytes) -> list[socket.socket]:
    """Clients that have asked once."""
    clients = [connect(port) for _ in range(count)]
    if not all(ask(client, request) for client in clients):
        raise SystemExit("a client that was to be idle got no answer to its first request")
    return clients


def slow(count: int, port: int, request: bytes) -> list[socket.socket]:
    """Clients that have sent a head that announces a long body."""
    head, _, _ = request.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length:")]
    lines.append(b"Content-Length: %d" % BODY)
    clients = [connect(port) for _ in range(count)]
    for client in clients:
        client.sendall(b"\r\n".join([*lines, b"", b""]))
    return clients


def stay(clients: list[socket.socket], *, send: bool) -> int:
    """Stay until standard input ends; how many the server has dropped."""
    dropped: set[int] = set()
    told = select.poll()  # `select` takes no descriptor above 1023
    told.register(sys.stdin, select.POLLIN | select.POLLHUP)
    while not told.poll(EVERY * 1000):
        for client in clients if send else ():
            try:
                client.send(b" ")
            except OSError:
                dropped.add(client.fileno())
    poll = select.poll()
    for client in clients:
        poll.register(client, select.POLLIN | select.POLLHUP | select.POLLERR)
    return len({number for number, _ in poll.poll(0)} | dropped)


def main(kind: str, count: str, port: str, request: str) -> None:
    """Be such a crowd."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    clients = {"idle": idle, "slow": slow}[kind](int(count), int(port), request.encode("latin-1"))
    print("here", flush=True)
    print(stay(clients, send=kind == "slow"), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:5])
