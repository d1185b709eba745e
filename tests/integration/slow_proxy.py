"""A slow network: passes bytes between a loopback port and a server's socket, in drops while a file exists.

    python slow_proxy.py SERVER_SOCKET SWITCH

Prints the port it listens on. While the file SWITCH exists, what the server says arrives in ``PIECES`` pieces with a
``PAUSE`` between them, and what the client says is read a little at a time. Runs until its input ends.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from pathlib import Path

PIECES = 4
PAUSE = 0.03  # seconds
BURST = 64 * 1024  # bytes


def to_client(server: socket.socket, client: socket.socket, switch: Path) -> None:
    """Pass on what the server says."""
    while data := server.recv(BURST):
        step = max(1, -(-len(data) // PIECES)) if switch.exists() else len(data)
        for start in range(0, len(data), step):
            if start:
                time.sleep(PAUSE)
            client.sendall(data[start : start + step])
    client.shutdown(socket.SHUT_WR)


def to_server(client: socket.socket, server: socket.socket, switch: Path) -> None:
    """Pass on what the client says."""
    while data := client.recv(BURST):
        if switch.exists():
            time.sleep(PAUSE)
        server.sendall(data)
    server.shutdown(socket.SHUT_WR)


def quietly(pass_on: object, *arguments: object) -> None:
    """Start a thread that ends when either side hangs up."""

    def run() -> None:
        try:
            pass_on(*arguments)  # type: ignore[operator]
        except OSError:
            for end in arguments[:2]:
                end.close()  # type: ignore[attr-defined]

    threading.Thread(target=run, daemon=True).start()


def main() -> None:
    """Listen until standard input ends."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # a long query has to wait
    listener.bind(("127.0.0.1", 0))
    listener.listen(100)
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), listener.shutdown(socket.SHUT_RDWR)), daemon=True).start()
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = socket.socket(socket.AF_UNIX)
        server.connect(sys.argv[1])
        quietly(to_client, server, client, Path(sys.argv[2]))
        quietly(to_server, client, server, Path(sys.argv[2]))


if __name__ == "__main__":
    main()
