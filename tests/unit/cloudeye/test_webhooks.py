"""What is signed and how, what a receiver's answer means, and when it wants to be asked again."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cloudeye.services.answer import Answer
from cloudeye.services.ask import MAX_REQUEST_BODY, Ask
from cloudeye.services.delivery import NotDelivered, Parcel
from cloudeye.services.probe import Limits, ProbeResult, Timings
from cloudeye.services.webhooks import (
    ANSWER_BYTES,
    LONGEST_WAIT,
    REFUSALS,
    TIMEOUT,
    Hook,
    judge,
    limits_of,
    make_secret,
    retry_after,
    sign,
)

NOW = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)
PARCEL = Parcel(
    "webhook", "e" * 32 + ".7", "https://hooks.example.com/x", "en", "", '{"type":"site.down"}', NOW, 7, make_secret()
)


def result(status: int | None, code: str | None = None, **headers: str) -> ProbeResult:
    """What a probe makes of an answer with this status."""
    given = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    answer = None if status is None else Answer(status, given, b"", PARCEL.recipient, False)
    return ProbeResult(
        "down" if code else "up", status, 1.0, code, code and "because", Timings(), None, PARCEL.recipient, 0, 0, False,
        answer,
    )  # fmt: skip


def test_a_signature_is_the_one_of_the_standards_own_example() -> None:
    """That of https://docs.svix.com/receiving/verifying-payloads/how-manual, which Standard Webhooks took over."""
    signature = sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_secrets_are_long_and_differ() -> None:
    made = {make_secret() for _ in range(100)}
    assert len(made) == 100
    assert {len(base64.b64decode(secret.removeprefix("whsec_"))) for secret in made} == {32}


@pytest.mark.parametrize("secret", ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_not base64!"])
def test_what_is_no_secret_signs_nothing(secret: str) -> None:
    with pytest.raises(ValueError, match=r"whsec_|base64"):
        sign(secret, "id", 1, b"")


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
@pytest.mark.parametrize("code", [None, "read_timeout", "bad_response"])
def test_a_status_of_success_is_acceptance_whatever_follows(status: int, code: str | None) -> None:
    judge(result(status, code), NOW)


@pytest.mark.parametrize(
    ("status", "code", "attempts", "gone"),
    [
        (500, "http_status", None, False),
        (502, "http_status", None, False),
        (503, "http_status", None, False),
        (408, "http_status", None, False),
        (425, "http_status", None, False),
        (429, "http_status", None, False),
        (400, "http_status", REFUSALS, False),
        (401, "http_status", REFUSALS, False),
        (404, "http_status", REFUSALS, False),
        (301, "http_status", REFUSALS, False),
        (307, "http_status", REFUSALS, False),
        (410, "http_status", None, True),
        (None, "connect_timeout", None, False),
        (None, "dns_not_found", None, False),
        (None, "tls_failed", None, False),
        (None, "total_timeout", None, False),
        (None, "refused_address", REFUSALS, False),
        (None, "bad_host", REFUSALS, False),
    ],
)
def test_other_answers_say_whether_to_try_again(
    status: int | None, code: str, attempts: int | None, gone: bool
) -> None:
    with pytest.raises(NotDelivered) as error:
        judge(result(status, code), NOW)
    assert (error.value.attempts, error.value.gone, error.value.final) == (attempts, gone, gone)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        (" 5 ", 5),
        ("0", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("99999999", LONGEST_WAIT.total_seconds()),
        ("9" * 400, None),
        ("Sat, 21 Nov 2026 20:02:00 GMT", 120),
        ("Sat, 21 Nov 2026 19:00:00 GMT", None),
        ("Sun, 22 Nov 2099 20:00:00 GMT", LONGEST_WAIT.total_seconds()),
        ("Sat, 99 Nov 2026 20:02:00 GMT", None),
    ],
)
def test_when_a_receiver_wants_to_be_asked_again(text: str | None, seconds: float | None) -> None:
    assert retry_after(text, NOW) == (None if seconds is None else timedelta(seconds=seconds))


def test_a_wish_to_wait_is_heard() -> None:
    with pytest.raises(NotDelivered) as error:
        judge(result(503, "http_status", retry_after="90"), NOW)
    assert error.value.wait == timedelta(seconds=90)


def test_what_is_sent_is_bounded_and_follows_nobody() -> None:
    asked: list[Ask] = []

    def ask(one: Ask) -> ProbeResult:
        asked.append(one)
        return result(204)

    hook = Hook("cloudeye", ask, lambda: NOW)
    hook.send(PARCEL)
    hook.send(replace(PARCEL, channel="slack", secret=None))
    signed, plain = asked
    assert (signed.method, signed.follow_redirects, signed.timeout) == ("POST", False, TIMEOUT)
    headers = dict(signed.headers)
    assert headers["webhook-id"] == PARCEL.event_id
    assert headers["webhook-timestamp"] == str(int(NOW.timestamp()))
    assert headers["webhook-signature"] == sign(
        PARCEL.secret or "", PARCEL.event_id, int(NOW.timestamp()), PARCEL.body.encode()
    )
    assert {name for name, _ in plain.headers} == {"content-type", "user-agent"}
    assert signed.body == plain.body == PARCEL.body.encode()


@pytest.mark.parametrize("parcel", [replace(PARCEL, secret=None), replace(PARCEL, body="x" * (MAX_REQUEST_BODY + 1))])
def test_what_cannot_be_sent_is_given_up_at_once(parcel: Parcel) -> None:
    def nobody(ask: Ask) -> ProbeResult:
        raise AssertionError(ask.url)

    with pytest.raises(NotDelivered) as error:
        Hook("cloudeye", nobody).send(parcel)
    assert error.value.final


def test_little_is_read_of_an_answer() -> None:
    limits = limits_of(Limits(True, 3, 60, 60, 10_000_000, 5))
    assert (limits.max_bytes, limits.max_redirects, limits.total_timeout) == (ANSWER_BYTES, 0, TIMEOUT)
    assert (limits.allow_private, limits.connect_timeout) == (True, 3)
