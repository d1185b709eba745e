"""Loading deploy/stack.yml: merging, and refusing what does not fit by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloudeye import mysql_hub
from deploy import derive
from deploy import stack as stack_module
from deploy.derive import settings
from deploy.rules import leaves
from deploy.stack import HERE, PROFILES, StackError, env_file_layer, load, load_with_origin, profile_layers, set_layer


def problems_of(*assignments: str, profile: str = "host") -> list[str]:
    with pytest.raises(StackError) as refused:
        load(profile, layers=[set_layer(assignments)])
    return refused.value.problems


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_loads(profile: str) -> None:
    assert load(profile)["profile"] == profile


@pytest.mark.parametrize(
    ("assignment", "named"),
    [
        ("nginx.htp_port=1", "nginx.htp_port (--set) is no key of deploy/stack.yml; did you mean nginx.http_port?"),
        ("nginks.http_port=1", "nginks (--set) is no key of deploy/stack.yml; did you mean nginx?"),
        ("api.ports=8001", "api.ports (--set) is 8001: it must be a list of numbers"),
        ("api.ports=[a]", "api.ports (--set) is ['a']: it must be a list of numbers"),
        ("api.ports=[]", "api.ports is empty"),
        ("api.instances=yes", "api.instances (--set) is True: it must be a number"),
        ("api.debug=1", "api.debug (--set) is 1: it must be true or false"),
        ("nginx.server_name=7", "nginx.server_name (--set) is 7: it must be a string"),
        ("app.settings=x", "app.settings (--set) is 'x': it must be a mapping of plain values"),
        ("nginx.http_port=99999", "nginx.http_port is 99999: a port lies between 1 and 65535"),
        ("nginx.http_port=0", "nginx.http_port is 0: it must be above 0"),
        ("api.ports=[8001, 80]", "nginx.http_port and api.ports are both 80"),
        ("api.ports=[3306]", "database.port and api.ports are both 3306"),
        ("timeouts.graceful=25", "timeouts.graceful (25) must be less than timeouts.stopwait (25)"),
        ("timeouts.systemd_stop=75", "timeouts.stopwait times 3 groups (75) must be less than timeouts.systemd_stop"),
        ("timeouts.upstream_keepalive=20", "timeouts.upstream_keepalive (20) must be less than timeouts.graceful (20)"),
        ("timeouts.keepalive=1", "timeouts.upstream_keepalive (2) must be less than timeouts.keepalive (1)"),
        ("timeouts.request=1.5", "timeouts.request is 1.5: it must be a whole number"),
        ("timeouts.request=-1", "timeouts.request is -1: it must be above 0"),
        ("api.worker_class=eventlet", "api.worker_class is 'eventlet': it must be one of gevent, gthread, sync"),
        ("api.bind=0.0.0.0", "api.bind is 0.0.0.0: clients come through nginx"),
        ("api.bind=here", "api.bind is 'here': it must be a loopback address"),
        ("log.rotate=weekly", "log.rotate is 'weekly': it must be one of daily, size, stream"),
        ("log.access=yes please", "log.access is 'yes please': it must be one of port, process, none"),
        ("log.size=2MB", "log.size is '2MB': it must be a number followed by k, M or G"),
        ("log.rotate_days=7", "log.rotate_days (--set) is now called log.days"),
        ("api.access_log=true", "api.access_log (--set) is now called log.access"),
        ("nginx.allow=[10.0.0.0/33]", "nginx.allow holds '10.0.0.0/33'"),
        ("nginx.certificate=/etc/x.pem", "nginx.certificate and nginx.certificate_key go together"),
        ("nginx.server_name=a;b", "nginx.server_name holds 'a;b'"),
        ("stack.name=Up_Per", "stack.name is 'Up_Per'"),
        ("app.module=a-b", "app.module is 'a-b'"),
        ("paths.data=data", "paths.data is 'data': it must be absolute"),
        ("paths.data=/a b", "paths.data is '/a b': supervisor and nginx take no blanks"),
        ("app.settings.release=x", "app.settings.release: APP_RELEASE is the bundle's own"),
        ("releases.smoke=[ping]", "releases.smoke is ['ping']"),
        ("app.private_paths=[reset]", "app.private_paths holds 'reset': it must be a path such as /reset"),
        ("app.aliases=[/users]", "app.aliases holds '/users': it must be of the form /short=/api/v1/real"),
        ("app.cors_origins=[app.example.com]", "it must be an origin such as https://app.example.com"),
        ("attempts.login_account=often", "attempts.login_account is 'often': it must read like 10 per minute"),
        ("oidc.issuer=http://id.example.com", "oidc.issuer is 'http://id.example.com': only a loopback address"),
        ("oidc.issuer=http://localhost.example.com/x", "only a loopback address may be asked without TLS"),
        ("app.secrets=[Key]", "app.secrets holds 'Key': a secret's name is made of"),
        ("app.secrets=[secret_key]", "app.secrets holds 'secret_key': that one is the bundle's own"),
        ("app.secrets=[mail_password]", "app.secrets holds 'mail_password': that one is the bundle's own"),
        ("app.secrets=[a, b, a]", "app.secrets holds 'a' more than once"),
        (f"paths.run=/{'x' * 100}", "too deep for a unix socket"),
        ("nginx.cached=[/]", "nginx.cached holds '/': it must be a path such as /status/ or /feed.json, and not /"),
        ("nginx.cached=[status]", "nginx.cached holds 'status': it must be a path such as"),
        (
            "nginx.cached=[/reset]",
            "nginx.cached holds '/reset', which app.private_paths says is nobody else's business",
        ),
        ("nginx.cached=[/static/]", "nginx.cached holds '/static/': nginx serves these files itself"),
        ("nginx.cached=[/a/, /b, /a/]", "nginx.cached holds '/a/' more than once"),
        ("nginx.cache_size=64MB", "nginx.cache_size is '64MB': it must be a number followed by k, m or g"),
        ("nginx.cache_keys=1", "nginx.cache_keys (--set) is 1: it must be a string"),
        ("nginx.log_buffer=lots", "nginx.log_buffer is 'lots': it must be a number followed by k, m or g"),
        ("nginx.log_flush=-1", "nginx.log_flush is -1: it must be 0 or above 0"),
        ("nginx.cache_idle=0", "nginx.cache_idle is 0: it must be above 0"),
        ("database.max_connections=254", "database.max_connections (254) is less than the 255 connections"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_its_keys_name(assignment: str, named: str) -> None:
    assert any(named in problem for problem in problems_of(assignment)), problems_of(assignment)


def test_a_checkout_has_no_stream_that_anybody_reads() -> None:
    assert "in a checkout supervisord runs in the background" in problems_of("log.rotate=stream", profile="local")[0]


@pytest.mark.parametrize(
    ("profile", "assignments", "written"),
    [
        ("host", [], "port"),
        ("host", ["log.rotate=stream"], "process"),
        ("host", ["log.rotate=stream", "log.access=none"], "none"),
        ("local", [], "process"),
        ("local", ["log.access=port"], "port"),
    ],
)
def test_requests_are_written_down_where_somebody_keeps_the_file_small(
    profile: str, assignments: list[str], written: str
) -> None:
    assert settings(load(profile, layers=[set_layer(assignments)]))["GUNICORN_ACCESS_LOG"] == written


@pytest.mark.parametrize(("host", "refused"), [("smtp.example.com", True), ("127.0.0.1", False)])
def test_the_mail_servers_password_does_not_travel_in_the_clear(host: str, refused: bool) -> None:
    assignments = [f"mail.host={host}", "mail.security=none", "mail.user=us"]
    if refused:
        assert f"the password of mail.user would go to {host} in the clear" in problems_of(*assignments)[0]
    else:
        assert load("host", layers=[set_layer(assignments)])["mail"]["host"] == host


def test_every_problem_is_reported_at_once() -> None:
    assert len(problems_of("nginx.htp_port=1", "api.prots=[1]", "nginx.user=5")) == 3


@pytest.mark.parametrize("line", ["http_port=1", "nginx.http_port", "nginx..x=1", "=1"])
def test_an_assignment_of_another_form_is_refused_with_the_line(line: str) -> None:
    with pytest.raises(StackError, match="is not of the form"):
        set_layer([line])


def test_a_renamed_key_is_refused_by_naming_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(stack_module.RENAMED, "nginx.port", "nginx.http_port")
    assert problems_of("nginx.port=81") == ["nginx.port (--set) is now called nginx.http_port"]


def test_later_layers_win_and_their_origin_is_known() -> None:
    layers = [set_layer(["nginx.http_port=81"], source=".env"), set_layer(["nginx.http_port=82"])]
    merged, origin = load_with_origin("local", layers=layers)
    assert merged["nginx"]["http_port"] == 82
    assert origin["nginx.http_port"] == "--set"
    assert origin["nginx.listen"] == "deploy/profiles/local.yml"
    assert origin["nginx.gzip"] == "deploy/stack.yml"


def test_a_dot_env_file_overrides_and_its_comments_do_not_count(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("# a comment\n\nnginx.http_port=9090\nsync.allow_private=true\n")
    stack = load("local", layers=[env_file_layer(file)])
    assert (stack["nginx"]["http_port"], stack["sync"]["allow_private"]) == (9090, True)


def test_an_app_of_ones_own_gets_its_settings() -> None:
    stack = load("host", layers=[set_layer(["app.settings.mail_from=a@b.example"])])
    assert settings(stack)["APP_MAIL_FROM"] == "a@b.example"


@pytest.mark.parametrize(
    ("assignments", "asked"),
    [
        ([], {}),
        (["mail.user=watch@example.com"], {"mail_password": "mail.user"}),
        (["oidc.introspect=true"], {"oidc_client_secret": "oidc.introspect"}),
        (["app.secrets=[shop_key]"], {"shop_key": "app.secrets"}),
    ],
)
def test_a_secret_is_asked_for_by_what_needs_it(assignments: list[str], asked: dict[str, str]) -> None:
    stack = load("host", layers=[set_layer(assignments)])
    assert stack["secrets"] == asked
    given = settings(stack)
    for name in ("mail_password", "oidc_client_secret", "shop_key"):
        path = f"/etc/cloudeye/secrets/{name}" if name in asked else ""
        assert given.get(f"APP_{name.upper()}_FILE", "") == path


@pytest.mark.parametrize(
    "issuer", ["https://id.example.com/x", "http://127.0.0.1:8080/x", "http://localhost", "http://[::1]:1"]
)
def test_an_issuer_with_tls_or_on_this_machine_is_taken(issuer: str) -> None:
    stack = load("host", layers=[set_layer([f"oidc.issuer={issuer}", "oidc.client_id=us"])])
    assert stack["oidc"]["issuer"] == issuer


def test_a_setting_does_not_take_the_place_of_a_secret() -> None:
    problems = problems_of("app.secrets=[shop_key]", "app.settings.shop_key_file=/elsewhere")
    assert problems == ["app.settings.shop_key_file: APP_SHOP_KEY_FILE is the bundle's own; take another"]


def test_the_server_takes_as_many_connections_as_all_hosts_may_open() -> None:
    found = []
    for hosts in ("198.51.100.1", "198.51.100.1, 198.51.100.2", "198.51.100.1, 198.51.100.2, 198.51.100.3"):
        stack = load("host", layers=[set_layer([f"fleet.app=[{hosts}]", "database.pool_size=7"])])
        found.append((stack["database"]["max_connections"], int(settings(stack)["APP_DATABASE_CONNECTIONS"])))
    one = 4 * (7 + mysql_hub.SLOTS) + stack["sync"]["connections"] + mysql_hub.SLOTS
    assert [wanted for _, wanted in found] == [one, 2 * one, 3 * one]
    assert {limit - wanted for limit, wanted in found} == {derive.FOR_PEOPLE}


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_repeats_no_value_of_what_it_builds_on(profile: str) -> None:
    layers = profile_layers(profile)
    below = dict(leaves(stack_module.read_yaml(HERE / "stack.yml")))
    for layer in layers[:-1]:
        below.update(leaves(layer.values))
    repeated = [key for key, value in leaves(layers[-1].values) if below.get(key) == value]
    assert repeated == []


def test_no_key_hides_behind_a_method_of_dict() -> None:
    """In Jinja `stack.x.items` is the method, whatever the key holds."""

    def keys(values: Any) -> set[str]:
        inner = values.values() if isinstance(values, dict) else []
        return set(values if isinstance(values, dict) else []).union(*(keys(value) for value in inner))

    assert not keys(load("host")) & set(dir(dict))


def test_the_loaded_stack_of_another_name_says_nothing_of_the_first() -> None:
    stack = load("host", layers=[set_layer(["stack.name=parcel-desk", "app.module=desk", "app.wsgi=desk:app"])])
    found = {key: value for key, value in leaves(stack) if "cloudeye" in str(value) and key != "app.sync"}
    assert found == {}
