"""EL-shaped hosts: Ansible takes them for what they stand for, and their packages behave as EL's do."""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.hosts import machines
from tests.hosts.el import doubles
from tests.hosts.el.shape import DISTRIBUTIONS
from tests.hosts.machine import Host
from tests.hosts.machines import HostSet
from tests.hosts.settings import CHECKOUT
from tests.hosts.shell import Result, run

pytestmark = pytest.mark.usefixtures("this_machine_boots_hosts")

# Typed by hand: what Ansible's facts say on the real ones.
FACTS = {
    "centos9": {"distribution": "CentOS", "distribution_version": "9", "distribution_release": "Stream"},
    "centos10": {"distribution": "CentOS", "distribution_version": "10", "distribution_release": "Stream"},
    "rocky9": {"distribution": "Rocky", "distribution_version": "9.6"},
    "alma10": {"distribution": "AlmaLinux", "distribution_version": "10.1"},
}
ALSO = [pytest.param(shape, marks=pytest.mark.slow) for shape in ("centos10", "rocky9")]


@pytest.fixture(scope="module", params=["centos9", "alma10", *ALSO])
def shaped(request: pytest.FixtureRequest) -> Iterator[HostSet]:
    """Each shape, bare at first; the tests below run in order and install on it."""
    machines.down("tshape")
    made = machines.up("tshape", shape=request.param, owner=os.getpid())
    try:
        yield made
    finally:
        machines.down("tshape")


@pytest.fixture
def host(shaped: HostSet) -> Host:
    return shaped.hosts[0]


@pytest.fixture
def major(shaped: HostSet) -> int:
    return DISTRIBUTIONS[shaped.shape].major


def _ansible(shaped: HostSet, module: str, arguments: dict[str, Any] | None = None) -> Result:
    command = [str(Path(sys.executable).with_name("ansible")), "-i", str(shaped.inventory), "all", "--become"]
    environment = os.environ | {"ANSIBLE_LOAD_CALLBACK_PLUGINS": "1", "ANSIBLE_STDOUT_CALLBACK": "json"}
    given = ["-a", json.dumps(arguments)] if arguments else []
    return run(*command, "-m", module, *given, check=False, env=environment)


def _answer(result: Result) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(result.out)["plays"][0]["tasks"][0]["hosts"]["one"]
    return answer


def test_ansible_takes_it_for_what_it_stands_for(shaped: HostSet) -> None:
    facts = _answer(_ansible(shaped, "ansible.builtin.setup"))["ansible_facts"]
    expected = FACTS[shaped.shape] | {"os_family": "RedHat", "pkg_mgr": "dnf", "service_mgr": "systemd"}
    assert {name: facts[f"ansible_{name}"] for name in expected} == expected


@pytest.mark.parametrize(
    "program", ["apt", "apt-get", "dpkg", "nginx", "mariadbd", "gcc", "make", "pip3", "tar", "curl"]
)
def test_it_is_bare_and_has_nothing_of_debian_s_package_manager(host: Host, program: str) -> None:
    assert not host.run(f"command -v {program}", root=True).ok


def test_it_runs_sshd_and_firewalld_and_starts_nothing_else_by_being_installed(host: Host) -> None:
    assert host.run("systemctl is-active sshd firewalld").out.split() == ["active", "active"]
    assert host.run("systemctl is-enabled ssh").status != 0
    assert "ssh" in host.run("firewall-cmd --list-services", root=True).out.split()
    assert host.run("readlink -f /bin/sh").out.strip().endswith("/bash")
    assert not host.run("getent passwd www-data").ok
    assert "/usr/local/bin" not in host.run("sudo env").out.partition("PATH=")[2].splitlines()[0]


def test_every_double_installs_once_and_a_second_time_changes_nothing(shaped: HostSet, major: int) -> None:
    names = [name for name, double in doubles.load(major)[0].items() if not double.installed]
    first = _answer(_ansible(shaped, "ansible.builtin.dnf", {"name": names}))
    assert first.get("changed"), first
    again = _answer(_ansible(shaped, "ansible.builtin.dnf", {"name": names}))
    assert again.get("changed") is False, again


def test_what_the_bare_host_has_counts_as_installed(shaped: HostSet) -> None:
    there = ["firewalld", "openssh-server", "sudo", "python3", "dnf", "systemd"]
    assert _answer(_ansible(shaped, "ansible.builtin.dnf", {"name": there})).get("changed") is False


def test_a_package_that_does_not_exist_is_refused_by_name(shaped: HostSet) -> None:
    answer = _answer(_ansible(shaped, "ansible.builtin.dnf", {"name": "nginx-full"}))
    assert "nginx-full" in str(answer.get("failures"))


