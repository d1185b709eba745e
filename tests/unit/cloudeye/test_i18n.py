"""The catalogue is whole, answers come in the caller's language, and English ones are what they always were."""

from __future__ import annotations

import string
from typing import Any

import marshmallow as ma
import pytest
from babel.messages.mofile import read_mo
from marshmallow import fields, validate
from sqlalchemy import select
from werkzeug.test import TestResponse

from cloudeye import schemas  # noqa: F401 - gives marshmallow its messages
from cloudeye.extensions import db
from cloudeye.i18n import preferred, translated
from cloudeye.models import Message, utcnow
from cloudeye.services import netguard
from tests import messages
from tests.integration.world import Person, World

CHINESE = "zh-CN,zh;q=0.9,en;q=0.8"


def asking(person: Person, language: str, method: str, path: str, **options: Any) -> TestResponse:
    """Send a request to the API as a browser of that language would."""
    path = path if path.startswith("/") else f"/api/v1/{path}"
    return person.client.open(path, method=method, headers={**person.headers, "Accept-Language": language}, **options)


# -- the catalogue ---------------------------------------------------------------------------------------------


def test_every_text_of_the_application_is_translated() -> None:
    assert messages.missing(messages.kept()) == []
    new = messages.pairs(messages.template()).keys() - messages.pairs(messages.kept()).keys()
    assert new == set(), "run: make messages"


def test_the_catalogue_holds_no_text_that_is_gone() -> None:
    gone = messages.pairs(messages.kept()).keys() - messages.pairs(messages.template()).keys()
    assert gone == set(), "run: make messages"


def test_the_compiled_catalogue_is_the_one_that_people_edit() -> None:
    with messages.MO.open("rb") as file:
        compiled = messages.pairs(read_mo(file))
    assert compiled == messages.pairs(messages.kept())


@pytest.mark.parametrize("message", [message for message in messages.kept() if message.id], ids=lambda m: str(m.id))
def test_a_translation_has_the_places_for_values_that_its_text_has(message: Any) -> None:
    assert [str(error) for error in message.check()] == []
    if isinstance(message.id, str):
        assert message.string != message.id
        if "%(" not in message.id:
            assert _places(message.string) == _places(message.id)


def _places(text: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


# -- which language --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh-Hans"),
        ("zh", "zh-Hans"),
        ("zh-SG", "zh-Hans"),
        ("zh-Hans-CN", "zh-Hans"),
        ("de, zh-cn;q=0.5", "zh-Hans"),
        ("en-GB, zh;q=0.5", "en"),
        ("zh;q=0.3, en;q=0.7", "en"),
        ("zh-TW", "en"),
        ("zh-Hant", "en"),
        ("fr, *;q=0.1", "en"),
        ("zh;q=0", "en"),
        ("", "en"),
        (";;;=,", "en"),
    ],
)
def test_an_answer_is_in_the_language_that_is_wanted_most_of_those_there_are(
    world: World, asked: str, answered: str
) -> None:
    answer = asking(world.stranger(), asked, "GET", "nothing")
    assert answer.headers["Content-Language"] == answered
    assert "Accept-Language" in answer.headers["Vary"]
    assert answer.json["message"].startswith("在服务器上" if answered == "zh-Hans" else "The requested URL")


def test_the_setting_of_an_account_goes_before_what_the_browser_asks_for(world: World) -> None:
    with world.changing_user("owner") as user:
        user.language = "zh_Hans"
    with world.changing_user("mate") as user:
        user.language = "en"
    assert world.log_in("owner").asks("GET", "users").json["message"] == "只有管理员可以执行此操作。"
    mate = world.log_in("mate")
    assert asking(mate, CHINESE, "GET", "users").json["message"] == "Only admins may do this."


def test_an_answer_that_holds_no_text_does_not_depend_on_the_language(world: World) -> None:
    answer = asking(world.log_in("owner"), CHINESE, "GET", "sites")
    assert "Content-Language" not in answer.headers
    assert "Accept-Language" not in answer.headers.get("Vary", "")


def test_languages_are_told_apart_whatever_their_case() -> None:
    assert preferred(["ZH_cn"]) == "zh_Hans"
    assert preferred(["EN-us"]) == "en"


# -- what is said ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "field", "english", "chinese"),
    [
        ({}, "name", "Missing data for required field.", "缺少必填字段的数据。"),
        ({"name": None}, "name", "Field may not be null.", "该字段不能为 null。"),
        ({"name": 1}, "name", "Not a valid string.", "不是有效的字符串。"),
        ({"name": "x" * 121}, "name", "Length must be between 1 and 120.", "长度必须在 1 到 120 之间。"),
        ({"name": "a\nb"}, "name", "Must be one line of printable text.", "必须是一行可打印的文本。"),
        ({"more": 1}, "more", "Unknown field.", "未知字段。"),
        ({"interval": "x"}, "interval", "Not a valid integer.", "不是有效的整数。"),
        ({"interval": 1}, "interval", "Must be between 20 and 86400 seconds.", "必须在 20 到 86400 秒之间。"),
        ([], "_schema", "Invalid input type.", "输入类型无效。"),
        ("{", "_schema", "Invalid JSON body.", "请求体不是有效的 JSON。"),
        (
            {"name": "n", "url": "http://[::ffff:127.0.0.1]/"},
            "url",
            "::ffff:7f00:1 stands for 127.0.0.1 is a loopback address",
            "::ffff:7f00:1 代表的地址不可用：127.0.0.1 是环回地址",
        ),
    ],
)
def test_what_is_wrong_with_a_field_is_said_in_both_languages(
    world: World, body: Any, field: str, english: str, chinese: str
) -> None:
    owner = world.log_in("owner")
    given: dict[str, Any] = {"data": body, "content_type": "application/json"} if body == "{" else {"json": body}
    for language, said, message in (("en", english, "Invalid payload."), ("zh", chinese, "请求内容无效。")):
        answer = asking(owner, language, "POST", "sites", **given)
        assert (answer.status_code, answer.json["message"]) == (400, message)
        assert answer.json["data"][field] == [said]


