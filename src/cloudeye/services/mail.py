"""One letter, handed to the SMTP server; or, where there is none, written to a file.

A letter that is handed over twice has the same Message-ID and the same date both times, so that whoever receives
it can tell that it is one (RFC 5322, section 3.6.4). Nothing is sent over TLS that was not verified, and nothing in
the clear when TLS was asked for.
"""

from __future__ import annotations

import os
import re
import smtplib
import socket
import ssl
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import parseaddr
from pathlib import Path

from cloudeye.config import Config
from cloudeye.services.delivery import NotDelivered

LONGEST_ADDRESS = 254  # RFC 5321, section 4.5.3.1.3, without the angle brackets
LONGEST_LINE = 998  # RFC 5322, section 2.1.1
# A word that is longer does not fit into the 78 characters that a line should have, and would be encoded.
LONGEST_UNBROKEN = 74
TIMEOUT = 30.0  # seconds without an answer
# Seconds for the answer to the end of a letter: a client that gives up earlier sends again what the server may have
# accepted (RFC 5321, section 4.5.3.2.6).
ACCEPT_TIMEOUT = 600.0
AUTHENTICATION_REQUIRED = 530  # RFC 4954, section 6: a fault of our settings, not of the recipient

_ADDRESS = re.compile(r"[^\s<>]+@[^\s<>]+")


class BadRecipient(ValueError):
    """An address to which no mail can be sent."""


class MailError(NotDelivered):
    """A letter was not accepted. The text holds no mail address."""

    def __init__(self, text: str, *, final: bool = False) -> None:
        super().__init__(_ADDRESS.sub("<address>", text), final=final)


class ServerError(MailError):
    """No letter can be handed over at the moment: the server is away, or refuses us."""


@dataclass(frozen=True, slots=True)
class Letter:
    """What is sent. With an address to `unsubscribe` at, mail programs show a button for it (RFC 8058)."""

    event_id: str
    recipient: str
    language: str
    subject: str
    body: str
    queued_at: datetime
    unsubscribe: str = ""


def check_recipient(address: str) -> None:
    """Refuse what is no address, or would end one header line and begin another (RFC 5322, section 2.2).

    Refused as well: a quoted name and an address in the place of the domain, which RFC 5321 has and nobody uses.

    Raises:
        BadRecipient: with the reason, which does not hold the address.
    """
    name, at, domain = address.rpartition("@")
    if not (name and at and domain) or "@" in name or len(address) > LONGEST_ADDRESS:
        raise BadRecipient("this is no mail address")
    if not address.isprintable() or any(character in '<>," ;()[]:\\' for character in address):
        raise BadRecipient("this mail address holds a character that none can have")
    _ascii_domain(domain)


def compose(config: Config, letter: Letter) -> EmailMessage:
    """Make the message with its headers.

    Args:
        config: its `mail.sender` may have a name, as in "Cloudeye <eye@example.com>".
        letter: what to say and to whom.

    Raises:
        MailError: final, a header would hold what none may.
    """
    try:
        name, sender = parseaddr(config.mail.sender)
        sender, recipient = _sendable(sender), _sendable(letter.recipient)
        for text in (name, letter.subject, letter.language, letter.event_id, letter.unsubscribe):
            if not text.isprintable():
                raise ValueError("a header would hold a line break or a character that cannot be printed")
        policy = SMTP if (sender + recipient).isascii() else SMTPUTF8
        if len(letter.unsubscribe) > LONGEST_UNBROKEN:
            policy = policy.clone(max_line_length=LONGEST_LINE)
        message = EmailMessage(policy=policy)
        message["Message-ID"] = f"<{letter.event_id}.{config.name}@{sender.rpartition('@')[2]}>"
        message["Date"] = letter.queued_at
        message["From"] = _address(sender, name)
        message["To"] = _address(recipient)
        message["Subject"] = letter.subject
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence note shall answer
        if letter.unsubscribe:
            message["List-Unsubscribe"] = f"<{letter.unsubscribe}>"
            message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        # What lies in a file is read by people, who copy the link out of it.
        plain = not config.mail.host and all(len(line.encode()) <= LONGEST_LINE for line in letter.body.splitlines())
        message.set_content(letter.body, cte="8bit" if plain else None)
        message["Content-Language"] = letter.language.replace("_", "-")  # set_content() removes what begins so
    except ValueError as error:
        raise MailError(f"this cannot be a letter: {error}", final=True) from None
    return message


