"""Attempts are counted for all instances together, in the database and in a cache, and cannot be had for free."""

from __future__ import annotations

import io
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, jsonify, request
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from cloudeye import attempts_storage
from cloudeye.app import create_app
from cloudeye.attempts import (
    MESSAGE,
    forgive,
    limit_confirmation,
    limit_login,
    limit_registration,
    limit_reset,
    limiter,
)
from cloudeye.attempts_storage import places
from cloudeye.config import Config
from cloudeye.errors import Problem
from cloudeye.extensions import db
from cloudeye.models import AttemptCounter, User
from cloudeye.models.base import utcnow
from cloudeye.services import passwords
from tests.integration.cache_server import CacheServer
from tests.integration.world import PASSWORD, World, end, environment
from tests.ports import free_port

pytestmark = pytest.mark.long

WRONG = "a wrong password"
LIMITS = {
    "APP_ATTEMPTS_LOGIN_ADDRESS": "1000 per hour",
    "APP_ATTEMPTS_LOGIN_ACCOUNT": "3 per 15 minutes",
    "APP_ATTEMPTS_REGISTER_ADDRESS": "4 per hour",
    "APP_ATTEMPTS_RESET_ADDRESS": "4 per hour",
    "APP_ATTEMPTS_RESET_ACCOUNT": "2 per hour",
}


@limit_registration
def register_somebody(given: dict[str, str]) -> Any:
    """Stands for the view that registers; its transaction fails for the address fail@."""
    db.session.add(User(username="new", email=given["email"]))
    db.session.flush()
    if given["email"].startswith("fail@"):
        raise RuntimeError("something unexpected")
    db.session.rollback()
    return jsonify(), 202


@limit_reset
def ask_for_reset(given: dict[str, str]) -> Any:
    """Stands for the view that sends a mail with a link."""
    return jsonify(), 202


@limit_confirmation
def confirm(given: dict[str, str]) -> Any:
    """Stands for the view that takes the token of a mail."""
    right = given["token"] == "right"
    return jsonify(), 200 if right else 400


@limit_reset
@limit_login
def do_both(given: dict[str, str]) -> Any:
    """Stands for a view that sends a mail and asks for a password."""
    if given["password"] != PASSWORD:
        raise Problem(401, "wrong")
    return jsonify(), 202


class Instance:
    """One instance of a stack, asked from any address."""

    def __init__(self, settings: dict[str, str]) -> None:
        self.app: Flask = create_app(Config.from_environment(settings))
        self.app.add_url_rule(
            "/try/register", "register", lambda: register_somebody(request.get_json()), methods=["POST"]
        )
        self.app.add_url_rule("/try/confirm", "confirm", lambda: confirm(request.get_json()), methods=["POST"])
        self.app.add_url_rule("/try/both", "both", lambda: do_both(request.get_json()), methods=["POST"])
        self.app.add_url_rule("/try/reset", "reset", lambda: ask_for_reset(request.get_json()), methods=["POST"])

    def posts(self, path: str, body: dict[str, str], address: str = "192.0.2.1") -> TestResponse:
        """Send a request from an address."""
        return self.app.test_client().post(path, json=body, headers={"X-Forwarded-For": address})

    def logs_in(self, email: str, password: str = PASSWORD, address: str = "192.0.2.1") -> TestResponse:
        """Try a password."""
        return self.posts("/api/v1/auth/login", {"email": email, "password": password}, address)


MakeInstance = Callable[..., Instance]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CacheServer]:
    """A cache server."""
    with CacheServer(tmp_path_factory.mktemp("cache"), free_port()) as server:
        yield server


@pytest.fixture(params=["in the database", "in a cache"])
def cache_url(request: pytest.FixtureRequest) -> str:
    """The setting of a stack without a cache, and of one with an empty cache."""
    if request.param == "in the database":
        return ""
    server: CacheServer = request.getfixturevalue("cache")
    with server.client() as client:
        client.flushall()
    return server.url


@pytest.fixture
def instance_of(world: World) -> Iterator[MakeInstance]:
    """Makes instances on the world's database; ``changes`` are settings."""
    made: list[Instance] = []

    def make(cache_url: str, **changes: str) -> Instance:
        made.append(Instance({**world.settings, **LIMITS, "APP_CACHE_URL": cache_url, **changes}))
        return made[-1]

    yield make
    for instance in made:
        end(instance.app)


