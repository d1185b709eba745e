"""The filters that hand deploy/ to the roles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from deploy.stack import load

from .support import plugin

stack = plugin("filter/stack.py")
python = plugin("filter/python.py")

NAMES = ["secret_key", "database_password"]


def test_the_values_are_those_that_everything_else_uses() -> None:
    assert stack.stack_load({}) == load("host")


def test_a_value_that_does_not_fit_is_refused_by_name() -> None:
    with pytest.raises(AnsibleFilterError, match=r"nginx\.http_porrt"):
        stack.stack_load({"nginx": {"http_porrt": 1}})


def test_a_template_comes_with_the_path_where_it_belongs() -> None:
    file = stack.stack_file(stack.stack_load({"stack": {"name": "watcher"}}), "systemd/stack.service.j2")
    assert file["path"] == "/etc/systemd/system/watcher.service"
    assert "User=watcher" in file["content"]


def test_a_template_that_nobody_knows_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match=r"no template nginx/none\.j2"):
        stack.stack_file(stack.stack_load({}), "nginx/none.j2")


def test_a_balancers_site_names_the_app_hosts_and_its_own_error_pages() -> None:
    overrides = {"fleet": {"app": ["10.0.0.2", "10.0.0.3"]}}
    files = {file["path"]: file["content"] for file in stack.stack_balancer_files(overrides)}
    site = files["/etc/nginx/conf.d/cloudeye.conf"]
    assert "include /opt/cloudeye/lb/rendered/nginx/members.conf;" in site
    members = files["/opt/cloudeye/lb/rendered/nginx/members.conf"].splitlines()[1:]
    assert [line.split()[:2] for line in members] == [["server", "10.0.0.2:80"], ["server", "10.0.0.3:80"]]
    assert "/opt/cloudeye/lb/rendered/errors/" in site
    assert "/opt/cloudeye/lb/rendered/errors/502.json" in files


def test_maintenance_is_what_the_command_on_a_host_would_write() -> None:
    values = stack.stack_load({"fleet": {"app": ["198.18.0.12"]}})
    off = stack.stack_maintenance(values, {"state": "off", "message": "", "until": "", "allow": []})
    assert (off["files"], off["site"]) == ([], "/etc/nginx/conf.d/cloudeye.conf")
    assert [Path(path).name for path in off["absent"]] == ["server.conf", "http.conf", "state.json"]
    wish = {"state": "on", "message": "Moving", "until": "1h", "allow": ["192.0.2.7"]}
    on = stack.stack_maintenance(values, wish)
    names = [str(Path(file["path"]).relative_to("/etc/cloudeye/maintenance")) for file in on["files"]]
    assert names == ["pages/503.html", "pages/503.json", "state.json", "http.conf", "server.conf"]
    sites = {file["path"]: file["content"] for file in stack.stack_balancer_files({"fleet": {"app": ["198.18.0.12"]}})}
    assert on["included"] in sites[on["site"]]
    with pytest.raises(AnsibleFilterError, match="maintenance_allow 'x'"):
        stack.stack_maintenance(values, {**wish, "allow": ["x"]})
    with pytest.raises(AnsibleFilterError, match="-e maintenance_state=on, or off"):
        stack.stack_maintenance(values, {**wish, "state": ""})


def test_the_hosts_file_gives_the_engine_the_same_values() -> None:
    overrides = {"api": {"instances": 3}, "nginx": {"deny": ["10.0.0.0/8"]}}
    assert yaml.safe_load(stack.stack_yaml(overrides)) == overrides


@pytest.mark.parametrize(("primary", "plain"), [(True, True), (False, False)])
def test_only_the_primary_stack_has_the_plain_command_names(primary: bool, plain: bool) -> None:
    files = stack.command_files(stack.stack_load({"stack": {"name": "watcher", "primary": primary}}))
    commands = {file["path"].rsplit("/", 1)[1] for file in files}
    assert {"watcherctl", "watcher-stack"} <= commands
    assert ({"supervisorctl", "stack"} <= commands) is plain


def test_sudo_finds_the_commands_where_its_path_leaves_out_usr_local() -> None:
    values = stack.stack_load({})
    assert {"path": "/usr/sbin/stack", "target": "/usr/local/bin/stack"} in stack.command_links(values, "/usr/sbin")
    assert stack.command_links(values, "") == []


def secret_values(vault: dict[str, str], **found: dict[str, str]) -> Any:
    hostvars = {host: {"secrets_found": {"found": values}} for host, values in found.items()}
    return stack.stack_secret_values(NAMES, vault, [*found, "unreached"], {**hostvars, "unreached": {}})


def test_a_secret_that_a_host_has_is_kept_and_the_first_host_decides() -> None:
    values = secret_values({}, db={"secret_key": "old"}, app={"secret_key": "other", "database_password": "app's"})
    assert values == {"secret_key": "old", "database_password": "app's"}


def test_a_secret_from_the_vault_wins() -> None:
    assert secret_values({"secret_key": "vault's"}, app={"secret_key": "old"})["secret_key"] == "vault's"


def test_a_secret_that_nobody_has_is_made_anew_each_time() -> None:
    first, second = secret_values({}, app={}), secret_values({}, app={})
    assert set(first) == set(NAMES)
    assert len({*first.values(), *second.values()}) == 4
    assert min(map(len, first.values())) >= 40


def test_a_secret_file_is_closed_to_everyone_but_its_owner() -> None:
    files = stack.stack_secret_files({"secret_key": "x"}, "/etc/cloudeye/secrets", "cloudeye")
    assert files == [
        {"path": "/etc/cloudeye/secrets/secret_key", "content": "x\n", "owner": "cloudeye", "mode": "0600"}
    ]


def test_a_secret_file_lies_only_where_it_is_used() -> None:
    values = {"secret_key": "x", "mail_password": "y"}
    files = stack.stack_secret_files(values, "/s", "cloudeye", ["secret_key", "somebody_else_s"])
    assert [file["path"] for file in files] == ["/s/secret_key"]


def test_a_secret_that_nobody_can_make_up_comes_from_the_vault_or_not_at_all() -> None:
    vault = {"mail_password": "hunter two\n", "oidc_client_secret": "", "shop_key": "z"}
    assert stack.stack_given_secrets(["mail_password"], vault) == {"mail_password": "hunter two"}
    assert stack.stack_given_secrets([], vault) == {}
    with pytest.raises(AnsibleFilterError, match=r"vault_oidc_client_secret, vault_other: .*vault\.yml") as refusal:
        stack.stack_given_secrets(["mail_password", "oidc_client_secret", "other"], vault)
    assert "hunter" not in str(refusal.value)


@pytest.mark.parametrize(
    ("tag", "pattern"),
    [("cp312", "mysqlclient-2.3.1-cp312-*.whl"), ("", "mysqlclient-2.3.1-*.whl")],
)
def test_a_wheel_is_looked_for_by_version_and_python(tag: str, pattern: str) -> None:
    lock = "mysqlclient==2.3.1 \\\n    --hash=sha256:00\n"
    assert python.wheel_patterns(lock, tag) == [pattern]


def test_wheels_are_needed_as_long_as_one_host_lacks_one_for_its_own_python() -> None:
    lock = "mysqlclient==2.3.1 \\\n    --hash=sha256:00\n"
    wheel = "mysqlclient-2.3.1-cp312-cp312-linux_x86_64.whl"
    has = {"preflight_survey": {"interpreter_tag": "cp312", "held": {"wheels": [wheel]}}}
    lacks = {"preflight_survey": {"interpreter_tag": "cp312", "held": {"wheels": ["mysqlclient-2.3.0-cp312.whl"]}}}
    newer = {**has, "supervisor_venv": {"tag": "cp313"}}
    assert not python.wheels_needed(["a", "b"], {"a": has, "b": has}, lock)
    assert python.wheels_needed(["a", "b"], {"a": has, "b": lacks}, lock)
    assert python.wheels_needed(["a"], {"a": newer}, lock)


def test_the_survey_looks_at_every_file_that_comes_from_a_template_or_is_a_command() -> None:
    values = load("host", layers=[])
    paths = stack.provisioned_paths(values, ["/etc/more"])
    for source in ("nginx/nginx.conf.j2", "systemd/stack.service.j2", "supervisor/supervisord.conf.j2"):
        assert stack.stack_file(values, source)["path"] in paths
    assert {file["path"] for file in stack.command_files(values)} <= set(paths)
    assert "/etc/more" in paths
    assert [path for path in paths if not path.startswith("/") or values["paths"]["secrets"] in path] == []


@pytest.mark.parametrize(
    ("lock", "found", "holds"),
    [
        ("Jinja2==3.1.6 \\\n    --hash=sha256:00\nzope.event==5\n", {}, True),
        ("Jinja2==3.1.7\n", {}, False),
        ("jinja2==3.1.6\nnot-there==1\n", {}, False),
        ("jinja2==3.1.6\n", {"interpreter_version": "3.12"}, False),
        ("jinja2==3.1.6\n", {"venv": {}}, False),
        ("jinja2==3.1.6 ; python_version < '4'\n", {}, False),
        ("", {}, False),
    ],
)
def test_an_environment_that_the_survey_found_holds_a_lock_file_or_not(
    lock: str, found: dict[str, Any], holds: bool
) -> None:
    venv = {"version": "3.11", "held": {"jinja2": "3.1.6", "zope-event": "5"}}
    assert python.venv_holds(lock, {"interpreter_version": "3.11", "venv": venv, **found}) is holds
