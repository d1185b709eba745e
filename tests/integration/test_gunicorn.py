"""The application as it is served: two gunicorn masters with gevent workers on one database."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.integration.world import PASSWORD, World
from tests.ports import free_port

pytestmark = pytest.mark.long

# Of one account no more logins may be under way at once than may fail.
PATIENT = {"APP_ATTEMPTS_LOGIN_ACCOUNT": "1000 per minute"}
SOURCES = Path(__file__).resolve().parents[2] / "src"


@pytest.fixture
def instances(world: World, tmp_path: Path) -> Iterator[list[httpx.Client]]:
    """Clients of two running instances."""
    processes, clients = [], []
    path = os.pathsep.join([str(SOURCES), *sys.path])
    variables = {**os.environ, **world.settings, **PATIENT, "PYTHONPATH": path}
    try:
        for _ in range(2):
            port = free_port()
            with (tmp_path / f"{port}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "gunicorn", "--worker-class", "gevent", "--bind", f"127.0.0.1:{port}",
                         "--no-control-socket", "cloudeye.wsgi:app"],
                        env=variables,
                        stdout=log,
                        stderr=log,
                        cwd=tmp_path,
                    )
                )  # fmt: skip
            limits = httpx.Limits(max_connections=100)
            clients.append(httpx.Client(base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=30))
        for client in clients:
            wait_for(client, tmp_path)
        yield clients
    finally:
        for client in clients:
            client.close()
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)


def wait_for(client: httpx.Client, logs: Path, seconds: float = 90) -> None:
    """Wait until an instance is ready."""
    end = time.monotonic() + seconds
    while True:
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > end:
            raise AssertionError("\n".join(path.read_text()[-3000:] for path in logs.glob("*.log")))
        time.sleep(0.1)


def log_in(client: httpx.Client, name: str) -> dict[str, str]:
    """Return the headers of one of the cast."""
    answer = client.post("/api/v1/auth/login", json={"email": f"{name}@example.com", "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['data']['access_token']}"}


def test_of_sixteen_creations_that_race_over_two_instances_one_wins(instances: list[httpx.Client]) -> None:
    headers = log_in(instances[0], "admin")
    start = threading.Barrier(16)

    def create(number: int) -> tuple[int, str]:
        start.wait()
        body = {"username": "racer", "email": "racer@example.com", "password": "as fast as the others"}
        answer = instances[number % 2].post("/api/v1/users", json=body, headers=headers)
        return answer.status_code, answer.json()["message"]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(create, range(16)))
    assert sorted(answers) == [
        (201, "racer@example.com was added!"),
        *[(400, "Sorry. That email already exists.")] * 15,
    ]


def test_no_write_is_lost_while_two_instances_write_at_once(instances: list[httpx.Client], world: World) -> None:
    headers = log_in(instances[0], "owner")

    def create(number: int) -> int:
        body = {"name": f"site {number}", "url": f"https://example.com/{number}"}
        return instances[number % 2].post("/api/v1/sites", json=body, headers=headers).status_code

    with ThreadPoolExecutor(32) as pool:
        assert set(pool.map(create, range(200))) == {201}
    listed = world.log_in("owner").gets("sites?per_page=1")
    assert listed.json["data"]["paging"]["total"] == 200


def test_a_token_of_one_instance_is_good_for_the_other(instances: list[httpx.Client]) -> None:
    headers = log_in(instances[0], "owner")
    assert instances[1].get("/api/v1/sites", headers=headers).status_code == 200


def test_hashing_passwords_does_not_hold_up_other_requests(instances: list[httpx.Client]) -> None:
    """While 24 logins hash, one after the other waiting for a core, a ping gets through among them."""
    client = instances[0]
    log_in(client, "owner")
    order: list[str] = []

    def hash_one(_: int) -> None:
        log_in(client, "owner")
        order.append("login")

    with ThreadPoolExecutor(24) as pool:
        logins = [pool.submit(hash_one, number) for number in range(24)]
        while not order:
            time.sleep(0.001)
        assert client.get("/ping").status_code == 200
        order.append("ping")
        for login in logins:
            login.result()
    assert order.index("ping") < 24, order