@pytest.fixture
def pair(instance_of: MakeInstance, cache_url: str) -> tuple[Instance, Instance]:
    """Two instances of one stack."""
    return instance_of(cache_url), instance_of(cache_url)


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that argon2 was asked to verify."""
    found: list[str] = []

    class Listening(type(passwords.HASHER)):  # type: ignore[misc]
        """Notes what it verifies."""

        def verify(self, password_hash: str, password: str) -> bool:
            found.append(password)
            return bool(super().verify(password_hash, password))

    hasher = passwords.HASHER
    listening = Listening(hasher.time_cost, hasher.memory_cost, hasher.parallelism)
    monkeypatch.setattr(passwords, "HASHER", listening)
    return found


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that is logged, from debug on."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    root = logging.getLogger()
    before, limiters = root.level, logging.getLogger("flask-limiter")
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    limiters.setLevel(logging.DEBUG)
    yield text
    root.removeHandler(handler)
    root.setLevel(before)
    limiters.setLevel(logging.NOTSET)


def is_refused(answer: TestResponse, most: int = 900) -> bool:
    """Is this the answer to too many attempts; anything else with its status is an error."""
    if answer.status_code != 429:
        return False
    assert answer.json == {"status": "fail", "message": MESSAGE, "data": None}
    assert 1 <= int(answer.headers["Retry-After"]) <= most
    return True


def count_of(instance: Instance, key: str, times: int = 1, expiry: int = 60) -> list[int]:
    """Count under a key of the test's own, and return what each attempt was told."""
    with instance.app.app_context():
        return [limiter.storage.incr(key, expiry) for _ in range(times)]


def test_failed_logins_are_counted_over_all_instances(pair: tuple[Instance, Instance]) -> None:
    one, other = pair
    statuses = [place.logs_in("owner@example.com", WRONG).status_code for place in (one, other, one)]
    assert statuses == [401, 401, 401]
    assert is_refused(one.logs_in("owner@example.com", WRONG))
    assert is_refused(other.logs_in("owner@example.com", WRONG))


def test_a_locked_account_refuses_the_right_password_from_any_address_and_in_any_case(
    pair: tuple[Instance, Instance],
) -> None:
    for number in range(3):
        assert pair[0].logs_in("owner@example.com", WRONG, f"192.0.2.{number}").status_code == 401
    assert is_refused(pair[1].logs_in("owner@example.com", PASSWORD, "198.51.100.7"))
    assert is_refused(pair[1].logs_in(" OWNER@Example.com ", PASSWORD, "2001:db8::1"))
    assert pair[0].logs_in("mate@example.com", PASSWORD, "192.0.2.1").status_code == 200


def test_right_passwords_are_not_counted_and_leave_nothing_behind(pair: tuple[Instance, Instance]) -> None:
    assert [pair[0].logs_in("owner@example.com").status_code for _ in range(5)] == [200] * 5
    assert [pair[1].logs_in("owner@example.com", WRONG).status_code for _ in range(3)] == [401] * 3
    assert is_refused(pair[1].logs_in("owner@example.com"))


@pytest.mark.parametrize("email", ["nobody@example.com", "leaver@example.com", "汉字@例え.jp"])
def test_an_account_that_cannot_log_in_locks_like_one_that_can(
    pair: tuple[Instance, Instance], email: str, verified: list[str]
) -> None:
    def life(address: str) -> list[tuple[int, Any]]:
        answers = [pair[number % 2].logs_in(address, WRONG) for number in range(5)]
        return [(answer.status_code, answer.json) for answer in answers]

    known = life("owner@example.com")
    assert len(verified) == 3, "one verification for each password that is looked at, none for the others"
    verified.clear()
    assert life(email) == known
    assert len(verified) == 3


def test_of_fifty_wrong_passwords_that_race_only_ten_are_looked_at(
    instance_of: MakeInstance, cache_url: str, verified: list[str]
) -> None:
    pair = [instance_of(cache_url, APP_ATTEMPTS_LOGIN_ACCOUNT="10 per 15 minutes") for _ in range(2)]
    start = threading.Barrier(50)

    def attempt(number: int) -> bool:
        start.wait(30)
        answer = pair[number % 2].logs_in("owner@example.com", WRONG, f"192.0.2.{number}")
        assert answer.status_code in (401, 429), answer.text
        return is_refused(answer)

    with ThreadPoolExecutor(50) as pool:
        refused = sum(pool.map(attempt, range(50)))
    assert (refused, len(verified)) == (40, 10)
    assert is_refused(pair[0].logs_in("owner@example.com"))


