"""None of the restarts that ops type loses a request, under POST load with keep-alive through nginx."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

import pytest

from tests.load import Call, Load
from tests.stack.conftest import LocalStack

FORMS = ["api-18001:api-18001-0", "api-18001:*", "all"]


def site_posts(token: str, prefix: str) -> tuple[Callable[[int, int], Call], set[str]]:
    """Calls that each create a site of their own name, and the set of names asked for."""
    names: set[str] = set()
    lock = threading.Lock()
    counter = itertools.count()

    def make(client: int, number: int) -> Call:
        name = f"{prefix}-{next(counter)}"
        with lock:
            names.add(name)
        body = {"name": name, "url": f"http://127.0.0.1:9/{name}", "interval": 86400}
        return Call("POST", "/api/v1/sites", body, {"Authorization": f"Bearer {token}"}, expect=201)

    return make, names


def all_site_names(stack: LocalStack, token: str, prefix: str) -> list[str]:
    names, path = [], "/api/v1/sites?per_page=100"
    while path:
        _, body, _ = stack.ask("GET", path, token=token)
        names += [site["name"] for site in body["data"]["sites"] if site["name"].startswith(prefix)]
        path = body["data"].get("paging", {}).get("next") or ""
    return names


@pytest.mark.parametrize("keep_alive", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["keep-alive", "close"])
@pytest.mark.parametrize("form", FORMS)
def test_a_restart_loses_no_request(
    stack: LocalStack, token: str, form: str, keep_alive: bool, full: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    make, asked = site_posts(token, f"{form}-{keep_alive}-{time.time_ns()}")
    restarts = 3 if full else 1
    with Load(stack.url, make, clients=8, keep_alive=keep_alive) as load:
        for _ in range(restarts):
            time.sleep(1)
            said = stack.supervisorctl("restart", form)
            assert "ERROR" not in said, said
        time.sleep(1)
    with capsys.disabled():
        print(f"\nsupervisorctl restart {form} x{restarts}, keep-alive {keep_alive}: {load.tally}")
    assert load.tally.failed == 0
    assert load.tally.answered > 50 * restarts
    made = all_site_names(stack, token, next(iter(asked)).rpartition("-")[0])
    assert sorted(made) == sorted(asked)
