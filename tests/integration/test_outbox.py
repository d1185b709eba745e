"""Mail from the transaction that queues it to a real SMTP server, by real sync processes, on both engines."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import gevent
import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from cloudeye.extensions import db
from cloudeye.models import Message, OneTimeToken, utcnow
from cloudeye.services.outbox import queue_mail
from tests.integration.smtp_server import PASSWORD, USER, SmtpServer, make_certificate
from tests.integration.world import World
from tests.ports import free_port
from tests.unit.cloudeye.sync_stack import Stack, counting_site, wait_for

pytestmark = pytest.mark.long

SECRET_LINK = "https://eye.example.com/reset?token=opens-the-door"


@pytest.fixture
def stack(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stack]:
    url = None
    if engine == "mariadb":
        server = request.getfixturevalue("mariadb_server")
        server.run("CREATE OR REPLACE DATABASE cloudeye_outbox CHARACTER SET utf8mb4")
        url = server.url("cloudeye_outbox")
    made = Stack(tmp_path, url)
    made.migrate()
    yield made
    made.stop()


def queue(stack: Stack, *recipients: str) -> list[str]:
    """Queue a mail for each recipient; return their events."""
    with Session(stack.engine) as session:
        expires = utcnow() + timedelta(hours=1)
        rows = [
            queue_mail(session, recipient, "reset", "en", None, url=SECRET_LINK, expires_at=expires)
            for recipient in recipients
        ]
        session.commit()
        return [row.event_id for row in rows]


def messages(stack: Stack) -> list[Message]:
    with Session(stack.engine) as session:
        return list(session.scalars(select(Message).order_by(Message.id)))


def change(stack: Stack, **values: Any) -> None:
    """Change every message that is not sent."""
    with stack.engine.begin() as connection:
        connection.execute(update(Message).where(Message.sent_at.is_(None)).values(**values))


def make_due(stack: Stack) -> None:
    """Let the time of the next attempt come."""
    change(stack, next_attempt_at=utcnow())


def all_sent(stack: Stack) -> bool:
    return all(message.sent_at is not None for message in messages(stack))


def event_of(letter: Any) -> str:
    return str(letter["Message-ID"]).strip("<>").split(".")[0]


def test_a_queued_mail_arrives_and_its_link_is_forgotten(stack: Stack) -> None:
    with SmtpServer() as server:
        stack.start(**server.settings())
        events = queue(stack, "owner@example.com")
        wait_for(lambda: all_sent(stack))
        [letter] = server.letters
    [message] = messages(stack)
    assert SECRET_LINK in letter.get_content()
    assert event_of(letter) == events[0]
    assert (message.body, message.next_attempt_at, message.error, message.attempts) == (None, None, None, 1)
    assert (message.claimed_by, message.claimed_until) == (None, None)
    assert "opens-the-door" not in (stack.folder / "sync.log").read_text()
    assert "owner@example.com" not in (stack.folder / "sync.log").read_text()


def test_a_mail_of_a_transaction_that_is_rolled_back_is_never_sent(stack: Stack) -> None:
    with SmtpServer() as server:
        stack.start(**server.settings())
        with Session(stack.engine) as session:
            queue_mail(session, "nobody@example.com", "exists", "en", None, url=SECRET_LINK)
            session.rollback()
        queue(stack, "owner@example.com")
        wait_for(lambda: server.letters and all_sent(stack))
        assert [letter["To"] for letter in server.letters] == ["owner@example.com"]


def test_a_batch_goes_out_on_one_connection_in_an_encrypted_session_after_login(stack: Stack, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    password = tmp_path / "mail_password"
    password.write_text(PASSWORD + "\n")
    secure = {
        "APP_MAIL_SECURITY": "starttls",
        "APP_MAIL_USER": USER,
        "APP_MAIL_PASSWORD_FILE": str(password),
        "SSL_CERT_FILE": str(certificate / "cert.pem"),
    }
    queue(stack, *(f"person-{number}@example.com" for number in range(10)))
    with SmtpServer(certificate=certificate, login=True) as server:
        stack.start(**server.settings(**secure))
        wait_for(lambda: all_sent(stack))
        assert len(server.letters) == 10
        assert list(server.logins) == [True]
        # The password is changed on the server, and then in the file: the process is not restarted.
        server.password = "another one"
        queue(stack, "late@example.com")
        wait_for(lambda: messages(stack)[-1].error)
        assert "535" in (messages(stack)[-1].error or "")
        password.write_text("another one\n")
        make_due(stack)
        wait_for(lambda: all_sent(stack))
        assert (list(server.logins)[1], list(server.logins)[-1]) == (False, True)  # smtplib tries each way to log in


def test_it_tries_again_later_what_the_server_does_not_take_for_now(stack: Stack) -> None:
    with SmtpServer() as server:
        server.answer = lambda what: "451 try later" if what == "owner@example.com" else ""
        stack.start(**server.settings())
        events = queue(stack, "owner@example.com", "mate@example.com")
        wait_for(lambda: messages(stack)[0].error and messages(stack)[1].sent_at)
        waiting = messages(stack)[0]
        assert waiting.error == "recipient refused: 451 try later"
        assert waiting.next_attempt_at is not None
        assert timedelta(seconds=30) < waiting.next_attempt_at - utcnow() < timedelta(seconds=75)
        assert waiting.body is not None
        server.answer = lambda what: ""
        make_due(stack)
        wait_for(lambda: all_sent(stack))
        assert messages(stack)[0].attempts == 2
        assert sorted(map(event_of, server.letters)) == sorted(events)


@pytest.mark.parametrize(
    ("where", "answer"), [("owner@example.com", "550 no <owner@example.com> here"), ("DATA", "554 spam")]
)
def test_it_gives_up_at_once_what_the_server_refuses_for_good(stack: Stack, where: str, answer: str) -> None:
    with SmtpServer() as server:
        server.answer = lambda what: answer if what == where else ""
        stack.start(**server.settings())
        queue(stack, "owner@example.com")
        wait_for(lambda: messages(stack)[0].error)
    [message] = messages(stack)
    assert answer[:3] in (message.error or "")
    assert (message.next_attempt_at, message.sent_at, message.body, message.attempts) == (None, None, None, 1)
    complaints = [line for line in stack.log() if line["message"] == "mail given up"]
    assert [line["outbox"] for line in complaints] == [message.id]
    assert "owner@example.com" not in (stack.folder / "sync.log").read_text()


def test_it_gives_up_after_three_days(stack: Stack) -> None:
    queue(stack, "owner@example.com")
    change(stack, created_at=utcnow() - timedelta(days=3), attempts=18)
    stack.start(APP_MAIL_HOST="127.0.0.1", APP_MAIL_PORT=free_port())
    wait_for(lambda: messages(stack)[0].next_attempt_at is None)
    [message] = messages(stack)
    assert (message.sent_at, message.body, message.attempts) == (None, None, 19)
    assert "refused" in (message.error or "")


def test_a_server_that_is_away_is_asked_again_until_it_is_back(stack: Stack) -> None:
    port = free_port()
    queue(stack, *(f"person-{number}@example.com" for number in range(30)))
    stack.start(APP_MAIL_HOST="127.0.0.1", APP_MAIL_PORT=port)
    wait_for(lambda: all(message.attempts == 1 for message in messages(stack)))
    assert all("cannot hand over" in (message.error or "") for message in messages(stack))
    spread = {message.next_attempt_at for message in messages(stack)}
    assert len(spread) == 30  # they do not come back all at once
    with SmtpServer(port) as server:
        make_due(stack)
        wait_for(lambda: all_sent(stack))
        assert len(server.letters) == 30


def test_nothing_is_sent_to_a_server_that_cannot_prove_its_name(stack: Stack, tmp_path: Path) -> None:
    with SmtpServer(certificate=make_certificate(tmp_path)) as server:
        stack.start(**server.settings(APP_MAIL_SECURITY="starttls"))  # which authority vouches for it is not known
        queue(stack, "owner@example.com")
        wait_for(lambda: messages(stack)[0].error)
        assert "CERTIFICATE_VERIFY_FAILED" in (messages(stack)[0].error or "")
        assert messages(stack)[0].next_attempt_at is not None
        assert not server.recipients


def test_nothing_is_sent_in_the_clear_when_encryption_was_asked_for(stack: Stack) -> None:
    with SmtpServer() as server:
        stack.start(**server.settings(APP_MAIL_SECURITY="starttls"))
        queue(stack, "owner@example.com")
        wait_for(lambda: messages(stack)[0].error)
        assert "STARTTLS" in (messages(stack)[0].error or "")
        assert not server.recipients


def test_two_processes_share_the_mails_and_each_is_sent_once(stack: Stack) -> None:
    events = queue(stack, *(f"person-{number}@example.com" for number in range(200)))
    with SmtpServer() as server:
        server.stall = 0.02  # so that one alone does not finish before the other has started
        both = [stack.start(name, **server.settings()) for name in ("one", "two")]
        wait_for(lambda: all_sent(stack), 60)
        for process in both:
            process.terminate()
        wait_for(lambda: all(process.poll() is not None for process in both))
        sent = Counter(map(event_of, server.letters))
    assert sent == Counter(events)
    shares = [sum(line["message"] == "mail sent" for line in stack.log(name)) for name in ("one", "two")]
    assert sum(shares) == 200
    assert all(shares)


def test_a_mail_is_sent_twice_only_when_its_sender_is_killed_before_it_could_say_so(stack: Stack) -> None:
    with SmtpServer() as server:
        server.stall = 60.0
        first = stack.start("first", **server.settings())
        [event] = queue(stack, "owner@example.com")
        wait_for(lambda: server.letters)  # accepted; the answer is on its way
        assert messages(stack)[0].sent_at is None
        first.send_signal(signal.SIGKILL)
        first.wait()
        server.stall = 0.0
        assert messages(stack)[0].claimed_until is not None
        change(stack, claimed_until=utcnow())  # a minute later
        stack.start("second", **server.settings())
        wait_for(lambda: all_sent(stack))
        gevent.sleep(1)
        assert [letter["Message-ID"] for letter in server.letters] == [f"<{event}.cloudeye@example.com>"] * 2
        assert len({letter["Date"] for letter in server.letters}) == 1
        assert len({letter.as_string() for letter in server.letters}) == 1


def test_a_claim_is_held_while_the_server_takes_its_time(stack: Stack) -> None:
    with SmtpServer() as server:
        server.stall = 20.0
        stack.start("one", **server.settings())
        queue(stack, "owner@example.com")
        wait_for(lambda: server.letters)
        first = messages(stack)[0].claimed_until
        assert first is not None
        stack.start("two", **server.settings())
        wait_for(lambda: (messages(stack)[0].claimed_until or first) > first, 19)
        wait_for(lambda: all_sent(stack), 20)
        assert len(server.letters) == 1
        assert messages(stack)[0].attempts == 1


def test_a_mail_server_that_takes_its_time_holds_no_probe(stack: Stack) -> None:
    with SmtpServer() as server, counting_site() as (port, hits):
        server.stall = 30.0
        stack.add(f"http://127.0.0.1:{port}/", interval=1)
        stack.start(**server.settings())
        queue(stack, "owner@example.com")
        wait_for(lambda: server.letters)
        seen = len(hits["/"])
        wait_for(lambda: len(hits["/"]) >= seen + 4, 15)
        assert messages(stack)[0].sent_at is None


@pytest.mark.parametrize("poison", ["bad@example.com\r\nBcc: all@example.com", "no address", "x@y@z", "<a@b.c> SIZE=1"])
def test_a_row_that_cannot_be_sent_does_not_stop_the_others(stack: Stack, poison: str) -> None:
    with stack.engine.begin() as connection:
        row = {"channel": "mail", "event_id": "bad", "recipient": poison, "next_attempt_at": utcnow()}
        connection.execute(insert(Message).values(row))
    queue(stack, "owner@example.com", "mate@example.com")
    with SmtpServer() as server:
        stack.start(**server.settings())
        wait_for(lambda: messages(stack)[0].error and all(message.sent_at for message in messages(stack)[1:]))
        assert sorted(server.recipients) == ["mate@example.com", "owner@example.com"]
    assert messages(stack)[0].next_attempt_at is None


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)  # MariaDB keeps nothing that is no time
def test_a_row_that_cannot_be_read_does_not_stop_the_others(stack: Stack) -> None:
    queue(stack, "unreadable@example.com", "owner@example.com", "mate@example.com")
    with stack.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE outbox SET created_at = 'nonsense' WHERE id = 1")
    with SmtpServer() as server:
        stack.start(**server.settings())
        wait_for(lambda: len(server.letters) == 2)
        with stack.engine.connect() as connection:
            row = connection.exec_driver_sql("SELECT next_attempt_at, error FROM outbox WHERE id = 1").one()
        assert tuple(row) == (None, "the row cannot be read")
        assert sorted(server.recipients) == ["mate@example.com", "owner@example.com"]


def test_a_letter_at_which_the_server_hangs_up_does_not_stop_the_others(stack: Stack) -> None:
    with SmtpServer() as server:
        server.answer = lambda what: "hang up" if what == "poison@example.com" else ""
        queue(stack, "poison@example.com", "owner@example.com", "mate@example.com")
        stack.start(**server.settings())
        wait_for(lambda: messages(stack)[0].error and all(message.sent_at for message in messages(stack)[1:]))
        assert messages(stack)[0].next_attempt_at is not None


def test_a_row_of_another_channel_is_left_to_who_knows_it(stack: Stack) -> None:
    with stack.engine.begin() as connection:
        row = {"channel": "pigeon", "event_id": "p", "recipient": "loft", "next_attempt_at": utcnow()}
        connection.execute(insert(Message).values(row))
    with SmtpServer() as server:
        stack.start(**server.settings())
        queue(stack, "owner@example.com")
        wait_for(lambda: messages(stack)[1].sent_at)
    assert (messages(stack)[0].attempts, messages(stack)[0].claimed_by) == (0, None)


def test_it_ends_in_time_though_the_mail_server_does_not_answer(stack: Stack) -> None:
    with SmtpServer() as server:
        server.stall = 60.0
        process = stack.start(**server.settings())
        queue(stack, "owner@example.com", "mate@example.com")
        wait_for(lambda: server.letters)
        process.terminate()
        wait_for(lambda: process.poll() is not None, 15)
    assert process.returncode == 0
    assert [message.claimed_by for message in messages(stack)] == [None, None]


def test_without_a_mail_server_each_letter_lies_in_a_file(stack: Stack) -> None:
    stack.start()
    [event] = queue(stack, "owner@example.com")
    wait_for(lambda: all_sent(stack))
    folder = stack.folder / "mail"
    assert [path.name for path in folder.iterdir()] == [f"{event}.eml"]
    assert oct((folder / f"{event}.eml").stat().st_mode & 0o777) == "0o600"
    assert "To: owner@example.com" in (folder / f"{event}.eml").read_text()


# -- with the application --------------------------------------------------------------------------------------

NEW = {"username": "new", "email": "new@example.com"}


@contextmanager
def full_outbox(world: World) -> Iterator[None]:
    """While this lasts the database takes no message."""
    with world.app.app_context():
        if db.engine.dialect.name == "sqlite":
            refusal = "BEGIN SELECT RAISE(ABORT, 'the outbox is full'); END"
        else:
            refusal = "FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the outbox is full'"
        with db.engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE TRIGGER full_outbox BEFORE INSERT ON outbox {refusal}")
        try:
            yield
        finally:
            with db.engine.begin() as connection:
                connection.exec_driver_sql("DROP TRIGGER full_outbox")


def test_a_user_whose_welcome_mail_cannot_be_queued_is_not_made(world: World) -> None:
    admin = world.log_in("admin")
    with full_outbox(world):
        answer = admin.asks("POST", "users", NEW)
        assert answer.status_code == 500
        assert answer.json == {"status": "error", "message": "Something went wrong on our side.", "data": None}
    assert admin.gets(f"users?email={NEW['email']}").json["data"]["users"] == []
    with world.app.app_context():
        assert db.session.scalars(select(OneTimeToken)).all() == []
    assert admin.asks("POST", "users", NEW).status_code == 201
    with world.app.app_context():
        assert db.session.scalars(select(Message.recipient)).all() == [NEW["email"]]


def test_a_user_who_is_refused_gets_no_mail(world: World) -> None:
    admin = world.log_in("admin")
    assert admin.asks("POST", "users", {**NEW, "email": "owner@example.com"}).status_code == 400
    with world.app.app_context():
        assert db.session.scalars(select(Message)).all() == []


@pytest.mark.parametrize(
    "address", ['"quoted"@example.com', "a@[127.0.0.1]", "a@☃.example", "a@example.com\r\nBcc: b@example.com"]
)
def test_an_address_that_cannot_be_written_to_gets_no_account(world: World, address: str) -> None:
    answer = world.log_in("admin").asks("POST", "users", {**NEW, "email": address})
    assert answer.status_code == 400
    assert list(answer.json["data"]) == ["email"]
