"""One contestant under one workload: how fast, at what latency, at what cost, and whether the answers are right."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from deploy.render import TREE
from tests.bench.requests import wrk
from tests.bench.requests.figures import Sample
from tests.bench.requests.openloop import Plan
from tests.bench.requests.rig import Rig, RigError, Running, ask
from tests.bench.requests.usage import cpu
from tests.bench.requests.workloads import IDLE, SLOW, WORKLOADS, Workload

# What differs from answer to answer of a creation.
MOVING = ("id", "created_at", "updated_at")
CROWD_WITHIN = 60.0  # seconds


def url_of(running: Running, workload: Workload) -> str:
    """Where a workload is asked, up to the path."""
    return f"http://127.0.0.1:{running.rig.constant_port}" if workload.who == "limit" else running.url


def plain(data: bytes) -> Any:
    """An answer without what may differ: JSON decoded, other texts as they are."""
    try:
        answer = json.loads(data)
    except ValueError:
        return data
    inner = answer.get("data") if isinstance(answer, dict) else None
    site = inner.get("site") if isinstance(inner, dict) else None
    if isinstance(site, dict) and "message" in answer:  # one that was created
        for name in MOVING:
            site.pop(name, None)
    return answer


class Answers:
    """What the first contestant answered, which is what all must answer."""

    def __init__(self) -> None:
        self._right: dict[str, Any] = {}

    def check(self, running: Running, workload: Workload) -> None:
        """Ask once.

        Raises:
            RigError: the status or the answer is wrong.
        """
        token = running.rig.tokens[workload.account]
        status, data = ask(url_of(running, workload), workload.path, body=workload.body, token=token)
        name = running.contestant.name
        if status != workload.status:
            raise RigError(f"{name} answers {workload.path} with {status}, not {workload.status}: {data[:500]!r}")
        answer = plain(data)
        right = self._right.setdefault(workload.name, answer)
        if answer != right:
            raise RigError(
                f"{name} answers {workload.path} with\n{str(answer)[:1500]}\nand not with\n{str(right)[:1500]}"
            )


def measure(running: Running, workload: Workload, number: int, seconds: int, *, steady: bool) -> Sample:
    """Load a contestant, first as much as it takes, then at half of that.

    Args:
        running: the contestant.
        workload: what is asked.
        number: of the round.
        seconds: of each of the two.
        steady: whether to do the second.
    """
    rig, parts = running.rig, running.pids()
    token, url = rig.tokens[workload.account], url_of(running, workload)
    memory: list[int] = []
    errors: Counter[str] = Counter()
    with _beside(running, workload, errors):
        before = {part: cpu(pids) for part, pids in parts.items()}
        rate = wrk.run(
            workload, url, token, rig.folder, seconds + workload.longer, halfway=lambda: memory.append(running.memory())
        )
        used = {part: cpu(pids) - before[part] for part, pids in parts.items()}
    errors.update(rate.errors)
    if not rate.answered:
        errors["without any answer"] += 1
    calm: dict[str, Any] = {}
    if steady and workload.steady and rate.per_second >= 2:
        calm = _open_loop(workload, url, token, rate.per_second / 2, seconds)
        errors.update(calm["errors"])
    if workload.body is not None:
        rig.forget_created()
    return Sample(
        contestant=running.contestant.name,
        workload=workload.name,
        round=number,
        rate=round(rate.per_second, 1),
        errors=dict(errors),
        memory=max(memory, default=0),
        cpu={part: round(1000 * spent / max(1, rate.answered), 4) for part, spent in used.items()},
        p50=calm.get("p50"),
        p99=calm.get("p99"),
        late_p99=calm.get("late_p99"),
    )


def _python(*arguments: str) -> list[str]:
    return [sys.executable, "-m", *arguments]


def _open_loop(workload: Workload, url: str, token: str, rate: float, seconds: int) -> dict[str, Any]:
    host = url.removeprefix("http://")
    request = workload.request(host, token).decode("latin-1")
    plan = Plan(int(host.rpartition(":")[2]), request, workload.status, rate, seconds)
    command = _python("tests.bench.requests.openloop", json.dumps(asdict(plan)))
    done = subprocess.run(command, cwd=TREE, capture_output=True, text=True, timeout=seconds + 30, check=False)
    if done.returncode:
        raise RigError(f"the open loop broke: {done.stderr[-2000:]}")
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


@contextmanager
def _beside(running: Running, workload: Workload, errors: Counter[str]) -> Iterator[None]:
    """Have idle or slow clients there, and count those that the server drops meanwhile."""
    if not workload.beside:
        yield
        return
    # An idle client has asked for something once; a slow one is about to create something.
    what = next(one for one in WORKLOADS if one.name == {"idle": "ping", "slow": "create"}[workload.beside])
    request = what.request(running.url.removeprefix("http://"), running.rig.tokens[what.account])
    count, port = {"idle": IDLE, "slow": SLOW}[workload.beside], running.values["nginx"]["http_port"]
    command = _python("tests.bench.requests.crowd", workload.beside, str(count), str(port), request.decode("latin-1"))
    crowd = subprocess.Popen(command, cwd=TREE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert crowd.stdout is not None
        if crowd.stdout.readline().strip() != "here":
            raise RigError(f"{count} {workload.beside} clients could not be brought together")
        time.sleep(1)  # until the first of the slow bytes are there
        yield
        dropped, _ = crowd.communicate("", timeout=CROWD_WITHIN)
        if int(dropped):
            errors["dropped"] += int(dropped)
    finally:
        if crowd.poll() is None:
            crowd.kill()
        crowd.wait()


def set_of(running: Running, rig: Rig, *, brief: bool, names: list[str]) -> list[Workload]:
    """What a contestant is asked, in order."""
    kind = running.contestant.kind
    found = []
    for workload in WORKLOADS:
        if names and workload.name not in names:
            continue
        if workload.name == "status" and not rig.has_status_pages:
            continue
        asked = {"all": kind != "limit", "stack": kind == "stack", "limit": kind == "limit"}[workload.who]
        if asked and (kind in ("stack", "limit") or workload.brief or not brief):
            found.append(workload)
    return found