def test_installed_units_are_off_until_somebody_starts_them(host: Host, major: int) -> None:
    units = [unit for double in doubles.load(major)[0].values() for unit in double.units]
    # chronyd is skipped wherever the clock cannot be set, on the real ones in a container too.
    units = [unit for unit in units if unit != "chronyd.service"]
    preset = {"crond.service", "logrotate.timer"}  # these EL enables by its own list

    def each(verb: str) -> dict[str, str]:
        return dict(zip(units, host.run(f"systemctl {verb} {' '.join(units)}").out.split(), strict=True))

    assert each("is-enabled") == {unit: "enabled" if unit in preset else "disabled" for unit in units}
    assert each("is-active") == dict.fromkeys(units, "inactive")
    host.run(f"systemctl start {' '.join(units)}", root=True, check=True)
    assert each("is-active") == dict.fromkeys(units, "active")


def test_mariadb_has_el_s_socket_log_and_aliases(host: Host) -> None:
    asked = host.run("mariadb --batch --skip-column-names -e 'select @@socket, @@log_error, current_user()'", root=True)
    assert asked.out.split() == ["/var/lib/mysql/mysql.sock", "/var/log/mariadb/mariadb.log", "root@localhost"]
    host.run("systemctl enable mariadb", root=True, check=True)
    assert host.run("systemctl is-active mysqld mysql").out.split() == ["active", "active"]
    assert "mariadbd" in host.run("ls /usr/libexec").out.split()


def test_nginx_has_a_server_of_its_own_that_the_first_one_in_conf_d_replaces(host: Host) -> None:
    fetch = "curl --silent --header 'Host: nobody.example' http://127.0.0.1/nothing"
    assert "packaged page" in host.run(fetch).out
    site = "server { listen 80; server_name site.example; return 200 ours; }"
    host.run(
        f"echo '{site}' > /etc/nginx/conf.d/site.conf && nginx -t && systemctl reload nginx", root=True, check=True
    )
    end = time.monotonic() + 10
    while host.run(fetch).out != "ours" and time.monotonic() < end:
        time.sleep(0.1)
    assert host.run(fetch).out == "ours"


def test_python_3_12_makes_a_venv_and_compiles_against_its_headers(host: Host) -> None:
    program = "#include <Python.h>\nint main(void) { return PY_MAJOR_VERSION != 3; }"
    done = host.run(
        "cd $(mktemp -d) && python3.12 -m venv v && v/bin/pip --version"
        f" && printf '{program}' > p.c && gcc p.c -o p"
        ' "-I$(v/bin/python -c \'import sysconfig; print(sysconfig.get_path("include"))\')" && ./p'
    )
    assert done.ok, done.err


def test_the_python_that_the_application_gets_on_9_sees_none_of_the_system_s_modules(host: Host, major: int) -> None:
    if major != 9:
        pytest.skip("python3.12 is the system's Python on EL 10")
    assert host.run("/usr/bin/python3 -c 'import dnf, selinux'").ok
    assert "No module named 'dnf'" in host.run("/usr/bin/python3.12 -c 'import dnf'").err


def test_selinux_s_tools_are_there_and_selinux_is_off(shaped: HostSet, host: Host) -> None:
    assert host.run("command -v semanage restorecon setsebool", root=True).ok
    facts = _answer(_ansible(shaped, "ansible.builtin.setup", {"gather_subset": ["!all", "selinux"]}))["ansible_facts"]
    assert facts["ansible_selinux"]["status"] == "disabled"


def test_it_comes_back_from_a_power_cut_with_its_firewall(host: Host) -> None:
    host.lose_power()
    assert host.run("systemctl is-active firewalld").out.strip() == "active"
    assert "sshd" in host.journal("sshd")


def test_every_double_of_el_10_has_a_name_and_a_repository_that_el_10_has() -> None:
    listed = (CHECKOUT / "tests" / "unit" / "ansible" / "data" / "el10-packages.txt").read_text().splitlines()
    real = {line.split()[0]: line.split()[2].lower() for line in listed if not line.startswith("#")}
    made = doubles.load(10)[0].values()
    assert {double.name: double.repository for double in made} == {
        double.name: real.get(double.name) for double in made
    }


@pytest.mark.parametrize("major", [9, 10])
def test_whatever_the_roles_install_on_el_can_be_installed_here(major: int) -> None:
    facts = yaml.safe_load((CHECKOUT / f"ansible/roles/platform/vars/RedHat_{major}.yml").read_text())
    wanted: set[str] = set()
    for name, value in facts.items():
        if name.endswith("packages"):
            # MySQL is configured for and untried: Debian has none.
            wanted |= set(value if isinstance(value, list) else value["mariadb"])
    assert "nginx" in wanted
    assert wanted <= set(doubles.load(major)[0])


def test_an_unknown_key_of_packages_yml_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = (doubles.HERE / "packages.yml").read_text()
    (tmp_path / "packages.yml").write_text(listed.replace("    units: [nginx.service]", "    unit: [nginx.service]"))
    monkeypatch.setattr(doubles, "HERE", tmp_path)
    with pytest.raises(ValueError, match="nginx has unknown keys unit"):
        doubles.load(9)
