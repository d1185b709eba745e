"""What somebody is told of events: which ones, together or apart, and in which words for which channel.

Nothing here asks the database. What renders texts (Jinja2, Babel) is imported with the first alert, so that a process
that never tells anybody anything does not carry it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cloudeye.models import LANGUAGES, SEVERITIES
from cloudeye.phrases import N_

GROUP_FROM = 3  # events of one kind and one owner that come together are told together
GROUP_BYTES = 60_000  # of JSON, for one webhook: a probe sends 65,536 at most
GROUP_EVENTS = 100  # in one webhook
SHOWN = {"mail": 50, "slack": 20}  # events of a group that are named; the others are counted
MOST_CHANGES, MOST_LINES, LONGEST_TEXT, LONGEST_NAME = 10, 60, 300, 120
LONGEST_DETAIL = 4_000  # characters of a text in a webhook: of a diff
JUDGED = ("page", "finding")  # the kinds that a target's minimum_severity is about
TYPES = {"down": "site.down", "up": "site.up", "page": "page.changed", "certificate": "certificate.ending"}
OWN = 0  # stands for a target's number where alerts go to the owner's own address
# What templates translate.
SEVERITY_NAMES = (N_("info"), N_("low"), N_("medium"), N_("high"), N_("critical"))
CHANGE_NAMES = (N_("opened"), N_("reopened"), N_("fixed"), N_("changed"))


@dataclass(frozen=True, slots=True)
class Happening:
    """An event, and the site that it is about."""

    event_id: str
    kind: str
    severity: str | None
    data: dict[str, Any]
    at: datetime
    site_id: int
    site_name: str
    site_url: str


@dataclass(frozen=True, slots=True)
class Target:
    """Who is told. `id` is OWN for the owner's own address, which is told where there is no target at all."""

    id: int
    kind: str
    address: str
    name: str = ""
    kinds: Sequence[str] | None = None
    minimum_severity: str = SEVERITIES[0]
    language: str = LANGUAGES[0]
    time_zone: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where links in alerts lead, and what the links that need no login are signed with.

    `others` are further secrets whose signatures are good.
    """

    url: str
    secret: str = field(repr=False)
    others: tuple[str, ...] = field(default=(), repr=False)

    def stop_token(self, target_id: int, address: str) -> str:
        """Return what stops the mails to a target: anybody who got one may, and nobody else."""
        return _stop_token(self.secret, target_id, address)

    def stops(self, target_id: int, address: str, token: str) -> bool:
        """Is this what stops the mails to a target, signed with any of the secrets."""
        return any(
            hmac.compare_digest(_stop_token(secret, target_id, address).encode(), token.encode())
            for secret in (self.secret, *self.others)
        )

    def unsubscribe(self, target_id: int, address: str) -> str:
        """Return the URL that a mail program asks by POST, and a browser shows a button at (RFC 8058)."""
        return f"{self.url}/unsubscribe?token={self.stop_token(target_id, address)}"


def _stop_token(secret: str, target_id: int, address: str) -> str:
    said = f"stop {target_id} {address}".encode()
    digest = hmac.new(secret.encode(), said, hashlib.sha256).digest()[:15]
    return f"{target_id}.{base64.urlsafe_b64encode(digest).decode('ascii')}"


def is_wanted(target: Target, event: Happening) -> bool:
    """Is the target told of such events."""
    if target.kinds is not None and event.kind not in target.kinds:
        return False
    if event.kind not in JUDGED or event.severity not in SEVERITIES or event.data.get("restored"):
        return True
    return SEVERITIES.index(event.severity) >= SEVERITIES.index(target.minimum_severity)


def bundle(place: Place, target: Target, events: Iterable[Happening]) -> list[tuple[Happening, ...]]:
    """Put together what one message tells, in the order in which it happened.

    Args:
        place: where the links lead, which have a length.
        target: its channel says how much goes into one message.
        events: of one owner, that came together and are wanted.

    Returns:
        Each event once: alone, or with the others of its kind where there are GROUP_FROM or more.
    """
    kinds: dict[str, list[Happening]] = {}
    for event in sorted(events, key=lambda one: (one.at, one.event_id)):
        kinds.setdefault(event.kind, []).append(event)
    bundles: list[tuple[Happening, ...]] = []
    for together in kinds.values():
        if len(together) < GROUP_FROM:
            bundles.extend((event,) for event in together)
        elif target.kind == "webhook":
            bundles.extend(_parts(together, place.url))
        else:
            bundles.append(tuple(together))
    return sorted(bundles, key=lambda one: one[0].at)


def _parts(events: Sequence[Happening], url: str) -> list[tuple[Happening, ...]]:
    parts: list[tuple[Happening, ...]] = []
    part: list[Happening] = []
    size = 0
    for event in events:
        length = len(_json(_entry(event, url)).encode())
        if part and (size + length > GROUP_BYTES or len(part) == GROUP_EVENTS):
            parts.append(tuple(part))
            part, size = [], 0
        part.append(event)
        size += length
    return [*parts, tuple(part)]


def name_of(events: Sequence[Happening], target: Target) -> str:
    """Return the name of a message: the event's or, of several, one that is made from theirs; and the target."""
    if len(events) == 1:
        name = events[0].event_id
    else:
        digest = hashlib.sha256(",".join(sorted(event.event_id for event in events)).encode()).hexdigest()
        name = f"g{digest[:31]}"
    return f"{name}.{target.id}"


