"""What goes out by any channel, and why it did not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message of the outbox, as it is handed over. `event_id` is the same however often that happens.

    `recipient` is a mail address or a URL, `target_id` the AlertTarget it stands for, if it does for one, and
    `secret` what signs a webhook.
    """

    channel: str
    event_id: str
    recipient: str
    language: str
    subject: str
    body: str
    queued_at: datetime
    target_id: int | None = None
    secret: str | None = None


class NotDelivered(Exception):
    """A message was not taken. The text is fit to be shown to whoever set up the recipient.

    Attributes:
        final: another try would end the same way.
        attempts: with so many attempts it is given up; None: only its age counts.
        wait: the recipient asked not to be tried sooner.
        gone: the recipient wants nothing more at all.
    """

    def __init__(
        self,
        text: str,
        *,
        final: bool = False,
        attempts: int | None = None,
        wait: timedelta | None = None,
        gone: bool = False,
    ) -> None:
        super().__init__(text[:255])
        self.final = final or gone
        self.attempts = attempts
        self.wait = wait
        self.gone = gone
