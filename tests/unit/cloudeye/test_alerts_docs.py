"""docs/alerts.md shows what is really sent; `python -m tests.unit.cloudeye.test_alerts_docs` prints it anew."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloudeye.services.alerts import Happening, Place, Target, compose
from cloudeye.services.ask import Ask
from cloudeye.services.delivery import Parcel
from cloudeye.services.probe import ProbeResult
from cloudeye.services.webhooks import Hook

DOCS = Path(__file__).resolve().parents[3] / "docs" / "alerts.md"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PLACE = Place("https://eye.example.com", "0123456789abcdef" * 4)
AT = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)
DOWN = Happening(
    "5f0c7bd1a2c84d0c9d5e1b7a3f6e8c21", "down", None,
    {"cause": "http_status: the site answered with status 503", "status_code": 503, "since": "2026-11-21T19:59:12Z"},
    AT, 7, "Shop", "https://shop.example.com/",
)  # fmt: skip
PAGE = Happening(
    "a3d1c0fe5b7e4d1f8a6b9c2d4e5f6071", "page", "critical",
    {
        "changes": [{"kind": "script", "severity": "critical", "text": "New script: https://evil.example/x.js"}],
        "diff": "--- baseline\n+++ page\n@@ -1 +1 @@\n-Welcome\n+Hacked by nobody", "restored": False,
    },
    AT, 7, "Shop", "https://shop.example.com/",
)  # fmt: skip


def _nobody(ask: Ask) -> ProbeResult:
    raise AssertionError(ask.url)


def target(kind: str) -> Target:
    return Target(3, kind, "owner@example.com", "On call", time_zone="Europe/Berlin")


def examples() -> dict[str, str]:
    """Return each example of the documentation, by what it shows."""
    body = compose(PLACE, target("webhook"), [DOWN])[1]
    parcel = Parcel("webhook", f"{DOWN.event_id}.3", "https://hooks.example.com/", "en", "", body, AT, 3, SECRET)
    headers = Hook("cloudeye", _nobody, lambda: AT).headers(parcel, body.encode())
    subject, mail = compose(PLACE, target("mail"), [PAGE])
    shown = {
        "headers": "\n".join(f"{name}: {value}" for name, value in headers),
        "webhook": json.dumps(json.loads(body), indent=2, ensure_ascii=False),
        "slack": compose(PLACE, target("slack"), [DOWN])[1],
        "mail": f"Subject: {subject}\n\n{mail}".strip(),
    }
    return {name: example.replace("\u202f", " ") for name, example in shown.items()}  # stands in times


@pytest.mark.parametrize("name", examples())
def test_the_documentation_shows_what_is_sent(name: str) -> None:
    assert examples()[name] in DOCS.read_text("utf-8"), "python -m tests.unit.cloudeye.test_alerts_docs"


if __name__ == "__main__":
    for name, example in examples().items():
        print(f"== {name}\n{example}\n")
