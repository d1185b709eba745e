"""Alert targets: where a user's alerts go, who agreed to that, and how it is ended."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cloudeye.models import LANGUAGES, AlertTarget, Message, OneTimeToken, Site, User, email_key, utcnow
from cloudeye.phrases import N_
from cloudeye.services import alerts, netguard, one_time, webhooks
from cloudeye.services.accounts import BadToken, Desk
from cloudeye.services.mail import BadRecipient, check_recipient

MOST = 20  # targets of a user
CONFIRM_LIFETIME = timedelta(hours=24)
MOST_CONFIRMATIONS = 10  # mails in that time that a user may have sent to addresses of whoever it is
TEST_EVERY = timedelta(seconds=10)
SETTINGS = ("name", "address", "kinds", "minimum_severity", "active")


class BadTarget(Exception):
    """A target that cannot be; ``data`` holds the messages by field."""

    def __init__(self, data: dict[str, list[str]]) -> None:
        super().__init__("; ".join(f"{field}: {' '.join(said)}" for field, said in data.items()))
        self.data = data


class Refused(Exception):
    """What is asked for does not go with how things are; the text says why."""


class TooSoon(Exception):
    """It was asked for too often; the text says so. It may be asked for again after so many seconds."""

    def __init__(self, text: str, wait: timedelta) -> None:
        super().__init__(text)
        self.seconds = int(wait.total_seconds())


def create_target(
    session: Session, desk: Desk, owner: User, given: Mapping[str, Any], *, allow_private: bool
) -> tuple[AlertTarget, str | None]:
    """Add a target to the session's transaction; where somebody must agree first, queue the mail that asks.

    Args:
        session: committed by the caller.
        desk: for that mail.
        owner: whose alerts go there.
        given: name, kind and address, and the others of SETTINGS as far as they are not the default.
        allow_private: may webhooks go to private addresses.

    Returns:
        The target, and the secret that signs what a webhook gets; None for other kinds.

    Raises:
        BadTarget: it cannot be; the transaction may have been rolled back.
        Refused: there are as many as there may be.
        TooSoon: it needs one mail too many.
    """
    # Whoever adds two at once waits here for themselves.
    session.execute(select(User.id).where(User.id == owner.id).with_for_update())
    count = session.scalar(select(func.count()).select_from(AlertTarget).where(AlertTarget.owner_id == owner.id)) or 0
    if count >= MOST:
        raise Refused(N_("You have as many alert targets as there may be."))
    values = {**given, "address": _address(given["kind"], given["address"], allow_private)}
    secret = webhooks.make_secret() if given["kind"] == "webhook" else None
    target = AlertTarget(owner_id=owner.id, secret=secret, **values)
    session.add(target)
    _flush(session)
    _ask_to_confirm(session, desk, owner, target)
    return target, secret


def change_target(
    session: Session, desk: Desk, owner: User, target: AlertTarget, given: Mapping[str, Any], *, allow_private: bool
) -> None:
    """Change what is given of a target; another mail address must be confirmed, unless it is the owner's own.

    So must one that is switched on again after its reader has ended the alerts.

    What waits for the target goes to a webhook's new address, and is given up for a mail address that is no more.

    Raises:
        BadTarget: it cannot be; the transaction may have been rolled back.
        TooSoon: it needs one mail too many.
    """
    before, was_active = target.address, target.active
    for name, value in given.items():
        setattr(target, name, _address(target.kind, value, allow_private) if name == "address" else value)
    if target.address != before or given.get("active"):
        target.error = None
    target.updated_at = utcnow()
    _flush(session)
    # While nobody has agreed, the same address once more asks for another mail, and so does switching it on.
    asked_for = "address" in given or not was_active
    if target.address != before or (target.active and target.confirmed_at is None and asked_for):
        target.confirmed_at = None
        _ask_to_confirm(session, desk, owner, target)


def remove_target(session: Session, target: AlertTarget) -> None:
    """Take a target away, also from the sites that name it.

    A site that named it alone is told of to all of the owner's targets again: nobody asked for silence.
    """
    naming = select(Site).where(Site.owner_id == target.owner_id, Site.alert_targets.is_not(None))
    for site in session.scalars(naming):
        if target.id in (site.alert_targets or ()):
            site.alert_targets = [number for number in site.alert_targets or () if number != target.id] or None
    session.delete(target)
    session.flush()


def rotate_secret(session: Session, target: AlertTarget) -> str:
    """Give a webhook another secret, which signs everything from now on, and return it.

    Raises:
        Refused: the target is no webhook.
    """
    if target.kind != "webhook":
        raise Refused(N_("Only webhooks are signed with a secret."))
    target.secret = webhooks.make_secret()
    target.updated_at = utcnow()
    session.flush()
    return target.secret


def send_test(session: Session, place: alerts.Place, owner: User, target: AlertTarget) -> Message:
    """Queue a message that shows whether alerts arrive; its result is seen at the target.

    Raises:
        Refused: the target is switched off, or not confirmed yet.
        TooSoon: the last one is not ten seconds old.
    """
    if not target.active:
        raise Refused(N_("This alert target is switched off."))
    if target.confirmed_at is None:
        raise Refused(N_("This alert target is not confirmed yet."))
    now = utcnow()
    recent = (Message.target_id == target.id, Message.event_id.startswith("t"), Message.created_at > now - TEST_EVERY)
    if session.scalar(select(Message.id).where(*recent).limit(1)) is not None:
        raise TooSoon(N_("A test was sent a moment ago."), TEST_EVERY)
    whom = alerts.Target(
        target.id, target.kind, target.address, target.name,
        language=owner.language or LANGUAGES[0], time_zone=owner.time_zone,
    )  # fmt: skip
    subject, body = alerts.compose_test(place, whom, now)
    message = Message(
        channel=target.kind,
        event_id=f"t{uuid.uuid4().hex[1:]}.{target.id}",  # the names of events are hexadecimal
        recipient=target.address,
        language=whom.language,
        subject=subject[:255] or None,
        body=body,
        next_attempt_at=now,
        target_id=target.id,
    )
    session.add(message)
    session.flush()
    return message


def confirm(session: Session, token: str) -> AlertTarget:
    """Let alerts go to the address that a confirmation was mailed to.

    Raises:
        BadToken: the token was used, has expired or never was, or the target has another address by now.
    """
    found = one_time.redeem(session, "target", token)
    target = session.get(AlertTarget, found.data.get("target")) if found is not None else None
    if found is None or target is None or target.address != found.email or target.owner_id != found.user_id:
        session.rollback()
        raise BadToken
    target.confirmed_at = target.updated_at = utcnow()
    session.flush()
    return target


def find_stopped(session: Session, place: alerts.Place, token: str) -> AlertTarget:
    """Return the target that a mail's link to end its alerts is for.

    Raises:
        BadToken: there is none, or the link is not ours.
    """
    number, _, _ = token.partition(".")
    target = (
        session.get(AlertTarget, int(number)) if number.isascii() and number.isdigit() and len(number) < 19 else None
    )
    if target is None or target.kind != "mail":
        raise BadToken
    if not place.stops(target.id, target.address, token):
        raise BadToken
    return target


def stop(session: Session, target: AlertTarget) -> None:
    """Switch a target off for its reader, who must be asked again before anything more comes."""
    if target.active or target.confirmed_at is not None:
        target.active = False
        target.confirmed_at = None
        target.updated_at = utcnow()
        session.flush()


def fallback(session: Session, owner: User) -> str | None:
    """Return the address that alerts go to while there is no target: the owner's own, if it is verified."""
    if owner.email_verified_at is None:
        return None
    there = session.scalar(select(AlertTarget.id).where(AlertTarget.owner_id == owner.id).limit(1))
    return owner.email if there is None else None


