"""Mail on its way out: rendered and written down in the transaction that is its reason; sync sends it.

A mail is rendered when it is queued, in the recipient's language and time zone, from a template in ``mails/``:
its first line is the subject, the rest the text. No template shows what a stranger could have chosen, such as a
name given at registration: mail goes to addresses that nobody has confirmed yet.
"""

from __future__ import annotations

import uuid
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from babel.support import Translations
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy.orm import Session

from cloudeye.models import LANGUAGES, Message, utcnow
from cloudeye.moments import show_time, zone_of
from cloudeye.services.mail import BadRecipient, check_recipient

__all__ = ["ALERTS", "TEMPLATES", "BadRecipient", "queue_mail", "render"]

PACKAGE = Path(__file__).parents[1]
MAILS, TRANSLATIONS = PACKAGE / "mails", PACKAGE / "translations"
TEMPLATES = (
    "welcome", "verify", "exists", "reset", "email_change", "email_changed", "password_changed", "alert_confirm",
)  # fmt: skip
ALERTS = ("alert", "alert_group", "alert_slack")  # see services/alerts.py, which queues them itself


def queue_mail(
    session: Session,
    recipient: str,
    template: str,
    language: str | None,
    time_zone: str | None,
    *,
    withdrawn: bool = False,
    **values: Any,
) -> Message:
    """Add a mail to the session's transaction, and flush it; sync sends it once the caller has committed.

    Args:
        session: committed by the caller.
        recipient: a mail address.
        template: one of TEMPLATES.
        language: of the recipient, one of ``models.LANGUAGES``; None is English.
        time_zone: of the recipient, a name of the IANA database; None is UTC.
        withdrawn: never send it: for work that must look the same whether or not somebody is to be told.
        values: what the template asks for: always ``url`` (where the link leads); ``expires_at`` (an aware time)
            for welcome, verify, reset, email_change and alert_confirm; ``changed_at`` for email_changed and
            password_changed; ``email`` (the new address) for email_changed.

    Returns:
        The row.

    Raises:
        BadRecipient: the address cannot be one.
        ValueError: there is no such template or language, or a time has no zone.
        jinja2.UndefinedError: a value is missing.
        sqlalchemy.exc.SQLAlchemyError: the row cannot be written.
    """
    check_recipient(recipient)
    language = language or LANGUAGES[0]
    subject, body = render(template, language, time_zone, values)
    message = Message(
        channel="mail",
        event_id=uuid.uuid4().hex,
        recipient=recipient,
        language=language,
        subject=subject[:255],
        body=None if withdrawn else body,
        next_attempt_at=None if withdrawn else utcnow(),
    )
    session.add(message)
    session.flush()
    return message


def prepare(templates: tuple[str, ...] = TEMPLATES + ALERTS) -> None:
    """Read templates and every catalogue, which takes too long to do it while a request or a transaction waits."""
    for language in LANGUAGES:
        for template in templates:
            _environment(language).get_template(f"{template}.txt")


def render(template: str, language: str, time_zone: str | None, values: dict[str, Any]) -> tuple[str, str]:
    """Return subject and text of a mail; the arguments are those of `queue_mail`."""
    if template not in TEMPLATES + ALERTS:
        raise ValueError(f"there is no mail named {template!r}")
    if language not in LANGUAGES:
        raise ValueError(f"there is no mail in {language!r}")
    zone = zone_of(time_zone)
    host = urlsplit(values.get("url", "")).netloc
    text = (
        _environment(language)
        .get_template(f"{template}.txt")
        .render(**values, host=host, moment=lambda time: show_time(time, language, zone))
    )
    subject, _, body = text.partition("\n")
    return subject.strip(), body.strip() + "\n"


@cache
def _environment(language: str) -> Environment:
    environment = Environment(  # noqa: S701 - plain text
        loader=FileSystemLoader(MAILS),
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        keep_trailing_newline=True,
        auto_reload=False,
    )
    environment.policies["ext.i18n.trimmed"] = True
    translations = Translations.load(TRANSLATIONS, [language])
    environment.install_gettext_translations(translations, newstyle=True)  # type: ignore[attr-defined]
    # For texts of a catalogue, which are no templates: a % in one is a %.
    environment.filters["translated"] = lambda text: translations.gettext(text) if text else text
    return environment
