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
}


def rendered(profile: str, folder: Path, assignments: list[str], *, parts: tuple[str, ...]) -> Stack:
    """Render into a folder of the test, as a checkout has it, whatever the profile."""
    for name in ("root", "etc", "secrets", "log", "data", "run"):
        (folder / name).mkdir()
    paths = {name: f"paths.{name}={folder}/{name}" for name in ("root", "etc", "secrets", "log", "data", "run")}
    own = [*paths.values(), f"paths.nginx_log={folder}/log", f"paths.nginx_conf={folder}/nginx"]
    values = [line.replace("{folder}", str(folder)) for line in assignments]
    # started_by=stack gives nginx.conf temp paths and a pid file of its own, so that -t needs no /run
    stack = load(
        profile,
        layers=[set_layer([*own, "nginx.started_by=stack", *values])],
        release={"id": "r1", "root": f"{folder}/root/release"},
    )
    write(render(stack, *parts))
    install_rendered(stack)
    return stack


@pytest.fixture
def certificate(tmp_path: Path) -> None:
    command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=site.example -days 2 -keyout site.key -out site.pem"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.parametrize("profile", ["local", "test", "host"])
@pytest.mark.parametrize("variant", VARIANTS)
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
@pytest.mark.parametrize("variant", ["plain", "another name", "no sync"])
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


@pytest.mark.parametrize("variant", ["plain", "another name"])
def test_systemd_takes_its_units(variant: str, tmp_path: Path) -> None:
    stack = load("host", layers=[set_layer([*VARIANTS[variant], f"paths.root={tmp_path}"])])
    files = {path: text for path, text in render(stack, "host").items() if path.suffix == ".service"}
    # ExecStart must be there to be verified
    (tmp_path / "supervisor" / "bin").mkdir(parents=True)
    (tmp_path / "supervisor" / "bin" / "supervisord").write_text("#!/bin/sh\n")
    (tmp_path / "supervisor" / "bin" / "supervisord").chmod(0o755)
    for path, text in files.items():
        unit = tmp_path / path.name
        unit.write_text(text)
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