def compose(place: Place, target: Target, events: Sequence[Happening]) -> tuple[str, str]:
    """Write what a target is told of one event or several of a kind.

    Returns:
        Subject and body. Only mail has a subject; the body of the other channels is JSON.
    """
    if target.kind == "webhook":
        return "", _json(_payload(place, target, events))
    if target.kind == "slack":
        return "", _json({"text": _slack(target, _values(place, target, events))})
    return _mail(place, target, events)


def compose_test(place: Place, target: Target, now: datetime) -> tuple[str, str]:
    """Write a message that only shows that messages arrive. Returns subject and body."""
    if target.kind == "webhook":
        return "", _json(
            {"type": "test", "timestamp": _moment(now), "data": {"what": f"A test of the target {target.name}"}}
        )
    values = {
        "kind": "test", "url": f"{place.url}/", "at": now, "target": target.name, "severity": "", "changes": [],
        "diff": [], "weaknesses": [], "grade": "", "events": [], "count": 1, "more": 0,
        "stop": place.unsubscribe(target.id, target.address),
    }  # fmt: skip
    if target.kind == "slack":
        return "", _json({"text": _slack(target, values)})
    return _render("alert", target, values)


# -- webhook ---------------------------------------------------------------------------------------------------


def type_of(event: Happening) -> str:
    """Return what receivers tell events apart by: site.down, finding.opened and the like."""
    if event.kind == "page" and event.data.get("restored"):
        return "page.restored"
    if event.kind == "finding":
        changes = {item["change"] for item in _items(event)}
        return f"finding.{changes.pop()}" if len(changes) == 1 else "finding.changed"
    return TYPES[event.kind]


def say(event: Happening) -> str:
    """Say an event in one English sentence."""
    name, data = line(event.site_name, LONGEST_NAME), event.data
    if event.kind == "down":
        return f"{name} is down: {line(data.get('cause') or 'no reason is known')}"
    if event.kind == "up":
        return f"{name} is up again"
    if event.kind == "page":
        if data.get("restored"):
            return f"The page of {name} is as it was"
        changes = _changes(event)
        return f"The page of {name} changed" + (f": {changes[0]}" if changes else "")
    if event.kind == "certificate":
        return f"The certificate of {name} ends on {line(data.get('expires_at') or 'an unknown day')}"
    items = _items(event)
    if len(items) != 1:
        return f"{len(items)} weaknesses of {name} were found or fixed"
    fixed = "fixed" if items[0]["change"] == "fixed" else "found"
    return f"{name}: {items[0]['title']}{items[0]['of']} was {fixed}"


def _payload(place: Place, target: Target, events: Sequence[Happening]) -> dict[str, Any]:
    if len(events) == 1:
        return _entry(events[0], place.url)
    name, _, _ = name_of(events, target).partition(".")
    return {
        "id": name,
        "type": "group",
        "timestamp": _moment(events[-1].at),
        "data": {
            "what": f"{len(events)} events came together",
            "events": [_entry(event, place.url) for event in events],
        },
    }


def _entry(event: Happening, url: str) -> dict[str, Any]:
    details = {name: _bounded(value) for name, value in list(event.data.items())[:20]}
    return {
        "id": event.event_id,
        "type": type_of(event),
        "timestamp": _moment(event.at),
        "data": {
            "what": say(event),
            "severity": event.severity,
            "site": {"id": event.site_id, "name": event.site_name, "url": event.site_url},
            "details": details,
            "links": {"page": f"{url}/sites/{event.site_id}", "api": f"{url}/api/v1/sites/{event.site_id}"},
        },
    }