def test_fifty_attempts_that_race_are_counted_as_fifty(pair: tuple[Instance, Instance]) -> None:
    start = threading.Barrier(50)

    def attempt(number: int) -> int:
        start.wait(30)
        return count_of(pair[number % 2], "race")[0]

    with ThreadPoolExecutor(50) as pool:
        assert sorted(pool.map(attempt, range(50))) == list(range(1, 51))


def test_attempts_and_what_is_given_back_race_without_a_loss(pair: tuple[Instance, Instance]) -> None:
    start = threading.Barrier(30)

    def attempt(number: int) -> None:
        start.wait(30)
        app = pair[number % 2].app
        with app.app_context():
            limiter.storage.incr("to and fro", 60)
            if number % 3:
                places().ask(lambda counters: counters.give_back(["to and fro"]))

    with ThreadPoolExecutor(30) as pool:
        list(pool.map(attempt, range(30)))
    with pair[0].app.app_context():
        assert limiter.storage.get("to and fro") == 10


def test_what_is_given_back_never_falls_below_nothing(pair: tuple[Instance, Instance]) -> None:
    with pair[0].app.app_context():
        for _ in range(2):
            places().ask(lambda counters: counters.give_back(["never counted", "nor this"]))
    assert count_of(pair[0], "never counted", 2) == [1, 2]


def test_the_window_ends_and_refused_attempts_do_not_prolong_it(instance_of: MakeInstance, cache_url: str) -> None:
    place = instance_of(cache_url, APP_ATTEMPTS_LOGIN_ACCOUNT="2 per 3 seconds")
    began = time.monotonic()
    assert [place.logs_in("owner@example.com", WRONG).status_code for _ in range(2)] == [401, 401]
    answer = place.logs_in("owner@example.com")
    if time.monotonic() - began < 3:
        assert is_refused(answer, 3)
    while time.monotonic() - began < 2.5:
        place.logs_in("owner@example.com", WRONG)
        time.sleep(0.2)
    time.sleep(max(0.0, began + 4.5 - time.monotonic()))
    assert place.logs_in("owner@example.com").status_code == 200


def test_a_count_whose_time_is_over_begins_anew(instance_of: MakeInstance) -> None:
    place = instance_of("")
    assert count_of(place, "old", 3) == [1, 2, 3]
    with place.app.app_context():
        old = update(AttemptCounter).where(AttemptCounter.key == "old").values(expires_at=utcnow())
        db.session.execute(old)
        db.session.commit()
        assert limiter.storage.get("old") == 0
        assert limiter.storage.get_expiry("old") == pytest.approx(time.time(), abs=30)
    assert count_of(place, "old", 2, expiry=600) == [1, 2]
    with place.app.app_context():
        assert limiter.storage.get_expiry("old") == pytest.approx(time.time() + 600, abs=30)


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::9", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("what is this", "192.0.2.1", False),
    ],
)
def test_an_address_is_counted_whatever_the_account_and_an_ipv6_network_is_one_address(
    instance_of: MakeInstance, cache_url: str, first: str, second: str, together: bool
) -> None:
    place = instance_of(cache_url, APP_ATTEMPTS_LOGIN_ADDRESS="4 per minute")
    for number in range(4):
        assert place.logs_in(f"guess-{number}@example.com", WRONG, first).status_code == 401
    assert is_refused(place.logs_in("owner@example.com", PASSWORD, first), 60)
    assert is_refused(place.logs_in("owner@example.com", PASSWORD, second), 60) is together


def test_resets_and_registrations_count_whatever_comes_of_them(pair: tuple[Instance, Instance]) -> None:
    for path in ("/try/reset", "/try/register"):
        statuses = [pair[turn % 2].posts(path, {"email": "x@example.com"}).status_code for turn in range(2)]
        assert statuses == [202, 202]
        assert is_refused(pair[0].posts(path, {"email": "X@example.com"}, "192.0.2.99"), 3600)
        assert pair[0].posts(path, {"email": "y@example.com"}).status_code == 202
        assert pair[1].posts(path, {"email": "z@example.com"}).status_code == 202
        assert is_refused(pair[1].posts(path, {"email": "u@example.com"}), 3600)


def test_of_the_tokens_of_mails_only_wrong_ones_are_counted(instance_of: MakeInstance, cache_url: str) -> None:
    place = instance_of(cache_url, APP_ATTEMPTS_LOGIN_ADDRESS="2 per minute")
    tokens = ("right", "right", "right", "wrong", "wrong")
    assert [place.posts("/try/confirm", {"token": token}).status_code for token in tokens] == [200] * 3 + [400] * 2
    assert is_refused(place.posts("/try/confirm", {"token": "right"}), 60)
    assert place.logs_in("owner@example.com").status_code == 200, "counted apart from logins"


