"""A MariaDB server of the tests' own: in a folder that is thrown away, reached by a socket, gone at the end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import MySQLdb

BINARY = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
TLS_FILES = ("ca.pem", "server.pem", "server.key")


class MariaDB:
    """Run one server for as long as the ``with`` block lasts.

    Args:
        folder: an empty folder. Its path is kept short by the caller: the socket lies in it, and socket paths
            end at about 107 bytes (unix(7)).
        port: a loopback port to listen on too, or 0 for the socket alone.
        tls: make a certificate and offer TLS with it (its authority is ``folder/ca.pem``).
        options: more of the server's options, as on its command line.

    The account ``root`` needs no password.
    """

    def __init__(self, folder: Path, port: int = 0, tls: bool = False, options: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.port = port
        self.socket = str(folder / "s")
        self.options = list(options)
        self.process: subprocess.Popen[bytes] | None = None
        if tls:
            self._make_certificate()

    def __enter__(self) -> MariaDB:
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", f"--datadir={self.folder}/data", "--skip-test-db",
             "--auth-root-authentication-method=normal", f"--user={self._user()}"],
            check=True,
            capture_output=True,
            timeout=120,
        )  # fmt: skip
        self.start()
        self.run("CREATE DATABASE cloudeye CHARACTER SET utf8mb4")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(signal.SIGKILL)

    def start(self, wait: float = 60) -> None:
        """Start the server and wait until it answers, at most ``wait`` seconds."""
        network = ["--bind-address=127.0.0.1", f"--port={self.port}"] if self.port else ["--skip-networking"]
        log = (self.folder / "log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [BINARY, "--no-defaults", f"--datadir={self.folder}/data", f"--socket={self.socket}",
                 # A server that starts deletes what lies about in its folder for temporary files, other servers' too.
                 f"--tmpdir={self.folder}/data", f"--pid-file={self.folder}/pid", f"--user={self._user()}",
                 "--innodb-buffer-pool-size=64M",
                 "--innodb-flush-log-at-trx-commit=2", "--max-connections=300", *network, *self.options],
                stdout=log,
                stderr=log,
            )  # fmt: skip
        end = time.monotonic() + wait
        while True:
            try:
                self.run("DO 0")
                return
            except MySQLdb.OperationalError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError((self.folder / "log").read_text()[-2000:]) from None
                time.sleep(0.1)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the server with a signal and wait until it is gone."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    def run(self, statement: str, *values: object) -> tuple[tuple[Any, ...], ...]:
        """Run one statement on a connection of the plain driver, commit, and return its rows."""
        connection = MySQLdb.connect(unix_socket=self.socket, user="root", connect_timeout=10)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                rows: tuple[tuple[Any, ...], ...] = cursor.fetchall()
            connection.commit()
            return rows
        finally:
            connection.close()

    def url(self, name: str = "cloudeye") -> str:
        """Return the database's address for SQLAlchemy, by socket."""
        return f"mysql+mysqldb://root@localhost/{name}?unix_socket={self.socket}&charset=utf8mb4"

    def _user(self) -> str:
        """Return who the server runs as: it does not start as root unless told so."""
        return "root" if os.geteuid() == 0 else str(os.geteuid())

    def _make_certificate(self) -> None:
        authority, certificate, key = (self.folder / name for name in TLS_FILES)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate],
            check=True,
            capture_output=True,
            timeout=60,
        )  # fmt: skip
        shutil.copy(certificate, authority)
        self.options += [f"--ssl-cert={certificate}", f"--ssl-key={key}", f"--ssl-ca={authority}"]
