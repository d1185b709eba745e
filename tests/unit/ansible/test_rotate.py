"""What a rotation of secrets works out, also after it was killed at each of its steps."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest

from .support import plugin

rotate = plugin("filter/rotate.py")
stack = plugin("filter/stack.py")

OLD, NEW = "old-key-" * 5, "new-key-" * 5
BEFORE = {"secret_key": OLD, "database_password": "first"}
NOW = time.time()
DAY = 86400.0

Hosts = Mapping[str, Mapping[str, str]]


def plan(hosts: Hosts, vault: Mapping[str, str] | None = None, *, age_days: float = 0, **asked: Any) -> dict[str, Any]:
    """What is worked out for hosts with these secrets; the key before is so many days old where there is one."""
    times = dict.fromkeys(("secret_key", "secret_key_previous"), NOW - age_days * DAY)
    hostvars = {
        host: {"rotate_found": {"found": found, "changed_at": {name: times[name] for name in times if name in found}}}
        for host, found in hosts.items()
    }
    values = {
        "only": ["secret_key", "database_password"], "drop": False, "force": False, "days": 30, "now": NOW,
        "engine": "mysql", "user": "cloudeye", "host": "192.0.2.7", "ours": True, **asked,
    }  # fmt: skip
    result: dict[str, Any] = rotate.rotation_plan(list(hosts), hostvars, vault or {}, values)
    return result


def fleet(**secrets: str) -> dict[str, dict[str, str]]:
    return {host: {**BEFORE, **secrets} for host in ("db", "app1", "app2")}


def test_a_rotation_writes_down_what_is_to_come_and_then_switches() -> None:
    found = plan(fleet())
    key, login = found["next"]["secret_key_next"], found["next"]["database_password_next"]
    password, account = login.split("\n")
    assert found["problems"] == []
    assert list(found["files"]) == ["secret_key_previous", "proof_key", "secret_key", "database_password"]
    assert found["files"]["secret_key_previous"] == found["files"]["proof_key"] == BEFORE["secret_key"]
    assert (found["files"]["secret_key"], found["files"]["database_password"]) == (key, login)
    assert found["absent"] == ["secret_key_next"]
    assert (found["account"], found["retired"]) == ({"name": "cloudeye_b", "password": password}, "cloudeye")
    assert account == "cloudeye_b"
    assert min(len(key), len(password)) >= 40
    assert not {key, password, *BEFORE.values()} & set(" ".join(found["said"]).split())


def test_the_accounts_take_turns() -> None:
    found = plan(fleet(database_password="second\ncloudeye_b"), only=["database_password"])
    assert (found["account"]["name"], found["retired"]) == ("cloudeye", "cloudeye_b")
    assert "\n" not in found["files"]["database_password"], "its name is that of the stack"


def test_the_token_that_proves_control_outlives_every_rotation() -> None:
    assert plan(fleet(proof_key="of the first one"))["files"]["proof_key"] == "of the first one"


WRITTEN = {**BEFORE, "secret_key_next": NEW, "database_password_next": "second\ncloudeye_b"}
SWITCHED = {
    "secret_key": NEW, "secret_key_previous": OLD, "proof_key": OLD,
    "database_password": "second\ncloudeye_b", "database_password_next": "second\ncloudeye_b",
}  # fmt: skip


@pytest.mark.parametrize(
    "hosts",
    [
        pytest.param({"db": BEFORE, "app1": WRITTEN, "app2": BEFORE}, id="written on one host"),
        pytest.param({"db": WRITTEN, "app1": WRITTEN, "app2": WRITTEN}, id="written everywhere"),
        pytest.param({"db": WRITTEN, "app1": SWITCHED, "app2": WRITTEN}, id="switched on one host"),
        pytest.param({"db": WRITTEN, "app1": SWITCHED, "app2": SWITCHED}, id="switched on all app hosts"),
        pytest.param({"app1": SWITCHED, "app2": WRITTEN}, id="switched on one host of two without a database"),
        pytest.param(
            {"app1": {**SWITCHED, "secret_key_previous": OLD, "secret_key_next": NEW}, "app2": WRITTEN},
            id="killed before the next key was taken away",
        ),
    ],
)
def test_a_rotation_that_was_killed_is_gone_on_with(hosts: Hosts) -> None:
    found = plan(hosts)
    assert found["problems"] == []
    assert found["next"] == {"secret_key_next": NEW, "database_password_next": "second\ncloudeye_b"}
    assert found["files"] == {name: SWITCHED[name] for name in found["files"]}
    assert len(found["files"]) == 4
    assert (found["account"]["name"], found["retired"]) == ("cloudeye_b", "cloudeye")


def test_after_a_kill_before_the_old_account_went_only_that_is_left_to_do() -> None:
    for force in (False, True):
        found = plan({"app1": SWITCHED}, force=force)
        assert (found["problems"], found["retired"]) == ([], "cloudeye")
        assert "secret_key" not in found["files"]


def test_a_key_that_was_rotated_lately_is_not_rotated_again_unless_forced() -> None:
    hosts = fleet(secret_key_previous="x" * 40)
    refused = plan(hosts, age_days=29)
    assert "was rotated already" in refused["problems"][0]
    assert "rotate_force=true" in refused["problems"][0]
    assert plan(hosts, age_days=29, force=True)["problems"] == []
    assert plan(hosts, age_days=31)["files"]["secret_key_previous"] == BEFORE["secret_key"]
    assert plan(hosts, age_days=29, only=["database_password"])["problems"] == []


@pytest.mark.parametrize(
    ("age_days", "asked", "dropped", "word"),
    [
        (29, {}, False, "may be good until"),
        (30.01, {}, False, "may be good until"),  # a signature may be as young as the last restart
        (30.1, {}, True, ""),
        (31, {"days": 90}, False, "may be good until"),
        (1, {"force": True}, True, ""),
    ],
)
def test_the_key_before_is_dropped_when_nothing_signed_with_it_is_good(
    age_days: float, asked: dict[str, Any], dropped: bool, word: str
) -> None:
    found = plan(fleet(secret_key_previous="x" * 40), age_days=age_days, drop=True, **asked)
    assert found["drop"] == dropped
    assert word in " ".join(found["problems"])
    assert (found["next"], found["files"]) == ({}, {})


def test_nothing_is_dropped_while_a_rotation_is_under_way_or_when_there_is_nothing() -> None:
    assert "is under way" in plan(fleet(secret_key_next=NEW), drop=True, force=True)["problems"][0]
    nothing = plan(fleet(), drop=True)
    assert (nothing["drop"], nothing["problems"]) == (False, [])


VAULT = {"secret_key": BEFORE["secret_key"], "database_password": "first"}


def test_what_the_vault_decides_is_rotated_to_what_the_vault_says() -> None:
    refused = plan(fleet(), VAULT)["problems"]
    assert "vault_secret_key_next" in refused[0]
    assert "vault_database_password_next" in refused[1]
    found = plan(fleet(), {**VAULT, "secret_key_next": NEW, "database_password_next": "second"})
    assert found["files"]["secret_key"] == NEW
    assert found["files"]["database_password"] == "second\ncloudeye_b"
    assert any("make vault_secret_key_next vault_secret_key" in line for line in found["said"])


@pytest.mark.parametrize(
    ("vault", "word"),
    [
        ({"secret_key_next": "short"}, "fewer than 32"),
        ({"secret_key_next": BEFORE["secret_key"]}, "vault_secret_key_next is in use already"),
        ({"database_password_next": "first"}, "vault_database_password_next is in use already"),
        ({"database_password_next": "two\nlines"}, "one line each"),
    ],
)
def test_a_vault_that_cannot_work_is_refused_by_name(vault: dict[str, str], word: str) -> None:
    assert word in " ".join(plan(fleet(), vault)["problems"])


def test_another_value_than_the_one_under_way_is_refused() -> None:
    found = plan({"app1": WRITTEN}, {"secret_key_next": "y" * 40, "database_password_next": "third"})
    assert [problem for problem in found["problems"] if "is under way" in problem] == found["problems"]
    assert len(found["problems"]) == 2


def test_hosts_that_differ_or_lack_a_secret_are_provisioned_first() -> None:
    assert "different values of secret_key" in plan({"a": BEFORE, "b": {**BEFORE, "secret_key": NEW}})["problems"][0]
    assert "b: there is no secret_key" in plan({"a": BEFORE, "b": {"database_password": "first"}})["problems"][0]


def test_a_database_of_somebody_elses_is_left_to_them() -> None:
    refused = plan(fleet(), ours=False)["problems"]
    assert "192.0.2.7 is not set up from here" in refused[0]
    given = {"database_password": "first", "database_password_next": "second", "database_user_next": "watcher"}
    found = plan(fleet(), given, ours=False)
    assert (found["account"], found["retired"], found["problems"]) == ({}, "", [])
    assert found["files"]["database_password"] == "second\nwatcher"
    same = plan(fleet(), {**given, "database_user_next": ""}, ours=False)
    assert same["files"]["database_password"] == "second"


def test_sqlite_has_no_login() -> None:
    assert "database_password" not in plan(fleet(), engine="sqlite")["files"]


def test_what_is_to_be_rotated_is_named_or_refused() -> None:
    assert "rotate_only" in plan(fleet(), only=["admin_password"])["problems"][0]
    assert "rotate_only" in plan(fleet(), only=[])["problems"][0]


# -- provisioning, during a rotation and after it ---------------------------------------------------------------------


def hostvars(**found: dict[str, str]) -> dict[str, Any]:
    return {host: {"secrets_found": {"found": values}} for host, values in found.items()}


def test_provisioning_brings_what_rotations_have_left_to_every_host() -> None:
    known = hostvars(db={"proof_key": "p"}, app={"proof_key": "other", "secret_key_previous": "q"})
    names = ["secret_key_previous", "proof_key", "secret_key_next"]
    assert rotate.secrets_kept(names, [*known, "unreached"], {**known, "unreached": {}}) == {
        "secret_key_previous": "q",
        "proof_key": "p",
    }


@pytest.mark.parametrize(
    ("vault", "kept"),
    [
        ({}, "second\ncloudeye_b"),
        ({"database_password": "second"}, "second\ncloudeye_b"),
        ({"database_password": "first", "database_password_next": "second"}, "second\ncloudeye_b"),
        ({"database_password": "third"}, "third\ncloudeye_b"),
    ],
)
def test_provisioning_keeps_the_account_that_a_rotation_has_made(vault: dict[str, str], kept: str) -> None:
    known = hostvars(db={"database_password": "second\ncloudeye_b"})
    assert stack.stack_secret_values(["database_password"], vault, ["db"], known) == {"database_password": kept}


@pytest.mark.parametrize(
    ("vault", "refused"),
    [
        ({"secret_key": OLD}, True),
        ({"secret_key": OLD, "secret_key_next": NEW}, False),
        ({"secret_key": NEW}, False),
        ({"secret_key": "quite another one"}, False),
        ({}, False),
    ],
)
def test_a_vault_with_the_key_before_is_refused(vault: dict[str, str], refused: bool) -> None:
    known = hostvars(db={"secret_key": NEW, "secret_key_previous": OLD})
    problems = rotate.vault_problems(vault, ["db"], known)
    assert bool(problems) == refused
    assert OLD not in " ".join(problems)


def test_the_login_of_the_database_is_read_from_its_file() -> None:
    assert rotate.database_login("word", "cloudeye") == {"name": "cloudeye", "password": "word"}
    assert rotate.database_login("word\ncloudeye_b", "cloudeye") == {"name": "cloudeye_b", "password": "word"}
