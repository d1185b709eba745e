"""A real SMTP server of the tests' own (aiosmtpd), which can be told to refuse, to stall, and to hang up."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections import deque
from collections.abc import Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTPUTF8
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

USER, PASSWORD = "eye", "of the mail server"


class SmtpServer:
    """Run one server on a loopback port for as long as the ``with`` block lasts.

    Args:
        port: to listen on; 0 takes a free one.
        certificate: a folder with cert.pem and key.pem (see `make_certificate`); offers STARTTLS, or TLS from the
            beginning with `tls`, and takes no letter without.
        tls: is TLS spoken from the beginning.
        login: must a client log in.
        smtputf8: does the server take addresses beyond ASCII.

    Attributes:
        letters: what was accepted.
        commands: each recipient that was named, in order.
        answer: returns the answer to a recipient or, for "DATA", to a letter; empty accepts.
        stall: seconds to wait after a letter was accepted before saying so.
    """

    def __init__(
        self, port: int = 0, certificate: Path | None = None, tls: bool = False, login: bool = False,
        smtputf8: bool = True,
    ) -> None:  # fmt: skip
        self.letters: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.logins: deque[bool] = deque()
        self.answer: Callable[[str], str] = lambda what: ""
        self.stall = 0.0
        self.password = PASSWORD
        self.connections = 0
        options: dict[str, Any] = {"enable_SMTPUTF8": smtputf8}
        if login:
            options |= {
                "authenticator": self._authenticate,
                "auth_required": True,
                "auth_require_tls": certificate is not None,
            }
        context = None
        if certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
        if context is not None and not tls:
            options |= {"tls_context": context, "require_starttls": True}
        from tests.ports import free_port

        self._controller = Controller(
            self, hostname="127.0.0.1", port=port or free_port(), ssl_context=context if tls else None, **options
        )

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._controller.port)

    def settings(self, **changes: str) -> dict[str, str]:
        """Return the variables that send a process's mail here."""
        return {"APP_MAIL_HOST": "127.0.0.1", "APP_MAIL_PORT": str(self.port), **changes}

    def __enter__(self) -> SmtpServer:
        self._controller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._controller.stop()

    def _authenticate(self, server: SMTP, session: Session, envelope: Envelope, how: str, given: Any) -> AuthResult:
        right = (given.login.decode(), given.password.decode()) == (USER, self.password)
        self.logins.append(right)
        return AuthResult(success=right, handled=False)

    async def handle_EHLO(self, server: SMTP, session: Session, envelope: Envelope, name: str, lines: Any) -> Any:
        self.connections += 1
        session.host_name = name
        return lines

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.recipients.append(address)
        refusal = self.answer(address)
        if refusal == "hang up":
            server.transport.abort()
            return ""
        if not refusal:
            envelope.rcpt_tos.append(address)
        return refusal or "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        refusal = self.answer("DATA")
        if refusal:
            return refusal
        # message_from_bytes is typed for the older class of messages.
        letter = message_from_bytes(cast(bytes, envelope.original_content), policy=cast(Any, SMTPUTF8))
        self.letters.append(cast(EmailMessage, letter))
        if self.stall:
            await asyncio.sleep(self.stall)
        return "250 accepted"


def make_certificate(folder: Path, names: str = "DNS:localhost,IP:127.0.0.1") -> Path:
    """Make a certificate for these names that is its own authority; return the folder."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", f"subjectAltName={names}", "-keyout", folder / "key.pem",
         "-out", folder / "cert.pem"],
        check=True,
        capture_output=True,
        timeout=60,
    )  # fmt: skip
    return folder