class Mailer:
    """Hands letters over, all on one connection for as long as the server keeps it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._smtp: smtplib.SMTP | None = None

    def open(self) -> None:
        """Make sure of a connection. Where mail is written to files there is nothing to do.

        Raises:
            ServerError: there is none.
        """
        if not self.config.mail.host or self._answers():
            return
        try:
            self._smtp = self._connect()
        except (OSError, smtplib.SMTPException, ValueError) as error:
            raise ServerError(f"cannot hand over: {_text(error)}") from None

    def send(self, letter: Letter) -> None:
        """Hand a letter over. When this returns, the server has answered for it, or it lies on the disk.

        Raises:
            MailError: the server does not take this letter, for now or, when `final`, at all.
            ServerError: the server takes none for now.
        """
        message = compose(self.config, letter)
        if not self.config.mail.host:
            self._write(letter, message)
            return
        if self._smtp is None:
            self.open()
        smtp = self._smtp
        assert smtp is not None  # noqa: S101 - open() has made it
        sender, recipient = message["From"].addresses[0].addr_spec, message["To"].addresses[0].addr_spec
        try:
            smtp.send_message(message, sender, [recipient])
        except smtplib.SMTPRecipientsRefused as error:
            code, text = next(iter(error.recipients.values()))
            refused = 500 <= code < 600 and code != AUTHENTICATION_REQUIRED
            raise MailError(f"recipient refused: {code} {_decode(text)}", final=refused) from None
        except smtplib.SMTPDataError as error:
            raise MailError(f"letter refused: {_text(error)}", final=500 <= error.smtp_code < 600) from None
        except smtplib.SMTPNotSupportedError:
            reason = "the mail server takes no address with characters beyond ASCII (SMTPUTF8)"
            raise MailError(reason, final=True) from None
        except (OSError, smtplib.SMTPException) as error:
            self.close()
            raise ServerError(f"not handed over: {_text(error)}") from None

    def close(self) -> None:
        """Let the connection go, without waiting for anybody's farewell."""
        if self._smtp is not None:
            self._smtp.close()
            self._smtp = None

    def _answers(self) -> bool:
        """Is there a connection on which the server still listens: many close one after some letters."""
        if self._smtp is None or self._smtp.sock is None:
            return False
        try:
            answers = self._smtp.noop()[0] == 250
        except (OSError, smtplib.SMTPException):
            answers = False
        if not answers:
            self.close()
        return answers

    def _connect(self) -> smtplib.SMTP:
        mail = self.config.mail
        here = socket.gethostname()
        name = here if "." in here else "[127.0.0.1]"  # RFC 5321, section 4.1.4, and no DNS query for our own name
        smtp: smtplib.SMTP
        if mail.security == "tls":
            smtp = _SecureConnection(mail.host, mail.port, name, timeout=TIMEOUT, context=_verifying())
        else:
            smtp = _Connection(mail.host, mail.port, name, timeout=TIMEOUT)
        try:
            smtp.ehlo_or_helo_if_needed()
            if mail.security == "starttls":
                smtp.starttls(context=_verifying())
            if mail.user:
                smtp.login(mail.user, _password(mail.password_file))
        except BaseException:
            smtp.close()
            raise
        return smtp

    def _write(self, letter: Letter, message: EmailMessage) -> None:
        """Write the letter under a name that is its event's, by rename(2), so that no half of one is ever seen."""
        folder = self.config.data_dir / "mail"
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}", letter.event_id):
            raise MailError("this cannot be a letter: its event has no plain name", final=True)
        path = folder / f"{letter.event_id}.eml"
        fresh = folder / f".{letter.event_id}.{os.getpid()}"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(message.as_bytes())
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        except OSError as error:
            raise ServerError(f"cannot be written: {error}") from None


class _Patient:
    """Waits long for the answer to the end of a letter."""

    sock: socket.socket | None

    def data(self, msg: bytes | str) -> tuple[int, bytes]:
        if self.sock is not None:
            self.sock.settimeout(ACCEPT_TIMEOUT)
        try:
            answer: tuple[int, bytes] = super().data(msg)  # type: ignore[misc]
            return answer
        finally:
            if self.sock is not None:
                self.sock.settimeout(TIMEOUT)


class _Connection(_Patient, smtplib.SMTP):  # type: ignore[misc]
    pass


class _SecureConnection(_Patient, smtplib.SMTP_SSL):  # type: ignore[misc]
    pass


def _verifying() -> ssl.SSLContext:
    """Verify the certificate and the name in it, by the host's authorities (SSL_CERT_FILE names others)."""
    return ssl.create_default_context()


def _password(path: Path | None) -> str:
    """Read the password anew, so that a changed one is used by the next connection."""
    return path.read_text(encoding="utf-8").strip() if path is not None else ""


def _sendable(address: str) -> str:
    """Return the address with its domain as DNS writes it (RFC 5891)."""
    check_recipient(address)
    name, _, domain = address.rpartition("@")
    return f"{name}@{_ascii_domain(domain)}"


def _ascii_domain(domain: str) -> str:
    if domain.isascii():
        return domain
    import idna  # hundreds of kilobytes that are rarely needed

    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError:
        raise BadRecipient("this mail address has a domain that cannot be one") from None


def _address(address: str, shown: str = "") -> Address:
    # As two parts: given as one, what is beyond ASCII is refused.
    name, _, domain = address.rpartition("@")
    return Address(shown, name, domain)


def _text(error: BaseException) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {_decode(error.smtp_error)}"
    return str(error) or type(error).__name__


def _decode(text: bytes | str) -> str:
    plain = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return " ".join("".join(character if character.isprintable() else " " for character in plain).split())
