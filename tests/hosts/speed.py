"""How fast a provisioned host is moved, beside the floor: `python -m tests.hosts.speed`, as root.

The floor of a release is what no tool can leave out: the round trips over ssh that it must make, copying the archive
and unpacking it, and starting all instances one at a time until each is healthy. All of it is measured in the same run.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.hosts.deployed import Deployment, bare_hosts
from tests.hosts.playing import commit, copy_of_checkout
from tests.hosts.shell import run

# Reach the host, survey it, look for the release and for the wheels, copy the archive, run the engine.
ROUND_TRIPS = 6


def main() -> int:
    """Boot a host, deploy, measure, print; returns 0 when each ratio is below its bar."""
    with tempfile.TemporaryDirectory() as name, bare_hosts("speed", "one") as one:
        checkout = copy_of_checkout(Path(name) / "copy")
        one.play("deploy.yml", checkout=checkout).went_well()
        again = min(one.play("deploy.yml", checkout=checkout).went_well().seconds for _ in range(2))
        trip, copy, restart = _round_trip(one), _copy(one, checkout), _restart(one)
        floor = ROUND_TRIPS * trip + copy + restart
        with (checkout / "src" / "cloudeye" / "wsgi.py").open("a") as file:
            file.write("\n# another release\n")
        commit(checkout, "another release")
        release = one.play("release.yml", checkout=checkout).went_well().seconds
        rollback = one.play("rollback.yml", checkout=checkout).went_well().seconds
    print(f"floor: {ROUND_TRIPS} round trips of {trip:.2f} s, archive {copy:.2f} s, starting all {restart:.1f} s")
    rows = [
        ("deploy.yml with nothing to do", again, 15.0, "s"),
        ("code-only release.yml / floor", release / floor, 3.0, f"({release:.1f} s / {floor:.1f} s)"),
        ("rollback.yml / restart", rollback / restart, 1.5, f"({rollback:.1f} s / {restart:.1f} s)"),
    ]
    for what, value, bar, unit in rows:
        print(f"{'ok ' if value < bar else 'BAD'} {what:<32} {value:6.2f}  below {bar:g}  {unit}")
    return int(any(value >= bar for _, value, bar, _ in rows))


def _seconds(work: Callable[[], object]) -> float:
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def _round_trip(one: Deployment) -> float:
    """Seconds of one command over a connection that is open already, as Ansible's are."""
    host = one.app
    with tempfile.TemporaryDirectory() as folder:
        mux = ["ssh", "-F", str(host.ssh_config), "-o", f"ControlPath={folder}/mux", "-o", "ControlMaster=auto"]
        mux += ["-o", "ControlPersist=60", host.name, "sudo -n true"]
        run(*mux)
        taken = statistics.median(_seconds(lambda: run(*mux)) for _ in range(5))
        run("ssh", "-O", "exit", "-o", f"ControlPath={folder}/mux", "gone", check=False)
        return taken


def _copy(one: Deployment, checkout: Path) -> float:
    """Seconds to copy the archive of a release to the host and to unpack it."""
    archive = checkout / "build" / f"{one.name}.tar.gz"
    target = f"{one.app.name}:/tmp/{archive.name}"

    def work() -> None:
        run("scp", "-q", "-F", str(one.app.ssh_config), str(archive), target)
        one.app.run(f"mkdir -p /tmp/unpacked && tar -xzf /tmp/{archive.name} -C /tmp/unpacked", check=True)

    return _seconds(work)


def _restart(one: Deployment) -> float:
    """Seconds to start every process anew, one at a time, each until it is healthy: the engine's own steps."""
    said = one.app.run("stack restart --json", root=True, check=True).out.splitlines()[-1]
    return float(sum(step["seconds"] for step in json.loads(said)["steps"]))


if __name__ == "__main__":
    sys.exit(main())