@pytest.mark.parametrize(
    ("field", "value", "english", "chinese"),
    [
        (fields.String(validate=validate.Length(min=3)), "a", "Shorter than minimum length 3.", "长度不能少于 3。"),
        (fields.String(validate=validate.Length(max=3)), "abcd", "Longer than maximum length 3.", "长度不能超过 3。"),
        (fields.String(validate=validate.Length(equal=3)), "a", "Length must be 3.", "长度必须为 3。"),
        (
            fields.Integer(validate=validate.Range(1, 9)),
            0,
            "Must be greater than or equal to 1 and less than or equal to 9.",
            "必须大于或等于 1 且小于或等于 9。",
        ),
        (
            fields.Integer(validate=validate.Range(min=1)),
            0,
            "Must be greater than or equal to 1.",
            "必须大于或等于 1。",
        ),
        (fields.Integer(validate=validate.Range(max=1)), 2, "Must be less than or equal to 1.", "必须小于或等于 1。"),
        (fields.String(validate=validate.OneOf(["a", "b"])), "c", "Must be one of: a, b.", "必须是以下之一：a, b。"),
        (fields.String(validate=validate.Email()), "c", "Not a valid email address.", "不是有效的电子邮件地址。"),
        (fields.Boolean(), "x", "Not a valid boolean.", "不是有效的布尔值。"),
        (fields.List(fields.Integer()), "x", "Not a valid list.", "不是有效的列表。"),
        (fields.AwareDateTime(), "x", "Not a valid datetime.", "不是有效的 datetime。"),
    ],
)
def test_the_validators_of_marshmallow_speak_both_languages(
    world: World, field: Any, value: Any, english: str, chinese: str
) -> None:
    schema = ma.Schema.from_dict({"x": field})()
    for language, said in (("en", english), ("zh", chinese)):
        with world.app.test_request_context(headers={"Accept-Language": language}):
            assert schema.validate({"x": value}) == {"x": [said]}
    assert schema.validate({"x": value}) == {"x": [english]}  # outside of a request


@pytest.mark.parametrize("reason", sorted({*netguard._NEVER.values(), *netguard._PRIVATE.values()}))
def test_why_an_address_is_refused_is_said_in_chinese(world: World, reason: str) -> None:
    with world.app.test_request_context(headers={"Accept-Language": CHINESE}):
        said = translated({"url": [f"1.2.3.4 is {reason}"]})["url"][0]
    assert said.startswith("1.2.3.4 是")


def test_values_in_a_message_are_never_taken_for_text(world: World) -> None:
    owner = world.log_in("owner")
    name = "%(name)s {x} %s 100%"
    answer = asking(owner, CHINESE, "POST", "sites", json={"name": name, "url": "https://example.com/"})
    assert answer.json["message"] == f"已添加 {name}！"
    assert answer.json["data"]["site"]["name"] == name


def test_fixed_answers_are_what_they_are_byte_for_byte(world: World) -> None:
    admin = world.log_in("admin")
    new = {"username": "new", "email": "new@example.com", "password": "long enough for all"}
    assert b'"message":"new@example.com was added!"' in admin.asks("POST", "users", new).data
    assert b'"message":"Sorry. That email already exists."' in admin.asks("POST", "users", new).data
    assert b'"message":"Invalid payload."' in admin.asks("POST", "users", {}).data
    assert b'"message":"Param id error"' in admin.asks("GET", "users/blah").data
    assert b'"message":"User does not exist"' in admin.asks("GET", "users/-1").data
    assert asking(admin, CHINESE, "GET", "/ping").data.strip() == b'{"status":"success","message":"pong!"}'


# -- pages -----------------------------------------------------------------------------------------------------


def test_a_page_is_in_the_language_of_the_browser(world: World) -> None:
    page = world.app.test_client().get("/login", headers={"Accept-Language": CHINESE, "Accept": "text/html"})
    assert page.headers["Content-Language"] == "zh-Hans"
    assert '<html lang="zh-Hans">' in page.text
    assert "<h1>登录</h1>" in page.text


def test_a_page_shows_times_in_the_zone_and_language_of_the_visitor(world: World) -> None:
    with world.changing_user("owner") as user:
        user.language, user.time_zone = "zh_Hans", "Asia/Shanghai"
    owner = world.log_in("owner")
    with world.changing_site(owner.has_site()) as site:
        site.last_checked_at = site.state_since = utcnow().replace(
            year=2026, month=1, day=31, hour=20, minute=5, second=6, microsecond=0
        )
    page = owner.asks("GET", "/").text
    assert ">2026年2月1日 04:05:06</time>" in page
    assert "时间以 Asia/Shanghai 时区显示。" in page
    assert '<html lang="zh-Hans">' in page


# -- mail ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "asked", "subject"),
    [
        (None, CHINESE, "为 testserver 设置新密码"),
        (None, "fr", "Choose a new password for testserver"),
        ("en", CHINESE, "Choose a new password for testserver"),
        ("zh_Hans", "en", "为 testserver 设置新密码"),
    ],
)
def test_mail_is_in_the_language_of_whom_it_is_for(world: World, setting: str | None, asked: str, subject: str) -> None:
    with world.changing_user("owner") as user:
        user.language = setting
    answer = asking(world.stranger(), asked, "POST", "auth/reset", json={"email": "owner@example.com"})
    assert answer.status_code == 202
    with world.app.app_context():
        assert db.session.scalars(select(Message.subject)).all() == [subject]
