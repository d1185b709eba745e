"""The form with all settings of a site: what stands in it, and what of it was typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from flask import request
from flask_login import current_user
from marshmallow import ValidationError

from cloudeye.i18n import N_, gettext
from cloudeye.models import Site
from cloudeye.moments import zone_of
from cloudeye.pages.base import Form
from cloudeye.pages.sites import number_of, typed_number, words_of
from cloudeye.schemas.sites import SiteChangeSchema
from cloudeye.services.maintenance import WEEKDAYS
from cloudeye.services.sites import MASK

WEEKDAY_WORDS = (N_("mon"), N_("tue"), N_("wed"), N_("thu"), N_("fri"), N_("sat"), N_("sun"))  # of the template
LINES = (
    "name", "url", "tags", "interval", "timeout", "method", "headers", "body", "expected_statuses", "keyword_present",
    "keyword_absent", "retries", "selectors", "patterns", "redirect_paths", "alerts_to", "at", "minutes", "time_zone",
    "start", "end", "version",
)  # fmt: skip
TICKS = ("follow_redirects", "paused")
CHOICES = ("weekdays", "keep", "targets")


def form_of(site: Site, *, is_owner: bool) -> Form:
    """Return the form with what is set; to others than the owner without what lets somebody in."""
    headers = {name: value if is_owner else MASK for name, value in (site.headers or {}).items()}
    rules = site.ignore_rules or {}
    return Form(
        "site",
        name=site.name,
        url=site.url,
        tags=" ".join(site.tags),
        interval=site.interval,
        timeout="" if site.timeout is None else f"{site.timeout:g}",
        method=site.method,
        headers="\n".join(f"{name}: {value}" for name, value in headers.items()),
        body=(site.body if is_owner or not site.body else MASK) or "",
        expected_statuses=site.expected_statuses,
        keyword_present=site.keyword_present or "",
        keyword_absent=site.keyword_absent or "",
        follow_redirects=site.follow_redirects,
        retries=site.retries,
        paused=site.paused,
        selectors="\n".join(rules.get("selectors", ())),
        patterns="\n".join(rules.get("patterns", ())),
        ignore_rules="",
        redirect_paths="\n".join(site.redirect_paths or ()),
        alerts_to="all" if site.alert_targets is None else "some",
        targets=site.alert_targets or [],
        alert_targets="",
        keep=list(range(len(site.maintenance or ()))),
        weekdays=[],
        at="",
        minutes="",
        time_zone=str(zone_of(current_user.time_zone)),
        start="",
        end="",
        maintenance="",
        version=site.version,
    )


def read_form(form: Form, site: Site) -> dict[str, Any]:
    """Take what was typed and return the settings that it stands for.

    Raises:
        marshmallow.ValidationError: explained by the form.
    """
    form.read(*LINES)
    for name in TICKS:
        form.values[name] = name in request.form
    for name in CHOICES:
        form.values[name] = request.form.getlist(name)
    for name in ("keep", "targets"):
        form.values[name] = [number for number in map(number_of, form.values[name]) if number is not None]
    typed = form.values
    # The same text with other ends of lines, as browsers send them, is no change.
    for name in ("body", "keyword_present", "keyword_absent"):
        kept = getattr(site, name) or ""
        if _ends(typed[name]) == _ends(kept):
            typed[name] = kept
        elif name == "body":
            typed[name] = _ends(typed[name])
    rules = {kind: _lines(typed[kind]) for kind in ("selectors", "patterns")}
    return form.check(
        SiteChangeSchema(unknown="exclude"),
        tags=words_of(typed["tags"]),
        interval=typed_number(typed["interval"]),
        timeout=_seconds(typed["timeout"]),
        retries=typed_number(typed["retries"]),
        headers=_headers(typed["headers"]),
        body=typed["body"] or None,
        keyword_present=typed["keyword_present"] or None,
        keyword_absent=typed["keyword_absent"] or None,
        ignore_rules={kind: found for kind, found in rules.items() if found} or None,
        redirect_paths=_lines(typed["redirect_paths"]) or None,
        alert_targets=None if typed["alerts_to"] == "all" else typed["targets"],
        maintenance=_windows(typed, site.maintenance or ()),
    )


def describe_window(window: Mapping[str, Any], clock: Any) -> str:
    """Say in a line when a maintenance window lasts."""
    if "start" in window:
        times = {name: clock(datetime.fromisoformat(window[name])) for name in ("start", "end")}
        return str(gettext("%(start)s to %(end)s", **times))
    days = ", ".join(gettext(day) for day in window["weekdays"])
    facts = {name: window[name] for name in ("at", "minutes", "time_zone")}
    return str(gettext("%(days)s at %(at)s for %(minutes)s minutes (%(time_zone)s)", days=days, **facts))


def weekdays() -> list[tuple[str, str]]:
    """Return the weekdays with their names."""
    return [(day, gettext(day)) for day in WEEKDAYS]


def _ends(text: str) -> str:
    return text.replace("\r\n", "\n")


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _seconds(text: str) -> float | str | None:
    text = text.strip().replace(",", ".")
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        return text  # which the schema refuses


def _headers(text: str) -> dict[str, str] | None:
    found: dict[str, str] = {}
    for line in _lines(text):
        name, colon, value = (part.strip() for part in line.partition(":"))
        if not colon or not name:
            said = gettext("%(line)s: write a name, a colon and a value.", line=line[:40])
            raise ValidationError({"headers": [said]})
        if name in found:
            raise ValidationError({"headers": [gettext("%(line)s: it is there twice.", line=name[:40])]})
        found[name] = value
    return found or None


def _windows(typed: Mapping[str, Any], kept: Sequence[Mapping[str, Any]]) -> list[Any] | None:
    """Return the windows that are kept, and those that were added."""
    windows: list[Any] = [window for number, window in enumerate(kept) if number in typed["keep"]]
    if typed["weekdays"] or typed["at"] or typed["minutes"]:
        weekly = {"weekdays": typed["weekdays"], "at": typed["at"], "time_zone": typed["time_zone"] or "UTC"}
        windows.append(weekly | {"minutes": typed_number(typed["minutes"])})
    if typed["start"] or typed["end"]:
        windows.append({name: _moment(typed[name]) for name in ("start", "end")})
    return windows or None


def _moment(text: str) -> str:
    """Return a moment that was chosen on a calendar, in the visitor's zone; what is none is refused by the schema."""
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M").replace(tzinfo=zone_of(current_user.time_zone)).isoformat()
    except ValueError:
        return text
