"""What an inventory's groups mean for each host."""

from __future__ import annotations

from typing import Any

import pytest

from .support import plugin

fleet = plugin("filter/fleet.py")
stack = plugin("filter/stack.py")

FOUR = {"lb": ["lb"], "app": ["app1", "app2"], "db": ["db"]}
ONE = {"lb": ["one"], "app": ["one"], "db": ["one"]}
ADDRESSES = {"lb": "10.0.0.1", "app1": "10.0.0.2", "app2": "10.0.0.3", "db": "10.0.0.4", "one": "10.0.0.9"}


def hostvars(**more: Any) -> dict[str, dict[str, Any]]:
    return {host: {"ansible_host": address, **more} for host, address in ADDRESSES.items()}


def loaded(host: str, groups: dict[str, list[str]], **more: Any) -> dict[str, Any]:
    values: dict[str, Any] = stack.stack_load(fleet.fleet_overrides(host, groups, hostvars(**more)))
    return values


def test_an_app_host_of_a_fleet_asks_the_database_host_and_believes_the_balancer() -> None:
    values = loaded("app1", FOUR)
    assert values["database"]["host"] == "10.0.0.4"
    assert values["nginx"]["trusted_proxies"] == ["10.0.0.1"]
    hosts = {group: values["fleet"][group] for group in ("app", "lb", "db")}
    assert hosts == {"app": ["10.0.0.2", "10.0.0.3"], "lb": ["10.0.0.1"], "db": ["10.0.0.4"]}


def test_a_host_that_does_everything_asks_itself_and_believes_nobody() -> None:
    values = loaded("one", ONE)
    assert values["database"]["host"] == "127.0.0.1"
    assert values["nginx"]["trusted_proxies"] == []


def test_a_balancer_believes_nobody() -> None:
    assert loaded("lb", FOUR)["nginx"]["trusted_proxies"] == []


def test_a_cache_is_asked_where_it_is() -> None:
    assert loaded("app1", {**FOUR, "cache": ["db"]})["cache"]["url"] == "redis://10.0.0.4:6379/0"
    assert loaded("one", {**ONE, "cache": ["one"]})["cache"]["url"] == "redis://127.0.0.1:6379/0"
    assert loaded("app1", FOUR)["cache"]["url"] == ""


def test_the_host_wins_over_the_fleet_and_the_fleet_over_the_groups() -> None:
    more = {
        "stack_overrides": {"database": {"host": "10.9.9.9"}, "api": {"instances": 3}},
        "stack_host_overrides": {"api": {"instances": 1}},
    }
    values = loaded("app1", FOUR, **more)
    assert values["database"]["host"] == "10.9.9.9"
    assert values["api"]["instances"] == 1


def test_a_certificate_from_here_switches_https_on_under_the_stacks_own_name() -> None:
    more = {"certificate_file": "/c.pem", "stack_overrides": {"stack": {"name": "watcher"}}}
    assert loaded("lb", FOUR, **more)["nginx"]["certificate"] == "/etc/watcher/tls/fullchain.pem"
    assert loaded("lb", FOUR, **more)["nginx"]["tls"] is True
    assert loaded("app1", FOUR, **more)["nginx"]["tls"] is False


@pytest.mark.parametrize(
    ("host", "groups", "public", "private"),
    [
        ("one", ONE, [80], []),
        ("lb", FOUR, [80], []),
        ("app1", FOUR, [], [{"port": 80, "addresses": ["10.0.0.1"]}]),
        ("app1", {"app": ["app1"]}, [80], []),
        ("db", FOUR, [], [{"port": 3306, "addresses": ["10.0.0.2", "10.0.0.3"]}]),
        (
            "db",
            {**FOUR, "cache": ["db"]},
            [],
            [{"port": port, "addresses": ["10.0.0.2", "10.0.0.3"]} for port in (3306, 6379)],
        ),
    ],
)
def test_the_firewall_opens_what_the_groups_need_and_to_whom(
    host: str, groups: dict[str, list[str]], public: list[int], private: list[dict[str, Any]]
) -> None:
    opened = fleet.open_ports(host, groups, hostvars(), loaded(host, groups))
    assert opened == {"public": public, "private": private}


def test_the_balancer_of_a_fleet_with_a_certificate_opens_https_and_the_app_hosts_do_not() -> None:
    more = {"certificate_file": "/c.pem"}
    values = hostvars(**more)
    assert fleet.open_ports("lb", FOUR, values, loaded("lb", FOUR, **more))["public"] == [80, 443]
    assert fleet.open_ports("app1", FOUR, values, loaded("app1", FOUR, **more))["public"] == []


def test_the_database_knows_its_clients_by_address_and_itself_by_loopback() -> None:
    assert fleet.app_addresses("db", FOUR, hostvars()) == ["10.0.0.2", "10.0.0.3"]
    assert fleet.app_addresses("one", ONE, hostvars()) == ["127.0.0.1"]


@pytest.mark.parametrize("groups", [ONE, FOUR, {"app": ["app1"]}, {**FOUR, "cache": ["lb"]}])
def test_a_sound_inventory_has_no_problem(groups: dict[str, list[str]]) -> None:
    assert fleet.fleet_problems(groups, hostvars()) == []


@pytest.mark.parametrize(
    ("groups", "more", "word"),
    [
        ({}, {}, "the group app has no host"),
        ({**FOUR, "db": ["db", "one"]}, {}, "db has more than one host"),
        ({**FOUR, "lb": ["app1"]}, {}, "app1: a host that is in app and in lb"),
        (FOUR, {"ansible_host": "app.internal"}, "set ansible_host or stack_address"),
        (ONE, {"stack_address": "198.51.100.7"}, "an address for examples"),
        (ONE, {"stack_overrides": {"nginx": {"http_porrt": 80}}}, "did you mean nginx.http_port"),
        (FOUR, {"stack_overrides": {"database": {"max_connections": 100}}}, "database.max_connections (100) is less"),
    ],
)
def test_a_problem_of_the_inventory_is_said(groups: dict[str, list[str]], more: dict[str, Any], word: str) -> None:
    problems = fleet.fleet_problems(groups, hostvars(**more))
    assert any(word in problem for problem in problems), problems


ASKING = {
    "mail": {"user": "watch@example.com"},
    "oidc": {"issuer": "https://accounts.example.com", "client_id": "us", "introspect": True},
    "app": {"secrets": ["shop_key"]},
}


def test_a_secret_that_nobody_can_make_up_is_asked_for_by_variable_and_file() -> None:
    problems = fleet.fleet_problems(FOUR, hostvars(stack_overrides=ASKING, vault_mail_password="given"))
    assert [problem.split(":")[0] for problem in problems] == [
        "oidc.introspect asks for the secret oidc_client_secret",
        "app.secrets asks for the secret shop_key",
    ]
    assert "vault_oidc_client_secret" in problems[0]
    assert "/etc/cloudeye/secrets/oidc_client_secret" in problems[0]
    given = {f"vault_{name}": "given" for name in ("mail_password", "oidc_client_secret", "shop_key")}
    assert fleet.fleet_problems(FOUR, hostvars(stack_overrides=ASKING, **given)) == []


def test_a_fleet_that_asks_for_no_secret_needs_no_vault() -> None:
    assert fleet.fleet_problems(FOUR, hostvars()) == []
