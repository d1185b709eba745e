"""The harness itself: hosts boot, are bare, can be hurt and mended, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.hosts import cgroup, machines
from tests.hosts.machine import Host
from tests.hosts.machines import HostSet
from tests.hosts.settings import BRIDGE, CGROUP, CHECKOUT, TABLE, inventory_folder, run_folder
from tests.hosts.shell import HarnessError, run

pytestmark = pytest.mark.usefixtures("this_machine_boots_hosts")


@pytest.fixture(scope="module")
def bare() -> Iterator[HostSet]:
    """A set of this file's own: what other tests installed on theirs must not decide whether a host is bare."""
    made = machines.up("tbare", owner=os.getpid())
    try:
        yield made
    finally:
        machines.down("tbare")


@pytest.fixture
def host(bare: HostSet) -> Host:
    return bare.hosts[0]


def test_a_host_boots_to_running_and_lets_its_operator_become_root(host: Host) -> None:
    assert host.run("systemctl is-system-running").out.strip() == "running"
    assert host.run("id -un").out.strip() == "ops"
    assert host.run("id -un", root=True).out.strip() == "root"
    assert host.run("cat /etc/hostname").out.strip() == host.name


def test_root_cannot_log_in_over_ssh(host: Host) -> None:
    refused = run("ssh", "-F", str(host.ssh_config), "-l", "root", host.name, "true", check=False)
    assert refused.status == 255
    assert "Permission denied" in refused.err


@pytest.mark.parametrize(
    "program",
    ["nginx", "mariadbd", "mysqld", "gcc", "cc", "make", "pip3", "supervisord", "redis-server", "curl", "nft"],
)
def test_it_is_bare(host: Host, program: str) -> None:
    assert not host.run(f"command -v {program}", root=True).ok


def test_it_has_a_mutable_disk_of_its_own_over_a_root_that_stays_as_it_was(host: Host) -> None:
    host.run("echo mine > /etc/issue && rm /usr/bin/less", root=True, check=True)
    again = machines.up("tother", owner=os.getpid())
    try:
        other = again.hosts[0]
        assert other.address != host.address
        assert "mine" not in other.run("cat /etc/issue").out
        assert other.run("command -v less").ok
        assert other.run("cat /etc/machine-id").out != host.run("cat /etc/machine-id").out
    finally:
        machines.down("tother")
    assert host.run("cat /etc/issue").out.strip() == "mine", "the end of one set must not touch another"


def test_ansible_finds_every_group_in_the_inventory(bare: HostSet) -> None:
    listed = yaml.safe_load((bare.inventory / "hosts.yml").read_text())["all"]
    assert {group: list(body["hosts"]) for group, body in listed["children"].items()} == {
        "lb": ["one"],
        "app": ["one"],
        "db": ["one"],
    }
    pinged = run(
        str(Path(sys.executable).with_name("ansible")), "-i", str(bare.inventory), "all", "-m", "ansible.builtin.ping"
    )
    assert "SUCCESS" in pinged.out


def test_it_reaches_package_registries_until_it_is_cut_off(host: Host) -> None:
    def resolves() -> bool:
        return host.run("timeout 20 getent hosts deb.debian.org").ok

    assert resolves()
    host.cut_off()
    try:
        assert not resolves()
        assert host.run("true").ok, "this machine still reaches it"
    finally:
        host.reconnect()
    assert resolves()


def test_it_comes_back_from_a_reboot_with_its_disk(host: Host) -> None:
    before = host.boot_id()
    host.run("touch /var/lib/kept", root=True, check=True)
    host.reboot()
    assert host.boot_id() != before
    assert host.run("test -e /var/lib/kept").ok


def test_it_comes_back_from_a_power_cut_with_what_was_on_its_disk(host: Host) -> None:
    before = host.boot_id()
    host.run("echo kept > /var/lib/kept && sync", root=True, check=True)
    host.pull_power()
    assert not host.is_running()
    assert "Started" in host.journal(), "its journal can be read while it is down"
    host.start()
    host.wait_until_ready()
    assert host.boot_id() != before
    assert host.run("cat /var/lib/kept").out.strip() == "kept"


def test_a_killed_process_is_gone_and_its_unit_starts_it_again(host: Host) -> None:
    main = "systemctl show --property=MainPID --value systemd-logind"
    before = host.run(main).out
    assert host.kill("systemd-logind$") == 1
    end = time.monotonic() + 20
    while host.run(main).out in (before, "0\n") and time.monotonic() < end:
        time.sleep(0.1)
    assert host.run(main).out not in (before, "0\n")


def test_a_kill_that_hits_nothing_is_an_error(host: Host) -> None:
    with pytest.raises(HarnessError, match="nothing on one matches 'no-such-daemon'"):
        host.kill("no-such-daemon")


def test_it_refuses_a_second_set_of_the_same_name_and_reuses_it_when_asked(bare: HostSet) -> None:
    with pytest.raises(HarnessError, match="set tbare is up"):
        machines.up("tbare")
    assert machines.up("tbare", reuse=True) == bare


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"set_name": "Not-A-Name"}, "no name for a set"),
        ({"layout": "seven"}, "no layout seven"),
        ({"shape": "plan9"}, "no shape plan9"),
        ({"layout": "four", "name": "solo"}, "names the host of layout one"),
    ],
)
def test_it_refuses_what_it_cannot_make(wrong: dict[str, str], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        machines.up(**({"set_name": "twrong"} | wrong))  # type: ignore[arg-type]
    assert not (run_folder() / "twrong").exists()


def _traces(set_name: str) -> list[str]:
    """Everything of a set that is still on this machine."""
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"/{set_name}/" in line]
    groups = [str(path) for point in cgroup.hierarchies() for path in (point / CGROUP).glob(f"{set_name}-*")]
    nspawn = [str(path) for path in Path("/run/systemd/nspawn").rglob(f"*{set_name}-*")]
    lines = run("ps", "-eo", "pid,stat,args").out.splitlines()
    running = [line for line in lines if f"{set_name}-" in line and " Z" not in line]
    folders = [str(path) for path in (run_folder() / set_name, inventory_folder(set_name)) if path.exists()]
    return mounts + groups + nspawn + running + folders


def test_down_leaves_no_trace_and_says_so_when_there_is_nothing() -> None:
    forwarding = Path("/proc/sys/net/ipv4/ip_forward")
    others = [name for name in machines.names() if name != "ttrace"]
    before = forwarding.read_text()
    machines.up("ttrace", layout="four", owner=os.getpid())
    assert _traces("ttrace")
    assert machines.down("ttrace")
    assert _traces("ttrace") == []
    assert not machines.down("ttrace")
    if not others:
        assert not run_folder().exists()
        assert not Path(f"/sys/class/net/{BRIDGE}").exists()
        assert TABLE not in run("nft", "list", "tables").out
        assert forwarding.read_text() == before


def test_hosts_end_when_the_process_that_made_them_is_killed() -> None:
    program = (
        "import os, time; from tests.hosts import machines; machines.up('torphan', owner=os.getpid()); time.sleep(600)"
    )
    starter = subprocess.Popen([sys.executable, "-c", program], cwd=CHECKOUT)
    try:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            known = machines.load("torphan")
            if known is not None and known.hosts[0].run("true").ok:
                break
            time.sleep(0.2)
        else:
            pytest.fail("the host of the other process never came up")
        starter.send_signal(signal.SIGKILL)
        starter.wait()
        while _traces("torphan") and time.monotonic() < end:
            time.sleep(0.2)
        assert _traces("torphan") == []
    finally:
        starter.kill()
        starter.wait()
        machines.down("torphan")
