"""A browser without script, for the tests of the pages, and the mail that their readers get."""

from __future__ import annotations

import re
from typing import Any

from flask.testing import FlaskClient
from lxml import html
from sqlalchemy import select
from werkzeug.test import TestResponse

from cloudeye.extensions import db
from cloudeye.models import Message
from tests.integration.world import PASSWORD, World

ACCEPT = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


class Browser:
    """Follows forms: what is hidden in one goes back with it."""

    def __init__(self, client: FlaskClient, **headers: str) -> None:
        self.client, self.headers = client, {**ACCEPT, **headers}

    def opens(self, path: str) -> TestResponse:
        """Go to a page."""
        return self.client.get(path, headers=self.headers)

    def sends(self, page: TestResponse, action: str, **fields: Any) -> TestResponse:
        """Fill in the form of a page that goes to an address."""
        (form,) = html.fromstring(page.text).xpath(f"//form[@method='post'][@action='{action}']")
        # What is filled in is of the form itself: a test cannot send what its page does not ask for.
        known = {field.name for field in form.inputs} | {button.get("name") for button in form.xpath(".//button")}
        assert fields.keys() <= known, fields.keys() - known
        data: dict[str, Any] = {}
        areas = {area.get("name") for area in form.xpath(".//textarea")}
        for name, value in form.form_values():
            data.setdefault(name, []).append(_as_typed(value) if name in areas else value)
        return self.client.post(action, data={**data, **fields}, headers=self.headers)

    def follows(self, answer: TestResponse) -> TestResponse:
        """Go to where an answer leads."""
        assert answer.status_code in (302, 303), answer.text
        return self.opens(answer.headers["Location"])

    def logs_in(self, name: str, path: str = "/login", password: str = PASSWORD) -> TestResponse:
        """Use the form for it; a name without a host is one of the cast."""
        email = name if "@" in name else f"{name}@example.com"
        return self.sends(self.opens(path), "/login", email=email, password=password)

    def is_in(self) -> bool:
        """Is the visitor logged in."""
        return self.opens("/account").status_code == 200


def _as_typed(value: str) -> str:
    """Return a text of several lines as browsers send it: without the first end of line in the page, others as CRLF."""
    return value.replace("\r\n", "\n").removeprefix("\n").replace("\n", "\r\n")


def text_of(page: TestResponse, path: str) -> list[str]:
    """Return the words at an XPath."""
    return [" ".join(node.text_content().split()) for node in html.fromstring(page.text).xpath(path)]


def values_of(page: TestResponse, path: str) -> list[str]:
    """Return the attributes at an XPath."""
    return [str(value) for value in html.fromstring(page.text).xpath(path)]


def browser_of(world: World, name: str) -> Browser:
    """Return the browser of one of the cast, logged in."""
    found = Browser(world.app.test_client())
    found.logs_in(name)
    return found


def mails(world: World) -> list[Message]:
    """Return what waits to be sent, oldest first."""
    with world.app.app_context():
        query = select(Message).where(Message.next_attempt_at.is_not(None)).order_by(Message.id)
        return list(db.session.scalars(query))


def link_in(mail: Message) -> str:
    """Return the path that a mail's link leads to."""
    found = re.search(r"^http://testserver(/\S*)$", mail.body or "", re.MULTILINE)
    assert found is not None, mail.body
    return found[1]
