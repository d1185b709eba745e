"""How long requests take while hosts are released to, beside before: `python -m tests.hosts.latency`, as root.

An open loop asks for a site by its key with a token, at half the rate that a closed loop of 64 clients reaches: at a
fixed rate, whether or not earlier requests were answered, and each latency counts from when its request was due
(tests/bench/requests/openloop.py). It asks before, then from the beginning of each playbook until its end. Ansible, the
hosts and the clients share this machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench.requests import wrk
from tests.bench.requests.openloop import Plan
from tests.bench.requests.workloads import WORKLOADS, Workload
from tests.hosts.deployed import Deployment, bare_hosts
from tests.hosts.playing import CHECKOUT, commit, copy_of_checkout

SATURATE, BEFORE, LONGEST = 5, 20, 600  # seconds
BAR = 3.0  # p99 meanwhile, against before


def main() -> int:
    """Boot hosts, deploy, measure, print; returns 0 when each ratio is below the bar and no request failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layout", choices=["one", "four"], default="one", help="of the hosts (default: %(default)s)")
    layout = parser.parse_args().layout
    reading = next(one for one in WORKLOADS if one.name == "read")
    with tempfile.TemporaryDirectory() as name, bare_hosts("latency", layout, cache=layout == "four") as made:
        folder = Path(name)
        checkout = copy_of_checkout(folder / "copy")
        made.play("deploy.yml", checkout=checkout).went_well()
        token = made.admin_token()
        made.ask("POST", "/api/v1/sites", {"name": "a site", "url": "https://example.com/", "paused": True}, token)
        saturating = wrk.run(reading, made.url, token, folder, SATURATE).per_second
        rate = saturating / 2
        print(f"{layout}: {saturating:.0f} requests/s at most; asking at {rate:.0f}/s", flush=True)
        with asking(made, reading, token, rate, BEFORE) as before:
            pass
        rows = [("before", before)]
        with (checkout / "src" / "cloudeye" / "wsgi.py").open("a") as file:
            file.write("\n# another release\n")
        commit(checkout, "another release")
        for playbook in ("release.yml", "rollback.yml", "restart.yml"):
            token = made.admin_token()
            with asking(made, reading, token, rate, LONGEST, until_end=False) as found:
                made.play(playbook, checkout=checkout).went_well()
            rows.append((playbook, found))
    good = True
    for what, found in rows:
        ratio, failed = found["p99"] / before["p99"], sum(found["errors"].values())
        holds = ratio <= BAR and not failed
        good &= holds
        print(
            f"{'ok ' if holds else 'BAD'} {what:<14} p50 {found['p50']:8.1f} ms  p99 {found['p99']:8.1f} ms"
            f" ({ratio:.2f} of before)  longest {found['max']:8.1f} ms  {failed} of"
            f" {found['answered'] + failed} failed {found['errors'] or ''}  late itself: p99 {found['late_p99']} ms"
        )
    return int(not good)


@contextmanager
def asking(
    made: Deployment, what: Workload, token: str, rate: float, seconds: float, *, until_end: bool = True
) -> Iterator[dict[str, Any]]:
    """Ask in an open loop while the block runs; what is yielded holds the figures afterwards.

    Args:
        made: whose front is asked.
        what: is asked.
        token: of who asks.
        rate: requests a second.
        seconds: for so long at most.
        until_end: wait until they are over, else end with the block.
    """
    host = made.url.removeprefix("http://")
    request = what.request(host, token).decode("latin-1")
    plan = Plan(int(host.rpartition(":")[2]), request, what.status, rate, seconds, address=host.partition(":")[0])
    command = [sys.executable, "-m", "tests.bench.requests.openloop", json.dumps(asdict(plan))]
    found: dict[str, Any] = {}
    process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    try:
        yield found
        if not until_end:
            process.terminate()
        said, _ = process.communicate(timeout=seconds + 30)
        found.update(json.loads(said))
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