def test_a_view_may_count_two_things_each_by_its_own_rule(pair: tuple[Instance, Instance]) -> None:
    right = {"email": "both@example.com", "password": PASSWORD}
    assert [pair[0].posts("/try/both", right).status_code for _ in range(2)] == [202, 202]
    assert is_refused(pair[1].posts("/try/both", right), 3600), "mails count, whatever comes of them"
    for number in range(2):
        wrong = {"email": f"both-{number}@example.com", "password": WRONG}
        answer = pair[0].posts("/try/both", wrong, "192.0.2.9")
        assert answer.status_code == 401
    assert [pair[1].logs_in("both-0@example.com", WRONG).status_code for _ in range(3)] == [401, 401, 429]
    assert [pair[1].logs_in("both@example.com", WRONG).status_code for _ in range(4)] == [401, 401, 401, 429]


def test_a_wrong_password_of_somebody_logged_in_counts_as_a_failed_login(pair: tuple[Instance, Instance]) -> None:
    token = pair[0].logs_in("owner@example.com").json["data"]["access_token"]
    client = pair[0].app.test_client()

    def change(old: str, key: str) -> int:
        body = {"old_password": old, "new_password": "another password"}
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key}
        return client.post("/api/v1/auth/password", json=body, headers=headers).status_code

    assert [change(WRONG, f"guess-{number}") for number in range(4)] == [400, 400, 400, 429]
    assert is_refused(pair[1].logs_in("owner@example.com"))


def test_what_the_request_holds_before_it_is_counted_does_not_hold_up_the_count(world: World) -> None:
    place = Instance({**world.settings, **LIMITS, "APP_DATABASE_POOL_SIZE": "1", "APP_DATABASE_POOL_OVERFLOW": "0"})

    def reset_after_a_write() -> Any:
        db.session.execute(update(User).values(time_zone="UTC"))
        return ask_for_reset({"email": "owner@example.com"})

    place.app.add_url_rule("/try/held", "held", reset_after_a_write, methods=["POST"])
    assert place.posts("/try/held", {}).status_code == 202
    end(place.app)


def test_a_request_whose_transaction_is_rolled_back_still_counts(pair: tuple[Instance, Instance]) -> None:
    body = {"email": "fail@example.com"}
    assert [pair[0].posts("/try/register", body).status_code for _ in range(2)] == [500, 500]
    assert is_refused(pair[1].posts("/try/register", body), 3600)
    with pair[0].app.app_context():
        assert db.session.scalar(select(User).where(User.email == "fail@example.com")) is None


def test_an_account_is_forgiven_when_its_owner_has_proved_to_be_it(pair: tuple[Instance, Instance]) -> None:
    for _ in range(3):
        pair[0].logs_in("owner@example.com", WRONG)
    with pair[0].app.app_context():
        forgive("mate@example.com")
    assert is_refused(pair[1].logs_in("owner@example.com"))
    with pair[0].app.app_context():
        forgive("Owner@Example.com")
    assert pair[0].logs_in("owner@example.com").status_code == 200
    time.sleep(attempts_storage.REFUSED_SECONDS)
    assert pair[1].logs_in("owner@example.com").status_code == 200


def test_neither_database_nor_cache_nor_log_holds_an_address_of_a_person(
    pair: tuple[Instance, Instance], cache_url: str, request: pytest.FixtureRequest, log: io.StringIO
) -> None:
    for number in range(5):
        pair[0].logs_in("owner@example.com", WRONG, "192.0.2.77")
        pair[0].posts("/try/reset", {"email": f"friend-{number}@example.com"}, "192.0.2.77")
    with pair[0].app.app_context():
        kept = [row.key for row in db.session.scalars(select(AttemptCounter))]
    if cache_url:
        assert kept == []
        with request.getfixturevalue("cache").client() as client:
            kept = [str(key) for key in client.keys("*")]
        assert all(key.startswith("cloudeye:attempts:") for key in kept)
    assert len(kept) >= 4
    everything = json.dumps(kept) + log.getvalue()
    assert "ratelimit" in everything, "Flask-Limiter says whom it refuses"
    for word in ("owner", "friend", "example.com", "192.0.2.77", WRONG):
        assert word not in everything


