"""What is broken on a host on purpose, and how it is told that it mended itself."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from tests.hosts.deployed import Deployment
from tests.hosts.machine import Host
from tests.hosts.probing import Probe
from tests.hosts.report import REPORT


@dataclass(frozen=True)
class Fault:
    """A process that gets SIGKILL; `find` is a shell command that prints its pid on the host."""

    name: str
    find: str

    def pid(self, host: Host) -> int:
        """Its pid on the host; an assertion fails when there is none."""
        found = host.run(self.find, root=True).out.split()
        assert len(found) == 1, f"{self.name}: {self.find!r} printed {found}"
        return int(found[0])


FAULTS = [
    Fault("kill gunicorn master", "cat /run/cloudeye/api-8001-0.pid"),
    Fault("kill gunicorn worker", "pgrep --parent $(cat /run/cloudeye/api-8001-0.pid)"),
    Fault("kill sync", "cat /run/cloudeye/sync.pid"),
    Fault("kill supervisord", "systemctl show --property=MainPID --value cloudeye.service"),
    Fault("kill nginx", "cat /run/nginx.pid"),
    Fault("kill mariadbd", "systemctl show --property=MainPID --value mariadb.service"),
]


def another_pid(host: Host, fault: Fault, victim: int, seconds: float) -> float:
    """Wait until another process is in the killed one's place; returns how many seconds that took."""
    begin = time.monotonic()
    while time.monotonic() < begin + seconds:
        found = host.run(fault.find, root=True).out.split()
        if len(found) == 1 and int(found[0]) not in (0, victim) and host.run(f"test -d /proc/{found[0]}").ok:
            return time.monotonic() - begin
        time.sleep(0.2)
    raise AssertionError(f"nothing took the place of {fault.name.removeprefix('kill ')} within {seconds:.0f} s")


def note(name: str, probe: Probe, process: str) -> None:
    """Put a survived fault into the report."""
    failures = probe.failures
    kinds = ", ".join(f"{count} {why}" for why, count in failures.most_common())
    total = failures.total() + probe.answered
    REPORT.faults.append(
        (name, f"{probe.recovered_after:.1f} s", f"{failures.total()} of {total} ({kinds or '-'})", process)
    )


def site_names(deployment: Deployment, token: str, prefix: str) -> list[str]:
    """The names of all sites that begin with a prefix."""
    names: list[str] = []
    path = "/api/v1/sites?per_page=100"
    while path:
        status, body = deployment.ask("GET", path, token=token)
        assert status == 200, body
        names += [site["name"] for site in body["data"]["sites"] if site["name"].startswith(prefix)]
        path = body["data"]["paging"]["next"] or ""
    return names


def traces_of(host: Host, name: str, *, of: str) -> list[str]:
    """Lines in the files of one stack that hold another one's name, the path of the app's module aside."""
    places = f"/etc/{of} /etc/systemd/system/{of}.service /opt/{of}/current/rendered /usr/local/bin/{of}*"
    found = host.run(f"grep -rIn {name} {places}", root=True)
    assert found.status in (0, 1), found.err
    module = re.compile(rf'src/{name}/|APP_MODULE={name}$|"module": "{name}"|\b{name}\.(wsgi:app|sync)\b')
    return [line for line in found.out.splitlines() if name in module.sub("", line)]
