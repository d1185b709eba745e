"""Webhooks: signed as Standard Webhooks has it, sent with the guard and the bounds of a probe.

A message that is sent again has the same id and the same body; its time, and so its signature, is that of the
sending. Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from cloudeye.services.ask import MAX_REQUEST_BODY, Ask, StatusSet
from cloudeye.services.delivery import NotDelivered, Parcel

if TYPE_CHECKING:
    from cloudeye.services.probe import Limits, ProbeResult

PREFIX = "whsec_"
SECRET_BYTES = 32
ACCEPTED = StatusSet(((200, 299),))
TIMEOUT = 15.0  # seconds for all of it
ANSWER_BYTES = 4096  # that are read of an answer, whose status is all that counts
LONGEST_WAIT = timedelta(hours=6)  # that a receiver may ask for
# Attempts before a refusal by the receiver, or by our own guard, counts as its last word: 15 minutes or so, in which a
# release of the receiver may be finished.
REFUSALS = 5
GONE = 410
# Statuses that say "later", and nothing of the message (RFC 9110, 15.5.9 and 15.6; RFC 6585, 4; RFC 8470, 5.2).
LATER = frozenset({408, 425, 429})
# What the guard says of an address, and of what cannot be sent: waiting alone will not mend it.
REFUSED = frozenset({"bad_url", "bad_scheme", "bad_host", "bad_port", "refused_address", "refused_request"})


def make_secret() -> str:
    """Return a new secret: whsec_ and 32 random bytes in base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii")


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the signature of a message: v1, a comma, and HMAC-SHA256 over id, time and body in base64.

    Args:
        secret: as `make_secret` returned it.
        message_id: what goes into webhook-id.
        timestamp: what goes into webhook-timestamp, in seconds since 1970.
        body: what is sent, to the byte.

    Raises:
        ValueError: the secret is none.
    """
    if not secret.startswith(PREFIX):
        raise ValueError(f"a webhook's secret begins with {PREFIX}")
    key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode("ascii")


def limits_of(limits: Limits) -> Limits:
    """Return the bounds of a probe for what is sent here: little is read of the answer, and no redirect followed."""
    return replace(
        limits, read_timeout=TIMEOUT, total_timeout=TIMEOUT, max_bytes=min(limits.max_bytes, ANSWER_BYTES),
        max_redirects=0,
    )  # fmt: skip


class Hook:
    """Sends to URLs. Each message has a connection of its own: receivers are many, messages to one are few.

    Args:
        name: what we call ourselves.
        ask: sends one request; `services.probe.probe` with the limits of `limits_of`.
        clock: the time that is signed.
    """

    def __init__(
        self, name: str, ask: Callable[[Ask], ProbeResult], clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.name, self.ask, self.clock = name, ask, clock

    def open(self) -> None:
        """There is nothing to make sure of."""

    def close(self) -> None:
        """There is nothing to let go of."""

    def send(self, parcel: Parcel) -> None:
        """Hand a message over; when this returns, its receiver has answered with a status of success.

        Raises:
            NotDelivered: it has not.
        """
        body = parcel.body.encode()
        if len(body) > MAX_REQUEST_BODY:
            raise NotDelivered("the message is too long", final=True)
        result = self.ask(
            Ask(
                parcel.recipient,
                method="POST",
                headers=self.headers(parcel, body),
                body=body,
                follow_redirects=False,
                timeout=TIMEOUT,
                expected=ACCEPTED,
            )
        )
        judge(result, self.clock())

    def headers(self, parcel: Parcel, body: bytes) -> tuple[tuple[str, str], ...]:
        """Return what goes with a message; a webhook's says who it is from."""
        common = (("content-type", "application/json"), ("user-agent", f"{self.name}-webhook/1"))
        if parcel.channel != "webhook":
            return common
        if parcel.secret is None:
            raise NotDelivered("the target has no secret to sign with", final=True)
        timestamp = int(self.clock().timestamp())
        return (
            *common,
            ("webhook-id", parcel.event_id),
            ("webhook-timestamp", str(timestamp)),
            ("webhook-signature", sign(parcel.secret, parcel.event_id, timestamp, body)),
        )


def judge(result: ProbeResult, now: datetime) -> None:
    """Say what an answer means. A status of success counts also when the rest of the answer is broken.

    Raises:
        NotDelivered: for any other status, and for none.
    """
    status = result.status_code
    if status is None:
        refused = result.code in REFUSED
        raise NotDelivered(result.error or "no answer", attempts=REFUSALS if refused else None)
    if ACCEPTED.contains(status):
        return
    text = f"answered with status {status}"
    if status == GONE:
        raise NotDelivered(f"{text}: the target is switched off", gone=True)
    header = result.answer.header("retry-after") if result.answer is not None else None
    later = status in LATER or status >= 500
    raise NotDelivered(text, wait=retry_after(header, now), attempts=None if later else REFUSALS)


def retry_after(text: str | None, now: datetime) -> timedelta | None:
    """Return how long a Retry-After header asks to wait, at most LONGEST_WAIT (RFC 9110, 10.2.3).

    Args:
        text: seconds or a date; anything else, and a date that is over, counts as nothing.
        now: to compare a date with.
    """
    text = (text or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        wait = timedelta(seconds=int(text))
    else:
        try:
            then = parsedate_to_datetime(text)
        except (ValueError, TypeError, IndexError):
            return None
        wait = (then if then.tzinfo is not None else then.replace(tzinfo=UTC)) - now
    return min(wait, LONGEST_WAIT) if wait > timedelta() else None
