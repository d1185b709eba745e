"""What alerts say, and that nothing a site or a stranger chose gets out of its place in them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from cloudeye.models import EVENT_KINDS, LANGUAGES
from cloudeye.services.alerts import (
    GROUP_EVENTS,
    OWN,
    Happening,
    Place,
    Target,
    bundle,
    compose,
    compose_test,
    line,
    name_of,
    say,
    type_of,
)

PLACE = Place("https://eye.example.com", "0123456789abcdef" * 4)
AT = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)
TARGETS = {kind: Target(3, kind, "owner@example.com", "My phone") for kind in ("mail", "webhook", "slack")}
DATA: dict[str, dict[str, Any]] = {
    "down": {"cause": "http_status: the site answered with status 500", "status_code": 500,
             "since": "2026-11-21T19:59:00Z"},
    "up": {"cause": "timeout", "since": "2026-11-21T19:00:00Z", "seconds": 3600},
    "page": {
        "changes": [{"kind": "script", "severity": "critical", "text": "a new script from evil.example"}],
        "diff": "--- before\n+++ now\n-Welcome\n+Hacked", "restored": False,
    },
    "finding": {
        "changes": [{"code": "no_https", "subject": "", "severity": "high", "change": "opened"}], "grade": "C",
    },
    "certificate": {"expires_at": "2026-12-01T00:00:00Z", "days": 10},
}  # fmt: skip


def happening(kind: str, number: int = 1, **changes: Any) -> Happening:
    severity = "high" if kind in ("page", "finding") else None
    made = Happening(f"{number:032x}", kind, severity, DATA[kind], AT, 7, "Shop", "https://shop.example.com/")
    return replace(made, **changes)


def text(target: Target, *events: Happening) -> str:
    subject, body = compose(PLACE, target, events)
    return f"{subject}\n{json.loads(body)['text']}" if target.kind == "slack" else f"{subject}\n{body}"


@pytest.mark.parametrize("kind", EVENT_KINDS)
@pytest.mark.parametrize("number", [1, 5])
def test_each_kind_of_event_is_said_in_each_channel(kind: str, number: int) -> None:
    events = [happening(kind, place, site_name=f"Shop {place}") for place in range(number)]
    for target in TARGETS.values():
        said = text(target, *events)
        assert all(f"Shop {place}" in said for place in range(number))
        assert "https://eye.example.com/" in said
        assert "Undefined" not in said


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("down", ["status 500", "7:59:00"]),
        ("up", ["7:00:00", "8:00:00"]),
        ("page", ["a new script from evil.example", "    +Hacked", "high"]),
        ("finding", ["The site is served without encryption", "high", "opened", "grade is C"]),
        ("certificate", ["Dec 1, 2026"]),
    ],
)
def test_a_mail_says_what_happened_and_how_to_get_no_more(kind: str, words: list[str]) -> None:
    subject, body = compose(PLACE, TARGETS["mail"], [happening(kind)])
    assert all(word in body for word in words)
    assert "Shop" in subject
    lines = body.splitlines()
    assert "https://eye.example.com/sites/7" in lines
    assert PLACE.unsubscribe(3, "owner@example.com") in lines
    own = compose(PLACE, replace(TARGETS["mail"], id=OWN), [happening(kind)])[1]
    assert "https://eye.example.com/targets" in own.splitlines()
    assert "unsubscribe" not in own


@pytest.mark.parametrize("kind", EVENT_KINDS)
@pytest.mark.parametrize("data", [{}, {"changes": None}, {"changes": [], "diff": 7, "since": "yesterday", "days": "x"}])
def test_an_event_that_lacks_everything_is_said_all_the_same(kind: str, data: dict[str, Any]) -> None:
    for target in TARGETS.values():
        assert "Shop" in text(target, happening(kind, data=data))
        assert "Shop" in text(target, *(happening(kind, place, data=data) for place in range(4)))


NASTY = "Evil\r\nBcc: all@example.com\x00\u202e <!channel> & {{ 7 * 7 }} %(x)s %"


@pytest.mark.parametrize("kind", EVENT_KINDS)
def test_what_somebody_else_chose_stays_in_its_place(kind: str) -> None:
    data = {name: NASTY if isinstance(value, str) else value for name, value in DATA[kind].items()}
    if "changes" in data:
        data["changes"] = [dict.fromkeys(data["changes"][0], NASTY)]
    event = happening(kind, site_name=NASTY, site_url=f"https://x.example/{NASTY}", data=data)
    for events in ([event], [replace(event, event_id=f"{place:032x}") for place in range(3)]):
        subject, body = compose(PLACE, TARGETS["mail"], events)
        assert subject.isprintable()
        assert all(one.replace("\u202f", " ").isprintable() for one in body.split("\n"))  # that stands in times
        assert "49" not in body
        assert not any(one.startswith("Bcc") for one in body.splitlines())
        said = json.loads(compose(PLACE, TARGETS["slack"], events)[1])["text"]
        assert "<" not in said
        assert "&lt;!channel&gt; &amp;" in said
        json.loads(compose(PLACE, TARGETS["webhook"], events)[1])


def test_a_webhook_says_all_there_is() -> None:
    assert json.loads(compose(PLACE, TARGETS["webhook"], [happening("down")])[1]) == {
        "id": f"{1:032x}",
        "type": "site.down",
        "timestamp": "2026-11-21T20:00:00.000Z",
        "data": {
            "what": "Shop is down: http_status: the site answered with status 500",
            "severity": None,
            "site": {"id": 7, "name": "Shop", "url": "https://shop.example.com/"},
            "details": DATA["down"],
            "links": {"page": "https://eye.example.com/sites/7", "api": "https://eye.example.com/api/v1/sites/7"},
        },
    }
    group = json.loads(compose(PLACE, TARGETS["webhook"], [happening("down", place) for place in range(3)])[1])
    assert group["type"] == "group"
    assert [entry["id"] for entry in group["data"]["events"]] == [f"{place:032x}" for place in range(3)]


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("page", {"restored": True}, "page.restored"),
        ("page", {}, "page.changed"),
        ("finding", {"changes": [{"code": "a", "change": "fixed"}, {"code": "b", "change": "fixed"}]}, "finding.fixed"),
        ("finding", {"changes": [{"code": "a", "change": "fixed"}, {"change": "opened"}]}, "finding.changed"),
        ("finding", {"changes": [{"code": "no_https", "change": "reopened", "subject": "x"}]}, "finding.reopened"),
        ("finding", {"changes": []}, "finding.changed"),
        ("certificate", {}, "certificate.ending"),
        ("up", {}, "site.up"),
    ],
)  # fmt: skip
def test_receivers_tell_events_apart_by_their_type(kind: str, data: dict[str, Any], expected: str) -> None:
    event = happening(kind, data=data)
    assert type_of(event) == expected
    assert say(event).startswith(
        ("Shop", "The page of Shop", "The certificate of Shop", f"{len(data.get('changes', [1]))} ")
    )


def test_a_group_is_named_after_its_events_and_its_target() -> None:
    events = [happening("down", place) for place in range(3)]
    other = replace(TARGETS["mail"], id=4)
    assert name_of(events, TARGETS["mail"]) == name_of(events[::-1], TARGETS["mail"])
    names = {name_of(events, TARGETS["mail"]), name_of(events[:2], TARGETS["mail"]), name_of(events, other)}
    assert len(names) == 3
    assert name_of(events[:1], TARGETS["mail"]) == f"{0:032x}.3"
    assert all(len(name) <= 64 for name in names)


@pytest.mark.parametrize(("number", "sizes"), [(1, [1]), (2, [1, 1]), (3, [3]), (GROUP_EVENTS + 1, [GROUP_EVENTS, 1])])
def test_events_of_a_kind_go_together_from_three_on(number: int, sizes: list[int]) -> None:
    events = [happening("down", place) for place in range(number)]
    assert [len(one) for one in bundle(PLACE, TARGETS["webhook"], events)] == sizes


def test_a_test_says_that_it_is_one() -> None:
    for kind, target in TARGETS.items():
        subject, body = compose_test(PLACE, target, AT)
        assert "test" in f"{subject}{body}"
        if kind != "mail":
            json.loads(body)


@pytest.mark.parametrize("language", LANGUAGES)
def test_times_are_those_of_the_owner(language: str) -> None:
    target = replace(TARGETS["mail"], language=language, time_zone="Asia/Shanghai")
    body = compose(PLACE, target, [happening("certificate")])[1]
    assert "(Asia/Shanghai)" in body
    assert ("Dec 1, 2026" in body) == (language == "en")


def test_only_the_mail_itself_holds_what_ends_its_alerts() -> None:
    token = PLACE.stop_token(3, "owner@example.com")
    assert token == PLACE.stop_token(3, "owner@example.com")
    others = {PLACE.stop_token(4, "owner@example.com"), PLACE.stop_token(3, "mate@example.com")}
    others.add(Place(PLACE.url, "another secret" * 4).stop_token(3, "owner@example.com"))
    assert token not in others
    assert len(others) == 3
    assert PLACE.secret not in repr(PLACE)


def test_a_line_ends_somewhere() -> None:
    assert line("x" * 10_000_000, 20) == "x" * 19 + "…"
    assert line("a\n\n  b\tc") == "a b c"
