"""What the preflight refuses, and what it says."""

from __future__ import annotations

import time
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from .support import ANSIBLE, plugin, read

preflight = plugin("filter/preflight.py")
stack = plugin("filter/stack.py")

PLATFORM = ANSIBLE / "roles" / "platform"
SUPPORTED = sorted(path.stem for path in (PLATFORM / "vars").glob("*_*.yml"))
END_OF_LIFE = read(PLATFORM / "vars" / "main.yml")["__platform_end_of_life"]
SERVICES = {"nginx": "nginx.service", "database": "mariadb.service", "cache": "redis.service"}


@pytest.mark.parametrize(
    ("os_release", "name"),
    [
        ('NAME="CentOS Stream"\nID="centos"\nVERSION_ID="9"\n', "CentOS_9"),
        ('ID="centos"\nVERSION_ID="10"\n', "CentOS_10"),
        ('ID="rocky"\nVERSION_ID="9.6"\nPRETTY_NAME="Rocky Linux 9.6 (Blue Onyx)"\n', "Rocky_9"),
        ('ID="almalinux"\nVERSION_ID="10.1"\n', "AlmaLinux_10"),
        ('ID=debian\nVERSION_ID="12"\n', "Debian_12"),
        ('ID="rhel"\nVERSION_ID="9.4"\n', "RedHat_9"),
    ],
)
def test_a_distribution_is_known_by_its_os_release(os_release: str, name: str) -> None:
    assert preflight.platform_name(os_release, SUPPORTED, END_OF_LIFE) == name


@pytest.mark.parametrize(
    ("os_release", "why"),
    [
        ('ID="centos"\nVERSION_ID="7"\nPRETTY_NAME="CentOS Linux 7 (Core)"\n', "CentOS Linux 7 (Core) reached its end"),
        ('ID="centos"\nVERSION_ID="8"\nPRETTY_NAME="CentOS Stream 8"\n', "CentOS Stream 8 reached its end of life"),
        ('ID=ubuntu\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04"\n', "Ubuntu 24.04 is not known here"),
        ("", "unknown_ is not known here"),
    ],
)
def test_another_one_is_refused_by_naming_those_that_are_supported(os_release: str, why: str) -> None:
    with pytest.raises(AnsibleFilterError) as refusal:
        preflight.platform_name(os_release, SUPPORTED, END_OF_LIFE)
    assert why in str(refusal.value)
    for name in ("CentOS 9", "Rocky 10", "Debian 12"):
        assert name in str(refusal.value)


def listener(port: int, process: str, unit: str) -> dict[str, Any]:
    return {"port": port, "address": "0.0.0.0", "process": process, "unit": unit}


def problems(
    overrides: dict[str, Any] | None = None, groups: list[str] | None = None, ours: bool = True, **survey: Any
) -> list[str]:
    """What is said of a sound host on which some things are different."""
    sound = {
        "time": time.time(), "python": "3.9.18", "memory_mb": 4096, "disk_mb": 20000, "selinux": "disabled",
        "listeners": [listener(22, "sshd", "sshd.service")], "existing": [], "unreachable": [],
    }  # fmt: skip
    values = stack.stack_load(overrides or {})
    found: list[str] = preflight.preflight_problems(
        {**sound, **survey}, values, groups or ["app", "db", "lb"], SERVICES, time.time(), False, ours
    )
    return found


def test_a_sound_host_is_let_through() -> None:
    assert problems() == []


def test_a_host_that_runs_the_stack_already_is_let_through() -> None:
    listeners = [
        listener(22, "sshd", "ssh.service"),
        listener(80, "nginx", "nginx.service"),
        listener(3306, "mariadbd", "mariadb.service"),
        listener(8001, "supervisord", "cloudeye.service"),
    ]
    assert problems(listeners=listeners) == []


@pytest.mark.parametrize(
    ("survey", "words"),
    [
        ({"disk_mb": 100}, ["100 MB of free disk below /opt/cloudeye", "limits.disk_mb"]),
        ({"memory_mb": 200}, ["200 MB of available memory", "limits.memory_mb"]),
        ({"time": time.time() - 90}, ["s behind this machine's", "timedatectl"]),
        ({"time": time.time() + 5000}, ["s ahead of this machine's", "limits.clock_skew_seconds"]),
        ({"python": "3.6.8"}, ["/usr/bin/python3 is 3.6.8"]),
        (
            {"listeners": [listener(80, "apache2", "apache2.service")]},
            ["port 80 (nginx.http_port) is taken by apache2 (apache2.service)"],
        ),
        (
            {"listeners": [listener(8002, "python3", "other.service")]},
            ["port 8002 (api.ports) is taken by python3 (other.service)"],
        ),
        ({"listeners": [listener(3306, "mysqld", "")]}, ["port 3306 (database.port) is taken by mysqld"]),
        ({"existing": ["/etc/systemd/system/multi-user.target.wants/ufw.service"]}, ["disable --now ufw.service"]),
        ({"listeners": [listener(2222, "sshd", "ssh.service")]}, ["sshd listens on 2222", "firewall.ssh_port"]),
    ],
)
def test_what_does_not_fit_is_said_with_what_to_do(survey: dict[str, Any], words: list[str]) -> None:
    found = problems(**survey)
    assert len(found) == 1
    for word in words:
        assert word in found[0]


def test_everything_that_does_not_fit_is_said_at_once() -> None:
    assert len(problems(disk_mb=1, memory_mb=1, python="3.6.8")) == 3


def test_only_the_ports_of_a_hosts_own_groups_matter() -> None:
    assert problems(groups=["db"], listeners=[listener(80, "apache2", "apache2.service")]) == []


def test_a_database_of_somebody_elses_needs_a_password_and_must_answer() -> None:
    overrides = {"database": {"host": "10.1.1.1"}}
    unreachable = [{"host": "10.1.1.1", "port": 3306, "error": "timed out"}]
    found = problems(overrides, ["app"], ours=False, unreachable=unreachable)
    assert len(found) == 2
    assert "vault_database_password" in found[0]
    assert "10.1.1.1:3306 cannot be reached (timed out)" in found[1]


def test_without_a_database_host_it_asks_for_one() -> None:
    found = problems({}, ["app"], ours=False)
    assert len(found) == 1
    assert "no host is in the group db" in found[0]


def test_a_server_that_the_distribution_does_not_have_is_refused() -> None:
    sound = {"time": time.time(), "python": "3.11.2", "memory_mb": 4096, "disk_mb": 20000, "listeners": []}
    survey = {**sound, "existing": [], "unreachable": []}
    found = preflight.preflight_problems(
        survey, stack.stack_load({}), ["db"], SERVICES, time.time(), False, True, "mysql"
    )
    assert found == ["this distribution has no package of mysql: set database_server to mariadb"]