def _ask_to_confirm(session: Session, desk: Desk, owner: User, target: AlertTarget) -> None:
    """Nobody is written to who did not agree; the owner of a verified address, and who gives us a URL, did."""
    own = owner.email_verified_at is not None and email_key(target.address) == owner.email_key
    if target.kind != "mail" or own:
        target.confirmed_at = utcnow()
        session.flush()
        return
    asked = (OneTimeToken.user_id == owner.id, OneTimeToken.purpose == "target", OneTimeToken.expires_at > utcnow())
    if (session.scalar(select(func.count()).select_from(OneTimeToken).where(*asked)) or 0) >= MOST_CONFIRMATIONS:
        raise TooSoon(N_("You have asked for too many confirmations; try again tomorrow."), CONFIRM_LIFETIME)
    token = one_time.issue(
        session, "target", CONFIRM_LIFETIME, user_id=owner.id, email=target.address, data={"target": target.id}
    )
    expires_at = utcnow() + CONFIRM_LIFETIME
    desk.write(session, target.address, "alert_confirm", owner, path=f"/confirm?token={token}", expires_at=expires_at)


def _address(kind: str, address: str, allow_private: bool) -> str:
    try:
        if kind != "mail":
            return netguard.check_url(address, allow_private).url
        check_recipient(address)
    except netguard.RefusedAddress as refused:
        raise BadTarget({"address": [str(refused)]}) from None
    except BadRecipient:
        raise BadTarget({"address": [N_("Not a valid email address.")]}) from None
    return address


def _flush(session: Session) -> None:
    try:
        session.flush()
    except IntegrityError:
        session.rollback()
        raise BadTarget({"name": [N_("You have an alert target of this name.")]}) from None
