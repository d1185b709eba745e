"""What a letter looks like, what can never become one, and how the answers of a mail server are understood."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import SMTP
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from sqlalchemy import create_engine, func, select
from sqlalchemy.orm import Session

from cloudeye.config import Config
from cloudeye.models import Base, Message
from cloudeye.services import outbox
from cloudeye.services.mail import BadRecipient, Letter, Mailer, MailError, ServerError, check_recipient, compose
from tests.integration.smtp_server import PASSWORD, USER, SmtpServer, make_certificate
from tests.ports import free_port

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
LETTER = Letter("e" * 32, "owner@example.com", "en", "Hello", "Something to read\n", NOON)
VALUES = {"url": "https://eye.example.com/x?token=t", "expires_at": NOON, "changed_at": NOON, "email": "n@example.com"}


@pytest.fixture
def config(settings: dict[str, str]) -> Config:
    return Config.from_environment(settings)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    engine = create_engine(f"sqlite:///{tmp_path}/outbox.sqlite3")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


def toward(config: Config, server: SmtpServer, **changes: object) -> Mailer:
    mail = replace(config.mail, host="127.0.0.1", port=server.port, **changes)  # type: ignore[arg-type]
    return Mailer(replace(config, mail=mail))


# -- queueing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", outbox.TEMPLATES)
def test_every_mail_is_there_in_both_languages(session: Session, template: str) -> None:
    english = outbox.queue_mail(session, "a@example.com", template, "en", None, **VALUES)
    chinese = outbox.queue_mail(session, "a@example.com", template, "zh_Hans", None, **VALUES)
    for message in (english, chinese):
        assert message.subject is not None
        assert message.body is not None
        assert "eye.example.com" in message.subject
        assert VALUES["url"] in message.body.splitlines()
        assert "\n" not in message.subject
    assert english.subject.isascii()
    assert not any(word in chinese.body for word in ("Hello", "link", "account"))
    assert not chinese.subject.isascii()
    assert english.event_id != chinese.event_id


def test_every_template_is_one_that_can_be_queued() -> None:
    assert {path.stem for path in outbox.MAILS.iterdir()} == {*outbox.TEMPLATES, *outbox.ALERTS}


@pytest.mark.parametrize(
    ("language", "zone", "shown"),
    [
        ("en", None, "Nov 21, 2026, 12:00:00\u202fPM (UTC)"),
        ("en", "America/New_York", "Nov 21, 2026, 7:00:00\u202fAM (America/New_York)"),
        ("zh_Hans", "Asia/Shanghai", "2026年11月21日 20:00:00 (Asia/Shanghai)"),
        ("en", "Mars/Olympus", "Nov 21, 2026, 12:00:00\u202fPM (UTC)"),
        ("en", "../../etc/passwd", "Nov 21, 2026, 12:00:00\u202fPM (UTC)"),
    ],
)
def test_a_time_is_shown_in_the_zone_and_language_of_the_recipient(
    session: Session, language: str, zone: str | None, shown: str
) -> None:
    message = outbox.queue_mail(session, "a@example.com", "reset", language, zone, **VALUES)
    assert shown in (message.body or "")


@pytest.mark.parametrize(
    "recipient",
    ["", "nobody", "@example.com", "a@", "a@b@c", "a b@example.com", "a@example.com\nBcc: b@example.com", "<a@b.c>",
     "a@example.com\r", "a@example.com,b@example.com", "a\x00@example.com", '"a b"@example.com', "a" * 251 + "@b.c"],
)  # fmt: skip
def test_what_is_no_address_is_not_queued(session: Session, recipient: str) -> None:
    with pytest.raises(BadRecipient) as refused:
        outbox.queue_mail(session, recipient, "reset", "en", None, **VALUES)
    assert not recipient or recipient not in str(refused.value)
    assert session.scalar(select(func.count()).select_from(Message)) == 0


def test_a_mail_that_lacks_a_value_is_not_queued(session: Session) -> None:
    with pytest.raises(UndefinedError):
        outbox.queue_mail(session, "a@example.com", "reset", "en", None, url="https://eye.example.com/")
    with pytest.raises(UndefinedError):
        outbox.queue_mail(session, "a@example.com", "exists", "en", None)
    values = {**VALUES, "expires_at": NOON.replace(tzinfo=None)}
    with pytest.raises(ValueError, match="without a zone"):
        outbox.queue_mail(session, "a@example.com", "reset", "en", None, **values)
    for template, language in (("reset_unknown", "en"), ("../base", "en"), ("reset", "xx")):
        with pytest.raises(ValueError, match="there is no mail"):
            outbox.queue_mail(session, "a@example.com", template, language, None, **VALUES)


def test_no_mail_shows_what_a_stranger_could_have_chosen() -> None:
    for template in outbox.TEMPLATES:
        text = (outbox.MAILS / f"{template}.txt").read_text()
        assert "username" not in text


# -- letters ---------------------------------------------------------------------------------------------------


def test_a_letter_says_who_when_and_that_a_machine_wrote_it(config: Config) -> None:
    message = message_from_bytes(compose(config, LETTER).as_bytes(), policy=SMTP)
    assert message["Message-ID"] == f"<{'e' * 32}.cloudeye@example.com>"
    assert message["Date"].datetime == NOON
    assert message["From"] == "cloudeye@example.com"
    assert message["To"] == "owner@example.com"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Content-Language"] == "en"
    assert message.get_content().splitlines() == ["Something to read"]


@pytest.mark.parametrize("host", ["a.example", "eye.example.com", f"{'long.' * 30}example.com"])
def test_a_letter_that_can_be_ended_has_a_button_for_it_in_mail_programs(config: Config, host: str) -> None:
    stop = f"https://{host}/unsubscribe?token=1234567890.LZ2LuU5Dh5_62qZseEyO"
    raw = compose(config, replace(LETTER, unsubscribe=stop)).as_bytes()
    message = message_from_bytes(raw, policy=SMTP)
    assert message["List-Unsubscribe"].strip() == f"<{stop}>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert f"<{stop}>".encode() in raw  # in one piece: not every program takes a line that was folded within a word
    assert "List-Unsubscribe" not in compose(config, LETTER)


def test_a_letter_made_twice_is_the_same_to_the_byte(config: Config) -> None:
    assert compose(config, LETTER).as_bytes() == compose(config, LETTER).as_bytes()


def test_a_letter_in_chinese_arrives_as_it_was_written(config: Config) -> None:
    letter = replace(
        LETTER, language="zh_Hans", subject="您在 eye.example.com 的账户" * 3, body="您好:\n\n长" + "长" * 500
    )
    raw = compose(config, letter).as_bytes()
    message = message_from_bytes(raw, policy=SMTP)
    assert (message["Subject"], message["Content-Language"]) == (letter.subject, "zh-Hans")
    assert message.get_content().splitlines() == letter.body.splitlines()
    assert all(len(line) <= 998 for line in raw.splitlines())


def test_a_sender_may_have_a_name_beyond_ascii(config: Config) -> None:
    mail = replace(config.mail, sender="云眼 <eye@example.com>")
    message = message_from_bytes(compose(replace(config, mail=mail), LETTER).as_bytes(), policy=SMTP)
    assert str(message["From"]) == "云眼 <eye@example.com>"


def test_a_domain_beyond_ascii_is_written_as_dns_writes_it(config: Config) -> None:
    message = compose(config, replace(LETTER, recipient="owner@bücher.example"))
    assert message["To"] == "owner@xn--bcher-kva.example"


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "Hello\r\nBcc: all@example.com"},
        {"subject": "Hello\nX-Evil: 1"},
        {"recipient": "a@example.com\r\nBcc: all@example.com"},
        {"recipient": "a@example.com> SIZE=1"},
        {"language": "en\r\nX-Evil: 1"},
        {"event_id": "e\r\nX-Evil: 1"},
        {"unsubscribe": "https://eye.example.com/\r\nX-Evil: 1"},
        {"recipient": "a@exa\u2028mple.com"},
        {"recipient": "a@-.example"},
        {"body": "\ud800"},
    ],
)
def test_a_letter_that_would_break_a_header_is_refused_for_good(config: Config, changes: dict[str, str]) -> None:
    if changes.get("recipient") == "a@-.example":
        changes = {"recipient": "a@ü-.example"}
    with pytest.raises(MailError) as refused:
        compose(config, replace(LETTER, **changes))  # type: ignore[arg-type]
    assert refused.value.final


@pytest.mark.parametrize("address", ["a@example.com", "a+b@example.com", "o'neil@example.com", "用户@例子.example"])
def test_unusual_addresses_are_addresses(address: str) -> None:
    check_recipient(address)


def test_an_error_holds_no_address() -> None:
    assert str(MailError("550 <owner@example.com> unknown")) == "550 <<address>> unknown"


# -- handing over ----------------------------------------------------------------------------------------------


def test_letters_go_out_on_one_connection(config: Config) -> None:
    with SmtpServer() as server:
        mailer = toward(config, server)
        for number in range(3):
            mailer.open()
            mailer.send(replace(LETTER, event_id=f"{number}"))
        mailer.close()
        assert (len(server.letters), server.connections) == (3, 1)


def test_a_connection_that_the_server_has_closed_is_opened_anew(config: Config) -> None:
    with SmtpServer() as server:
        mailer = toward(config, server)
        server.answer = lambda what: "hang up" if what == "bad@example.com" else ""
        mailer.open()
        with pytest.raises(ServerError):
            mailer.send(replace(LETTER, recipient="bad@example.com"))
        mailer.open()
        mailer.send(LETTER)
        assert (len(server.letters), server.connections) == (1, 2)


@pytest.mark.parametrize(
    ("answer", "where", "final"),
    [
        ("450 mailbox busy", "owner@example.com", False),
        ("550 no such user", "owner@example.com", True),
        ("530 log in first", "owner@example.com", False),
        ("452 disk full", "DATA", False),
        ("554 spam", "DATA", True),
    ],
)
def test_a_refusal_for_now_and_one_for_good_are_told_apart(
    config: Config, answer: str, where: str, final: bool
) -> None:
    with SmtpServer() as server:
        server.answer = lambda what: answer if what == where else ""
        mailer = toward(config, server)
        with pytest.raises(MailError) as refused:
            mailer.send(LETTER)
        assert refused.value.final is final
        assert answer[:3] in str(refused.value)
        server.answer = lambda what: ""
        mailer.send(LETTER)  # on the same connection
        assert (len(server.letters), server.connections) == (1, 1)


def test_an_address_beyond_ascii_arrives_where_the_server_takes_it_and_is_refused_clearly_where_not(
    config: Config,
) -> None:
    letter = replace(LETTER, recipient="用户@example.com")
    with SmtpServer() as server:
        toward(config, server).send(letter)
        assert server.recipients == ["用户@example.com"]
        assert server.letters[0]["To"] == "用户@example.com"
    with SmtpServer(smtputf8=False) as server:
        with pytest.raises(MailError, match="SMTPUTF8") as refused:
            toward(config, server).send(letter)
        assert refused.value.final
        assert not server.letters


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_letter_goes_encrypted_to_a_server_that_proves_its_name(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, security: str
) -> None:
    folder = make_certificate(tmp_path)
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    with SmtpServer(certificate=folder, tls=security == "tls", login=security == "starttls") as server:
        account = {"user": USER, "password_file": password} if security == "starttls" else {}
        with pytest.raises(ServerError, match="CERTIFICATE_VERIFY_FAILED"):
            toward(config, server, security=security, **account).open()
        monkeypatch.setenv("SSL_CERT_FILE", str(folder / "cert.pem"))
        toward(config, server, security=security, **account).send(LETTER)
        assert len(server.letters) == 1


def test_nothing_goes_to_a_server_that_proves_another_name(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_certificate(tmp_path, "DNS:other.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "cert.pem"))
    with SmtpServer(certificate=folder) as server:
        with pytest.raises(ServerError, match="IP address mismatch"):
            toward(config, server, security="starttls").send(LETTER)
        assert not server.letters


def test_a_server_that_is_not_there_is_no_reason_to_give_a_letter_up(config: Config) -> None:
    mail = replace(config.mail, host="127.0.0.1", port=free_port())
    with pytest.raises(ServerError) as refused:
        Mailer(replace(config, mail=mail)).open()
    assert not refused.value.final


def test_a_password_file_that_is_gone_is_no_reason_to_give_a_letter_up(config: Config, tmp_path: Path) -> None:
    with SmtpServer(login=True) as server, pytest.raises(ServerError) as refused:
        toward(config, server, user=USER, password_file=tmp_path / "gone").open()
    assert not refused.value.final


# -- files -----------------------------------------------------------------------------------------------------


def test_without_a_server_a_letter_is_a_file_that_is_the_same_when_written_again(config: Config) -> None:
    mailer = Mailer(config)
    mailer.open()
    mailer.send(LETTER)
    path = config.data_dir / "mail" / f"{LETTER.event_id}.eml"
    first = path.read_bytes()
    mailer.send(LETTER)
    assert path.read_bytes() == first
    assert [path.name for path in path.parent.iterdir()] == [path.name]
    assert os.stat(path).st_mode & 0o077 == 0


@pytest.mark.parametrize("name", [f"{'3' * 32}.0", f"g{'a' * 31}.9223372036854775807"])
def test_an_alert_is_written_under_its_name(config: Config, name: str) -> None:
    Mailer(config).send(replace(LETTER, event_id=name))
    assert [path.name for path in (config.data_dir / "mail").iterdir()] == [f"{name}.eml"]


def test_a_link_can_be_copied_out_of_a_file(config: Config) -> None:
    link = f"https://eye.example.com/reset?token={'a=b_' * 30}"
    Mailer(config).send(replace(LETTER, body=f"密码：\n\n{link}\n"))
    assert link in (config.data_dir / "mail" / f"{LETTER.event_id}.eml").read_text("utf-8")


@pytest.mark.parametrize("name", ["../../evil", "..", ".hidden", "a/b"])
def test_an_event_whose_name_would_be_a_path_is_refused(config: Config, name: str) -> None:
    with pytest.raises(MailError):
        Mailer(config).send(replace(LETTER, event_id=name))
