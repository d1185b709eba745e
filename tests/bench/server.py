"""The sites of the benchmark and their name server, in a process of their own: `python -m tests.bench.server FILE`.

FILE is JSON: `folder` (holds site.pem; gets `visits`), `mix`, `names` (address of the name server; empty: none).
Once all listen, a line of JSON with the ports appears on standard output; the process ends with its standard input.
Plain sockets and prepared pages; what it costs is in the benchmark's output, to show that it is not in the way.
"""

from __future__ import annotations

import json
import resource
import ssl as tls_settings
import struct
import sys
import time
from collections import Counter
from email.utils import formatdate
from pathlib import Path
from typing import Any

import gevent
from gevent import socket, ssl
from gevent.server import DatagramServer, StreamServer

from tests.bench.mix import HOSTS, NETWORK, Mix, page

VISIT = struct.Struct("<Id")  # site, seconds since 1970; one after another in the file `visits`
BACKLOG = 4096
SLOWEST = 2.0  # seconds
TTL = 300  # seconds
SILENT_FOR = 120.0  # seconds


class Sites:
    """Answers for all sites on every address, and notes each visit."""

    def __init__(self, folder: Path, mix: Mix) -> None:
        self.mix = mix
        self.visits: Counter[int] = Counter()
        self._file = (folder / "visits").open("ab")
        self._dated = (0, "")

    def plain(self, sock: socket.socket, _: object) -> None:
        try:
            self._serve(sock)
        except OSError:
            pass  # a prober that was killed
        finally:
            sock.close()

    def _serve(self, sock: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            part = sock.recv(8192)
            if not part:
                return
            request += part
        number = int(request.split(b" ", 2)[1].rpartition(b"/")[2])
        now = time.time()
        self._file.write(VISIT.pack(number, now))
        behaviour = self.mix.behaviour(number)
        visit = self.visits[number]
        self.visits[number] += 1
        if behaviour == "silent":
            gevent.sleep(SILENT_FOR)
            return
        if behaviour == "slow":
            gevent.sleep(1 + number % 100 / 100 * (SLOWEST - 1))
        date = self._date(now)
        body = page(number, behaviour, visit, date)
        cookie = f"Set-Cookie: session={visit:032x}; Path=/; HttpOnly\r\n" if behaviour == "moving" else ""
        head = (
            f"HTTP/1.1 200 OK\r\nServer: bench\r\nDate: {date}\r\nContent-Type: text/html; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nCache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n"
            f"X-Frame-Options: SAMEORIGIN\r\n{cookie}Connection: close\r\n\r\n"
        )
        sock.sendall(head.encode() + body)
        # Until the prober has read it all and hung up, lest a reset takes what it has not read yet.
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(5)
        sock.recv(1)

    def _date(self, now: float) -> str:
        second = int(now)
        if second != self._dated[0]:
            self._dated = second, formatdate(second, usegmt=True)
        return self._dated[1]

    def write_down(self) -> None:
        """Keep the file up to date."""
        while True:
            gevent.sleep(0.5)
            self._file.flush()


class Names(DatagramServer):  # type: ignore[misc]  # gevent has no types
    """Answers each name with the address of the site whose number is in its first label (RFC 1035, 4.1)."""

    def __init__(self, address: str, mix: Mix) -> None:
        super().__init__((address, 53))
        self._mix = mix

    def handle(self, query: bytes, peer: object) -> None:
        end, labels = 12, []
        while query[end]:
            labels.append(query[end + 1 : end + 1 + query[end]])
            end += 1 + query[end]
        question = query[12 : end + 5]
        answer = b""
        if question[-4:] == b"\0\x01\0\x01":  # A, IN; of every other type there is none
            address = socket.inet_aton(self._mix.address(int(labels[0][1:])))
            answer = struct.pack("!HHHIH", 0xC00C, 1, 1, TTL, 4) + address
        header = query[:2] + struct.pack("!HHHHH", 0x8580, 1, 1 if answer else 0, 0, 0)
        self.socket.sendto(header + question + answer, peer)


def listen(sites: Sites, tls: ssl.SSLContext | None) -> int:
    """Serve on one port of all addresses; which one."""
    while True:
        servers: list[Any] = []
        port = 0
        options = {} if tls is None else {"ssl_context": tls}
        try:
            for host in range(1, HOSTS + 1):
                server = StreamServer((f"{NETWORK}.0.{host}", port), sites.plain, backlog=BACKLOG, **options)
                server.start()
                servers.append(server)
                port = server.server_port
            return port
        except OSError:  # the port is free on the first address but not on another
            for server in servers:
                server.stop(timeout=0)


def main(path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    facts = json.loads(path.read_text("utf-8"))
    folder, mix = Path(facts["folder"]), Mix.read(facts["mix"])
    sites = Sites(folder, mix)
    context = ssl.SSLContext(tls_settings.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "site.pem")
    ports = {"http": listen(sites, None), "https": listen(sites, context)}
    if facts["names"]:
        Names(facts["names"], mix).start()
    gevent.get_hub().handle_error = lambda *_: None  # a handshake broken off, by a prober that was killed
    writer = gevent.spawn(sites.write_down)
    print(json.dumps(ports), flush=True)
    gevent.get_hub().threadpool.apply(sys.stdin.read)
    writer.kill()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