def _bounded(value: Any) -> Any:
    """Return what a receiver is shown of a value: texts and lists end somewhere, nothing is nested deeply."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST_DETAIL else value[: LONGEST_DETAIL - 1] + "…"
    if isinstance(value, list):
        return [_bounded(inner) for inner in value[:MOST_CHANGES]]
    if isinstance(value, dict):
        return {str(name)[:40]: line(inner) for name, inner in list(value.items())[:10]}
    return value


def _json(value: Any) -> str:
    # Halves of characters, which JSON lets through, cannot be sent.
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace").decode()


def _moment(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# -- texts for people ------------------------------------------------------------------------------------------


def line(value: object, limit: int = LONGEST_TEXT, *, blanks: bool = False) -> str:
    """Return a value as one printable line that ends somewhere, with its `blanks` as they are or one between words."""
    text = "".join(char if char.isprintable() else " " for char in str(value)[: 2 * limit])
    text = text if blanks else " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _mail(place: Place, target: Target, events: Sequence[Happening]) -> tuple[str, str]:
    stop = place.unsubscribe(target.id, target.address) if target.id != OWN else ""
    values = {**_values(place, target, events), "stop": stop, "targets": f"{place.url}/targets"}
    return _render("alert" if len(events) == 1 else "alert_group", target, values)


def _slack(target: Target, values: dict[str, Any]) -> str:
    subject, body = _render("alert_slack", target, _escaped(values))
    return f"{subject}\n{body}".strip()


def _values(place: Place, target: Target, events: Sequence[Happening]) -> dict[str, Any]:
    """Return what the templates ask for."""
    first, shown = events[0], SHOWN[target.kind]
    alone = len(events) == 1
    return {
        **_facts(first),
        "url": f"{place.url}/sites/{first.site_id}" if alone else f"{place.url}/",
        "events": [_facts(event) for event in events[:shown]],
        "count": len(events),
        "more": max(0, len(events) - shown),
        "target": target.name,
    }


def _facts(event: Happening) -> dict[str, Any]:
    data = event.data
    return {
        "kind": event.kind,
        "severity": event.severity if event.kind in JUDGED and event.severity else "",
        "at": event.at,
        "name": line(event.site_name, LONGEST_NAME),
        "address": line(event.site_url, 2048),
        "cause": line(data.get("cause") or "") if event.kind == "down" else "",
        "since": _time(data.get("since")),
        "restored": bool(data.get("restored")),
        "restless": bool(data.get("restless")),
        "changes": _changes(event),
        "diff": _diff(event),
        "weaknesses": _items(event),
        "grade": line(data.get("grade") or "", 2),
        "expires_at": _time(data.get("expires_at")),
    }


def _changes(event: Happening) -> list[str]:
    """Return what changed of a page, the worst first."""
    given = event.data.get("changes")
    if event.kind != "page" or not isinstance(given, list):
        return []
    return [line(one["text"]) for one in given[:MOST_CHANGES]]


def _diff(event: Happening) -> list[str]:
    given = event.data.get("diff")
    return [line(one, blanks=True) for one in given.splitlines()[:MOST_LINES]] if isinstance(given, str) else []


def _items(event: Happening) -> list[dict[str, str]]:
    """Return which weaknesses came and went, with their names, which are translated where there is a template."""
    from cloudeye.services.findings.catalogue import CATALOGUE

    if event.kind != "finding":
        return []
    given = event.data.get("changes")
    found = []
    for one in given[:MOST_CHANGES] if isinstance(given, list) else []:
        code, subject = str(one.get("code", "")), one.get("subject")
        found.append({
            "title": line(CATALOGUE[code].title if code in CATALOGUE else code),
            "of": f" ({line(subject, 160)})" if subject else "",
            "severity": one["severity"] if one.get("severity") in SEVERITIES else event.severity or "",
            "change": one["change"] if one.get("change") in CHANGE_NAMES else "changed",
        })  # fmt: skip
    return found


def _time(value: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return time if time.tzinfo is not None else None


def _escaped(value: Any) -> Any:
    """Escape what Slack reads as markup (https://docs.slack.dev/messaging/formatting-message-text#escaping)."""
    if isinstance(value, str):
        return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if isinstance(value, dict):
        return {name: _escaped(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_escaped(inner) for inner in value]
    return value


def _render(template: str, target: Target, values: dict[str, Any]) -> tuple[str, str]:
    from cloudeye.services.outbox import render

    language = target.language if target.language in LANGUAGES else LANGUAGES[0]
    return render(template, language, target.time_zone, values)
