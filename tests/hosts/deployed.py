"""A set of hosts with the stack on it, as its operator and its clients see it."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import yaml

from deploy.stack import Layer, Stack, load
from tests.hosts import machines
from tests.hosts.machine import Host
from tests.hosts.machines import HostSet
from tests.hosts.playing import Played, play

# Quick loops, probes of this machine allowed, and no limit that a load from one address would run into.
QUICK = {
    "sync": {"allow_private": True, "minimum_interval": 1, "poll_seconds": 0.2, "heartbeat_seconds": 1},
    "nginx": {"rate": 0},
    "releases": {"watch_seconds": 3},
}

# Sets with the stack on them: what a failing test shows the logs of.
ACTIVE: list[Deployment] = []


class Deployment:
    """A set of hosts, the values that its inventory states, and ways to use what is deployed on it."""

    def __init__(self, made: HostSet, overrides: Mapping[str, Any]) -> None:
        self.made = made
        self.stack: Stack = load("host", layers=[Layer("the inventory", overrides)])
        self.name: str = self.stack["stack"]["name"]
        self.front: Host = next(host for host in made.hosts if "lb" in host.groups)
        self.app: Host = next(host for host in made.hosts if "app" in host.groups)
        self.url = f"http://{self.front.address}:{self.stack['nginx']['http_port']}"

    def play(self, playbook: str, *arguments: str, **options: Any) -> Played:
        """Run a playbook against the hosts; see `playing.play`."""
        return play(self.made, playbook, *arguments, **options)

    def ask(self, method: str, path: str, body: Any = None, token: str = "", timeout: float = 30) -> tuple[int, Any]:
        """One request through nginx: status and decoded body."""
        request = urllib.request.Request(self.url + path, method=method)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def release(self) -> str:
        """The id of the release that answers."""
        return str(self.ask("GET", "/healthz")[1]["data"]["release"])

    def secret(self, name: str) -> str:
        """One of the secrets, read as root on the first app host."""
        path = f"{self.stack['paths']['secrets']}/{name}"
        return self.app.run(f"cat {path}", root=True, check=True).out.strip()

    def admin_token(self) -> str:
        """A bearer token of the first admin."""
        body = {"email": self.stack["app"]["admin_email"], "password": self.secret("admin_password")}
        status, answer = self.ask("POST", "/api/v1/auth/login", body)
        assert status == 200, answer
        return str(answer["data"]["access_token"])

    def supervisorctl(self, command: str) -> str:
        """What plain `supervisorctl` says to root on the first app host, whatever its exit status."""
        return self.app.run(f"supervisorctl {command}", root=True).out

    def all_running(self) -> bool:
        """Whether supervisor says RUNNING of each process of the stack."""
        lines = [line.split() for line in self.supervisorctl("status").splitlines()]
        return len(lines) == len(self.stack["processes"]) and all(words[1:2] == ["RUNNING"] for words in lines)

    def wait_until_running(self, seconds: float = 60) -> None:
        """Wait until every process is RUNNING; an assertion fails with their states when it takes too long."""
        deadline = time.monotonic() + seconds
        while not self.all_running():
            assert time.monotonic() < deadline, self.supervisorctl("status")
            time.sleep(0.5)

    def site_state(self, token: str, site: int) -> dict[str, Any]:
        """What the last probe said of a site."""
        status, body = self.ask("GET", f"/api/v1/sites/{site}/usability", token=token)
        assert status == 200, body
        usability: dict[str, Any] = body["data"]["usability"]
        return usability

    def wait_for_site(self, token: str, site: int, state: str, seconds: float = 60) -> dict[str, Any]:
        """What is said of a site when it has come to a state, or when the time is over."""
        deadline = time.monotonic() + seconds
        while (seen := self.site_state(token, site))["state"] != state and time.monotonic() < deadline:
            time.sleep(0.2)
        return seen

    def logs(self, host: Host, lines: int = 30) -> str:
        """The ends of what a host wrote that explains a failure; read from its disk, so also when it is down."""
        parts = [f"--- journal of {self.name}.service\n{host.journal(f'{self.name}.service', lines)}"]
        parts.append(f"--- journal\n{host.journal(lines=lines)}")
        folders = [self.stack["paths"]["nginx_log"], self.stack["paths"]["log"]]
        for folder in folders:
            for path in sorted((host.root / folder.lstrip("/")).glob("*.log")):
                if path.is_file() and path.stat().st_size and "access" not in path.name:
                    end = path.read_text(errors="replace").splitlines()[-lines:]
                    parts.append(f"--- {path.name}\n" + "\n".join(end))
        return "\n".join(parts)


@contextmanager
def bare_hosts(
    kind: str, layout: str, shape: str = "debian12", *, cache: bool = False, overrides: Mapping[str, Any] = QUICK
) -> Iterator[Deployment]:
    """Bare hosts and an inventory with overrides, to be deployed to; removed when the block ends, however it does.

    The set's name is this process's own, so that two test runs do not take each other's hosts away.
    """
    set_name = f"{kind}{os.getpid()}"
    made = machines.up(set_name, layout, shape, cache=cache, owner=os.getpid())
    try:
        values = made.inventory / "group_vars" / "all" / "stack.yml"
        values.parent.mkdir(parents=True)
        # The tests release the working tree as it is; people must commit first.
        values.write_text(yaml.safe_dump({"stack_overrides": dict(overrides), "archive_allow_dirty": True}))
        deployment = Deployment(made, overrides)
        ACTIVE.append(deployment)
        try:
            yield deployment
        finally:
            ACTIVE.remove(deployment)
    finally:
        machines.down(set_name)
