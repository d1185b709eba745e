"""What is rendered is read by the programs it is for: nginx -t, supervisor's parser, systemd-analyze verify."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from deploy.local import install_rendered
from deploy.render import render, write
from deploy.stack import Stack, load, set_layer

CERTIFICATE = ["nginx.certificate={folder}/site.pem", "nginx.certificate_key={folder}/site.key"]
VARIANTS = {
    "plain": [],
    "tls": CERTIFICATE,
    "tls without http2": [*CERTIFICATE, "nginx.http2=none"],
    "behind a balancer": ["nginx.trusted_proxies=[198.51.100.7]", *CERTIFICATE],
    "lists": ["nginx.allow=[10.0.0.0/8]", "nginx.deny=[10.1.0.0/16]"],
    "no limit": ["nginx.rate=0", "nginx.gzip=false"],
    "another name": ["stack.name=parcel-desk", "app.module=desk"],
    "no sync": ["sync.enabled=false"],
    "nothing kept": ["nginx.cached=[]"],
    "something else kept": ["nginx.cached=[/shop/, /feed.json]", "app.public_url=https://shop.example.com/x"],
    "by size": ["log.rotate=size"],
    "to the journal": ["log.rotate=stream", "nginx.started_by=systemd"],
}


def rendered(profile: str, folder: Path, assignments: list[str], *, parts: tuple[str, ...]) -> Stack:
    """Render into a folder of the test, as a checkout has it, whatever the profile."""
    for name in ("root", "etc", "secrets", "log", "data", "run"):
        (folder / name).mkdir()
    paths = {name: f"paths.{name}={folder}/{name}" for name in ("root", "etc", "secrets", "log", "data", "run")}
    own = [*paths.values(), f"paths.nginx_log={folder}/log", f"paths.nginx_conf={folder}/nginx"]
    own.append(f"paths.nginx_cache={folder}/run/nginx-cache")
    values = [line.replace("{folder}", str(folder)) for line in assignments]
    # started_by=stack gives nginx.conf temp paths and a pid file of its own, so that -t needs no /run
    stack = load(
        profile,
        layers=[set_layer([*own, "nginx.started_by=stack", *values])],
        release={"id": "r1", "root": f"{folder}/root/release"},
    )
    write(render(stack, *parts))
    if "release" in parts:
        install_rendered(stack)
    return stack


@pytest.fixture
def certificate(tmp_path: Path) -> None:
    command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=site.example -days 2 -keyout site.key -out site.pem"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.parametrize("profile", ["local", "test", "host"])
@pytest.mark.parametrize("variant", [name for name in VARIANTS if name not in ("by size", "to the journal")])
@pytest.mark.parametrize("part", ["release", "lb"])
@pytest.mark.usefixtures("certificate")
def test_nginx_takes_its_configuration_without_a_warning(profile: str, variant: str, part: str, tmp_path: Path) -> None:
    assignments = [*VARIANTS[variant], *(["fleet.app=[198.51.100.1, 198.51.100.2]"] if part == "lb" else [])]
    rendered(profile, tmp_path, assignments, parts=(part, "system"))
    result = subprocess.run(
        [
            shutil.which("nginx") or "/usr/sbin/nginx",
            "-e",
            "stderr",
            "-t",
            "-p",
            str(tmp_path),
            "-c",
            f"{tmp_path}/nginx/nginx.conf",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert not re.search(r"\[(warn|emerg|crit)\]", result.stderr), result.stderr


@pytest.mark.parametrize("profile", ["local", "test", "host"])
@pytest.mark.parametrize("variant", ["plain", "another name", "no sync", "by size", "to the journal"])
def test_supervisor_takes_its_configuration(profile: str, variant: str, tmp_path: Path) -> None:
    stack = rendered(profile, tmp_path, VARIANTS[variant], parts=("release", "system"))
    text = Path(stack["supervisor"]["config"]).read_text()
    owner = f"chown={stack['names']['user']}:{stack['stack']['ops_group']}\n"
    Path(stack["supervisor"]["config"]).write_text(text.replace(owner, ""))  # the accounts exist on a host only
    options = ServerOptions()
    options.realize(["-c", stack["supervisor"]["config"]], doc="")
    found = {(group.name, process.name) for group in options.process_group_configs for process in group.process_configs}
    assert found == {(process["group"], process["name"]) for process in stack["processes"]}
    for group in options.process_group_configs:
        for process in group.process_configs:
            if process.name.startswith("api-"):
                assert process.stopwaitsecs == stack["timeouts"]["stopwait"]
                assert (process.stopasgroup, process.killasgroup) == (False, True)
                assert process.command.endswith(f"/instances/{process.name}/deploy/launch.py {process.name}")
            assert process.redirect_stderr
            if stack["log"]["rotated_by"] == "journal":
                assert (process.stdout_logfile, process.stdout_syslog) == (None, True)
            else:
                assert process.stdout_logfile == f"{stack['paths']['log']}/{process.name}.log"
                limits = (2 * 1024 * 1024, 10) if stack["log"]["rotated_by"] == "supervisor" else (0, 10)
                assert (process.stdout_logfile_maxbytes, process.stdout_logfile_backups) == limits
    assert stack["log"]["rotated_by"] == {
        "to the journal": "journal",
        "by size": "logrotate" if profile == "host" else "supervisor",
    }.get(variant, "supervisor" if profile == "local" else "logrotate")


@pytest.mark.parametrize(
    ("profile", "assignments", "wanted"),
    [
        ("host", [], "after 1 days (7 rotations)"),
        ("host", ["log.rotate=size"], "2097152 bytes (10 rotations)"),
        ("host", ["log.rotate=size", "log.size=3k", "log.files=4"], "3072 bytes (4 rotations)"),
        ("host", ["log.days=30", "stack.name=parcel-desk"], "after 1 days (30 rotations)"),
        ("test", [], "after 1 days (7 rotations)"),
    ],
)
def test_logrotate_takes_its_rule(profile: str, assignments: list[str], wanted: str, tmp_path: Path) -> None:
    stack = load(profile, layers=[set_layer([f"paths.log={tmp_path}", *assignments])])
    files = render(stack, "host" if profile == "host" else "checkout")
    (rule,) = (
        text for path, text in files.items() if path.parent.name == "logrotate.d" or path.name == "logrotate.conf"
    )
    for process in stack["processes"]:
        (tmp_path / f"{process['name']}.log").write_text("a line\n")
    name, group = stack["names"]["user"], stack["stack"]["ops_group"]
    file = tmp_path / "rule"
    file.write_text(rule.replace(f" {name} {group}\n", " root root\n"))  # the accounts exist on a host only
    tried = subprocess.run(
        ["/usr/sbin/logrotate", "--debug", "--state", str(tmp_path / "state"), str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert tried.returncode == 0, tried.stderr
    assert "error:" not in tried.stderr
    assert wanted in tried.stderr
    for process in stack["processes"]:
        assert f"considering log {tmp_path}/{process['name']}.log" in tried.stderr


def test_no_rule_is_made_for_logs_that_somebody_else_rotates() -> None:
    for profile, part, assignments in (("host", "host", ["log.rotate=stream"]), ("local", "checkout", [])):
        stack = load(profile, layers=[set_layer(assignments)])
        assert [path for path in render(stack, part) if "logrotate" in str(path)] == []


@pytest.mark.parametrize("variant", ["plain", "another name", "by size", "to the journal"])
def test_systemd_takes_its_units(variant: str, tmp_path: Path) -> None:
    stack = load("host", layers=[set_layer([*VARIANTS[variant], f"paths.root={tmp_path}"])])
    files = {path: text for path, text in render(stack, "host").items() if path.suffix in (".service", ".timer")}
    assert len(files) == (3 if variant == "by size" else 1)
    # ExecStart must be there to be verified
    (tmp_path / "supervisor" / "bin").mkdir(parents=True)
    (tmp_path / "supervisor" / "bin" / "supervisord").write_text("#!/bin/sh\n")
    (tmp_path / "supervisor" / "bin" / "supervisord").chmod(0o755)
    for path, text in files.items():
        (tmp_path / path.name).write_text(text)
    for path in files:
        unit = tmp_path / path.name
        result = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(unit)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
        )
        about_ours = [line for line in result.stderr.splitlines() if path.name in line]
        assert about_ours == []
        assert result.returncode == 0, result.stderr
