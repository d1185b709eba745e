"""Limits as they are set, described and shown."""

from __future__ import annotations

from typing import Any

import pytest
from lxml import html

from cloudeye.app import create_app
from cloudeye.attempts import MESSAGE
from cloudeye.config import Config, ConfigurationError
from tests.integration.world import PASSWORD, World, end

BROWSER = {"Accept": "text/html"}


@pytest.fixture
def strict(world: World) -> Any:
    """The world's application with room for two wrong passwords."""
    app = create_app(Config.from_environment({**world.settings, "APP_ATTEMPTS_LOGIN_ACCOUNT": "2 per hour"}))
    yield app
    end(app)


@pytest.mark.parametrize("text", ["ten per minute", "10 per fortnight", "0 per minute", "10 per minute, many"])
def test_a_limit_that_cannot_be_read_is_refused_at_the_start_and_named(settings: dict[str, str], text: str) -> None:
    with pytest.raises(ConfigurationError, match="APP_ATTEMPTS_RESET_ACCOUNT"):
        create_app(Config.from_environment({**settings, "APP_ATTEMPTS_RESET_ACCOUNT": text}))


def test_several_limits_may_be_set_together(world: World) -> None:
    limits = "2 per hour; 100 per day"
    app = create_app(Config.from_environment({**world.settings, "APP_ATTEMPTS_LOGIN_ACCOUNT": limits}))
    body = {"email": "owner@example.com", "password": "a wrong password"}
    statuses = [app.test_client().post("/api/v1/auth/login", json=body).status_code for _ in range(3)]
    end(app)
    assert statuses == [401, 401, 429]


def test_the_form_says_that_there_were_too_many_attempts_and_keeps_what_was_typed(strict: Any) -> None:
    browser = strict.test_client()

    def send(password: str, email: str = "owner@example.com") -> Any:
        page = html.fromstring(browser.get("/login?next=/%3Fpage=2", headers=BROWSER).text)
        fields = dict(page.xpath("//form[@action='/login']")[0].form_values())
        return browser.post("/login", data={**fields, "email": email, "password": password}, headers=BROWSER)

    assert [send("a wrong password").status_code for _ in range(2)] == [401, 401]
    answer = send(PASSWORD)
    page = html.fromstring(answer.text)
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 3600
    assert answer.mimetype == "text/html"
    assert page.xpath("//*[@role='alert']")[0].text_content() == MESSAGE
    assert page.xpath("//input[@name='email']/@value") == ["owner@example.com"]
    assert page.xpath("//form[@action='/login']//input[@name='next']/@value") == ["/?page=2"]
    api = strict.test_client().post("/api/v1/auth/login", json={"email": "owner@example.com", "password": PASSWORD})
    assert api.status_code == 429, "the form and the API count together"
    padded = "owner@example.com" + " " * 237 + "x"
    assert send(PASSWORD, padded).status_code == 401, "an address is looked up as it is counted, never cut"


def test_a_form_without_token_is_no_attempt(strict: Any) -> None:
    body = {"email": "owner@example.com", "password": "a wrong password"}
    assert [strict.test_client().post("/login", data=body).status_code for _ in range(3)] == [400] * 3
    answer = strict.test_client().post("/api/v1/auth/login", json={**body, "password": PASSWORD})
    assert answer.status_code == 200


def test_a_body_that_does_not_fit_is_no_attempt(strict: Any) -> None:
    client = strict.test_client()
    bodies: list[Any] = [{"email": "owner@example.com"}, {"email": "owner@example.com", "password": 5}, []]
    assert [client.post("/api/v1/auth/login", json=body).status_code for body in bodies] == [400] * 3
    good = {"email": "owner@example.com", "password": PASSWORD}
    assert client.post("/api/v1/auth/login", json=good).status_code == 200


def test_the_description_of_the_login_knows_the_answer(world: World) -> None:
    described = world.app.test_client().get("/api/openapi.json").json
    responses = described["paths"]["/api/v1/auth/login"]["post"]["responses"]
    assert {"200", "401", "429"} <= responses.keys()