def test_two_stacks_on_one_cache_count_apart(instance_of: MakeInstance, cache: CacheServer) -> None:
    one, other = instance_of(cache.url), instance_of(cache.url, APP_NAME="othereye")
    for _ in range(3):
        one.logs_in("outsider@example.com", WRONG)
    assert is_refused(one.logs_in("outsider@example.com"))
    assert other.logs_in("outsider@example.com").status_code == 200


def test_a_flood_of_refused_attempts_asks_nobody(pair: tuple[Instance, Instance], cache_url: str) -> None:
    place = pair[0]
    for _ in range(3):
        place.logs_in("owner@example.com", WRONG)
    with place.app.app_context():
        known = places()
    asked: list[Any] = []
    real = known.ask
    known.ask = lambda question: asked.append(question) or real(question)  # type: ignore[method-assign]
    began = time.monotonic()
    answers = [place.logs_in("owner@example.com") for _ in range(20)]
    seconds = time.monotonic() - began
    assert all(is_refused(answer) for answer in answers)
    # One in a second counts, and asks when the window ends.
    assert 2 <= len(asked) <= 2 * (1 + seconds // attempts_storage.REFUSED_SECONDS)


def test_a_key_of_any_length_is_counted(pair: tuple[Instance, Instance]) -> None:
    assert count_of(pair[0], "k" * 5000, 2) == [1, 2]
    assert count_of(pair[1], "k" * 4999 + "j", 1) == [1]
    assert count_of(pair[1], "k" * 5000, 1) == [3]


@pytest.fixture
def mortal_cache(tmp_path: Path) -> Iterator[CacheServer]:
    """A cache server that may be killed."""
    with CacheServer(tmp_path, free_port()) as server:
        yield server


@pytest.mark.parametrize("fault", ["killed", "frozen"])
def test_when_the_cache_goes_away_the_database_counts_and_nothing_is_let_through(
    instance_of: MakeInstance,
    mortal_cache: CacheServer,
    fault: str,
    log: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = instance_of(mortal_cache.url)
    assert place.logs_in("owner@example.com", WRONG).status_code == 401
    {"killed": mortal_cache.stop, "frozen": mortal_cache.freeze}[fault]()

    assert [place.logs_in("owner@example.com", WRONG).status_code for _ in range(3)] == [401] * 3
    assert is_refused(place.logs_in("owner@example.com"))
    assert place.logs_in("mate@example.com").status_code == 200
    assert log.getvalue().count("the cache does not answer") == 1

    {"killed": mortal_cache.start, "frozen": mortal_cache.thaw}[fault]()
    monkeypatch.setattr(attempts_storage, "PAUSE_SECONDS", 0.0)
    with place.app.app_context():
        places()._ask_again = 0.0  # the pause is over
    time.sleep(attempts_storage.REFUSED_SECONDS)
    statuses = [place.logs_in("owner@example.com", WRONG).status_code for _ in range(4)]
    assert statuses[-1] == 429
    assert statuses.count(401) <= 3
    assert log.getvalue().count("the cache answers again") == 1
    with mortal_cache.client() as client:
        assert client.keys("cloudeye:attempts:*")


def test_what_was_counted_in_the_cache_is_given_back_there_or_stays_counted(
    instance_of: MakeInstance, mortal_cache: CacheServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = instance_of(mortal_cache.url)
    real = passwords.check_password

    def check_while_the_cache_dies(password_hash: str | None, password: str) -> bool:
        mortal_cache.stop()
        return real(password_hash, password)

    monkeypatch.setattr(passwords, "check_password", check_while_the_cache_dies)
    assert place.logs_in("owner@example.com").status_code == 200
    with place.app.app_context():
        assert db.session.scalars(select(AttemptCounter)).all() == []


@pytest.mark.parametrize("has_cache", [False, True], ids=["without a cache", "with a cache"])
def test_when_nobody_can_count_the_answer_is_503_and_no_password_is_looked_at(
    tmp_path: Path, mortal_cache: CacheServer, verified: list[str], has_cache: bool
) -> None:
    mortal_cache.stop()
    nobody_there = f"mysql+mysqldb://cloudeye@127.0.0.1:{free_port()}/cloudeye?charset=utf8mb4"
    cache_url = mortal_cache.url if has_cache else ""
    place = Instance(environment(tmp_path, nobody_there, "secret", **LIMITS, APP_CACHE_URL=cache_url))
    for _ in range(5):
        answer = place.logs_in("owner@example.com")
        assert (answer.status_code, answer.json["status"]) == (503, "error")
        assert "Retry-After" in answer.headers
    assert verified == []
