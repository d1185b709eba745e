"""The request benchmark: its arithmetic, what it reads, what it draws. How fast anything is, is not tested."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.bench.requests import report, wrk
from tests.bench.requests.contestants import CONTESTANTS, LIMIT, REWRITE, STACK
from tests.bench.requests.figures import MB, Bar, Results, Sample, Spread, Start, bars, ratios
from tests.bench.requests.measuring import plain
from tests.bench.requests.openloop import OpenLoop, Plan, is_whole, rank
from tests.bench.requests.picture import draw
from tests.bench.requests.run import main, turned
from tests.bench.requests.usage import cpu, pss, tree
from tests.bench.requests.workloads import WORKLOADS, Workload

ROOT = Path(__file__).resolve().parents[2]
SAME_APP = [one.name for one in CONTESTANTS if one.same_app]
TOKEN = "eyJ.a-b_c.d"


def sample(contestant: str, workload: str, rate: float, number: int = 1, **given: object) -> Sample:
    values = {"errors": {}, "memory": 100 * MB, "cpu": {"server": 0.5}, **given}
    return Sample(contestant, workload, number, rate, **values)  # type: ignore[arg-type]


def won() -> Results:
    """Three rounds in which this stack meets every bar."""
    results = Results()
    own = {"wait-64": 1250.0, "wait-256": 3900.0, "wait-1000": 3800.0, "query": 5000.0, "status": 70_000.0}
    for number in (1, 2, 3):
        for workload in WORKLOADS:
            if workload.who == "limit":
                results.samples.append(sample(LIMIT, workload.name, 100_000, number))
                continue
            results.samples.append(sample(STACK, workload.name, own.get(workload.name, 2000), number, p50=2.0, p99=9.0))
            if workload.who == "all":
                results.samples += [sample(name, workload.name, 1000, number) for name in [*SAME_APP, REWRITE]]
        results.starts.append(Start(STACK, number, 2.5, 400 * MB))
    return results


def changed(results: Results, contestant: str, workload: str, **given: object) -> Results:
    """The same with other values in each round of one cell."""
    kept = [one for one in results.samples if (one.contestant, one.workload) != (contestant, workload)]
    values: dict[str, object] = {"rate": 2000.0, **given}
    others = [sample(contestant, workload, number=number, **values) for number in (1, 2, 3)]  # type: ignore[arg-type]
    return Results(kept + others, results.starts)


def missed(results: Results) -> list[tuple[str, str]]:
    return [(bar.workload, bar.title) for bar in bars(results) if bar.met is not True]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], None), ([2.0], Spread(2, 2, 2)), ([5.0, 1.0, 2.0], Spread(2, 1, 5)), ([1.0, 2.0], Spread(1.5, 1, 2))],
)
def test_a_spread_is_the_median_with_least_and_most(values: list[float], expected: Spread | None) -> None:
    assert Spread.of(values) == expected


def test_ratios_are_of_the_same_round_and_then_their_median() -> None:
    # The medians' own ratio would be 200 / 100; round by round it is 2, 1 and 4.
    assert ratios({1: 200, 2: 100, 3: 400}, {1: 100, 2: 100, 3: 100}) == Spread(2, 1, 4)
    assert ratios({1: 10, 2: 30}, {2: 10, 3: 5}) == Spread(3, 3, 3)
    assert ratios({1: 10}, {1: 0.0}) is None


def test_all_bars_can_be_met() -> None:
    assert missed(won()) == []
    assert len(bars(won())) == 15


@pytest.mark.parametrize("name", SAME_APP)
@pytest.mark.parametrize("workload", ["read", "list", "create"])
def test_each_contestant_with_the_same_app_counts_as_the_best_when_it_is(name: str, workload: str) -> None:
    (bar,) = missed(changed(won(), name, workload, rate=2001.0))
    assert bar[0] == workload
    assert bar[1].endswith(f": {name}")


@pytest.mark.parametrize(
    ("contestant", "workload", "rate", "is_missed"),
    [
        ("uwsgi", "ping", 2001.0, True),
        ("granian", "ping", 2200.0, False),
        ("granian", "ping", 2230.0, True),
        (REWRITE, "ping", 2000.0, False),
        (REWRITE, "read", 1538.0, False),
        (REWRITE, "list", 1540.0, True),
        (REWRITE, "create", 2001.0, True),
        (STACK, "wait-64", 1216.0, False),
        (STACK, "wait-64", 1215.0, True),
        (STACK, "wait-1000", 3600.0, False),
        (STACK, "wait-1000", 3599.0, True),
        (LIMIT, "constant", 117_000.0, True),
        (STACK, "idle", 1899.0, True),
        (STACK, "slow", 1900.0, False),
    ],
)
def test_a_bar_lies_where_the_issue_put_it(contestant: str, workload: str, rate: float, is_missed: bool) -> None:
    assert bool(missed(changed(won(), contestant, workload, rate=rate))) is is_missed


def test_a_query_that_waits_is_held_against_this_stacks_own_rate_where_that_is_lower() -> None:
    slow = changed(won(), STACK, "query", rate=1000.0)
    assert missed(changed(slow, STACK, "wait-256", rate=900.0)) == []
    assert missed(changed(slow, STACK, "wait-256", rate=890.0)) == [("wait-256", "the possible")]


def test_one_error_misses_a_bar_that_allows_none() -> None:
    results = changed(won(), STACK, "wait-1000", rate=3900.0, errors={"timeout": 1})
    assert missed(results) == [("wait-1000", "the possible")]
    assert "NOT MET, 3 errors" in report.text(results)


def test_memory_is_at_most_what_the_bar_says() -> None:
    results = won()
    results.starts[:] = [Start(STACK, number, 2.5, 451 * MB) for number in (1, 2, 3)]
    assert missed(results) == [("memory", "MB at rest")]


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert {bar.met for bar in bars(Results())} == {None}
    assert Bar("ping", "x", 1.0, None).met is None
    assert "not measured" in report.text(Results([sample(STACK, "ping", 10)]))


def test_the_tables_hold_each_contestant_and_mark_errors() -> None:
    said = report.text(changed(won(), "sync", "wait-256", rate=0.0, errors={"timeout": 256}))
    for contestant in CONTESTANTS:
        assert contestant.name in said
    assert "0.00 [0.00..0.00] (!)" in said
    assert "- sync, 50 ms query, 256 clients: 768 timeout" in said
    assert "2.00 / 9.00 [9.00..9.00]" in said
    rows = [line for line in said.splitlines() if line.startswith("| /ping ")]
    assert all(row.count("|") == said.splitlines()[2].count("|") for row in rows[:1])


def test_the_picture_is_well_formed_and_has_a_bar_for_each_rate() -> None:
    root = ElementTree.fromstring(draw(changed(won(), "sync", "ping", rate=0.0, errors={"timeout": 1})))
    bars_drawn = root.findall("{http://www.w3.org/2000/svg}rect")
    panels = [workload for workload in WORKLOADS if workload.who == "all"]
    assert len(bars_drawn) == len(panels) * (len(SAME_APP) + 2)
    assert [one.get("class") for one in bars_drawn].count("own") == len(panels)
    assert [one.get("class") for one in bars_drawn].count("wrong") == 1
    assert len(draw(won())) < 60_000
    ElementTree.fromstring(draw(Results()))


OUTPUT = """Running 2s test @ http://127.0.0.1:24700/ping
  2 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.02ms    2.01ms  30.00ms   95.00%
  Socket errors: connect 0, read 3, write 0, timeout 7
  Non-2xx or 3xx responses: 10
Requests/sec:   5005.00

{"requests": 10010, "microseconds": 2000000, "connect": 0, "read": 3, "write": 0, "status": 10, "timeout": 7}
"""


def test_what_wrk_counted_is_read() -> None:
    rate = wrk.parse(OUTPUT)
    assert rate.per_second == 5000
    assert rate.errors == {"read": 3, "status": 10, "timeout": 7}


def test_output_without_figures_is_shown() -> None:
    with pytest.raises(wrk.WrkError, match="unable to connect"):
        wrk.parse("unable to connect to 127.0.0.1:1 Connection refused\n")


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", False),
        (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", True),
        (b"", False),
    ],
)
def test_an_answer_is_whole_when_all_of_its_body_is_there(data: bytes, whole: bool) -> None:
    assert is_whole(data) is whole


@pytest.mark.parametrize(
    ("values", "share", "expected"), [([], 0.5, 0), ([1.0], 0.99, 1), ([float(n) for n in range(100)], 0.99, 99)]
)
def test_percentiles_are_of_the_nearest_rank(values: list[float], share: float, expected: float) -> None:
    assert rank(values, share) == expected


class Handler(BaseHTTPRequestHandler):
    """Answers /ping and, hanging up, /last; refuses other paths, and waits for the whole body of a POST."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        good = self.path in ("/ping", "/last")
        self.send_response(200 if good else 404)
        self.send_header("Content-Length", "2")
        if self.path == "/last":
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(b"{}")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))  # to its end, or that of the connection

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


@pytest.fixture
def port() -> Iterator[int]:
    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def plan(port: int, path: str) -> Plan:
    request = Workload("x", "x", path).request(f"127.0.0.1:{port}", "").decode()
    return Plan(port, request, 200, rate=100, seconds=1, patience=30)


@pytest.mark.parametrize("path", ["/ping", "/last"])
def test_the_open_loop_sends_what_is_due_and_counts_each_answer(port: int, path: str) -> None:
    found = OpenLoop(plan(port, path)).run()
    assert (found.answered, found.errors) == (100, {})
    assert 0 < found.p50 <= found.p99 <= found.max


def test_the_open_loop_counts_other_statuses_as_errors(port: int) -> None:
    found = OpenLoop(plan(port, "/nothing")).run()
    assert (found.answered, found.errors) == (0, {"status 404": 100})


def test_wrk_asks_as_the_script_says(port: int, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{port}"
    halfway: list[int] = []
    rate = wrk.run(Workload("ok", "", "/ping", 2), url, "", tmp_path, 1, halfway=lambda: halfway.append(1))
    assert rate.answered > 0
    assert rate.errors == {}
    assert halfway == [1]
    refused = wrk.run(Workload("no", "", "/nothing", 2), url, "", tmp_path, 1)
    assert refused.answered == 0
    assert refused.errors["status"] > 0


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: f"{workload.name} workload")
def test_each_workload_is_one_request_in_both_generators(workload: Workload) -> None:
    raw, script = workload.request("127.0.0.1:1", TOKEN), workload.script(TOKEN)
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(f"{workload.method} {workload.path} HTTP/1.1\r\n".encode())
    assert (TOKEN in script) is (f"Bearer {TOKEN}".encode() in head) is bool(workload.account)
    assert (b"Content-Length: %d" % len(body) in head) is bool(body) is ("wrk.body" in script)
    if workload.body is not None:
        assert json.loads(body) == workload.body


def serving() -> bool:
    """Whether the server has a connection under way."""
    return any("process_request" in thread.name for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("kind", "path", "body", "dropped"),
    [("idle", "/ping", None, 0), ("slow", "/ping", {}, 0), ("idle", "/last", None, 5)],
    ids=["idle crowd", "slow crowd", "dropped crowd"],  # `slow` alone would be the mark
)
def test_a_crowd_stays_until_its_input_ends_and_counts_who_was_dropped(
    port: int, kind: str, path: str, body: dict[str, str] | None, dropped: int
) -> None:
    request = Workload("x", "x", path, body=body).request(f"127.0.0.1:{port}", "").decode()
    command = [sys.executable, "-m", "tests.bench.requests.crowd", kind, "5", str(port), request]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as crowd:
        assert crowd.stdout is not None
        assert crowd.stdout.readline() == "here\n"
        while dropped and serving():
            time.sleep(0.01)
        assert crowd.communicate("", timeout=30)[0] == f"{dropped}\n"


def test_memory_and_time_of_a_process_and_its_children_are_read(tmp_path: Path) -> None:
    with subprocess.Popen(["sh", "-c", "sleep 60 & wait"], start_new_session=True) as process:
        pids = tree([process.pid])
        # A child has no memory of its own until it has become `sleep`.
        until = time.monotonic() + 30
        while (len(pids) < 2 or not pss(pids) > pss(pids[:1]) > 0) and time.monotonic() < until:
            pids = tree([process.pid])
        assert pss(pids) > pss(pids[:1]) > 0
        os.killpg(process.pid, 9)
    assert pss([process.pid]) == 0
    assert cpu([process.pid]) == 0
    assert cpu([os.getpid()]) > 0


def test_in_each_round_another_contestant_begins() -> None:
    first = [turned(CONTESTANTS, number)[0].name for number in range(1, len(CONTESTANTS) + 1)]
    assert first == [one.name for one in CONTESTANTS]
    assert {len(set(turned(CONTESTANTS, number))) for number in range(1, 12)} == {len(CONTESTANTS)}


def test_answers_are_compared_but_for_what_a_creation_makes_up() -> None:
    created = {
        "status": "success",
        "message": "x",
        "data": {"site": {"id": 1, "created_at": 1, "updated_at": 1, "a": 2}},
    }
    assert plain(json.dumps(created).encode()) == {"status": "success", "message": "x", "data": {"site": {"a": 2}}}
    read = {"status": "success", "data": {"site": {"id": 1, "created_at": 1}}}
    assert plain(json.dumps(read).encode()) == read
    assert plain(b"<p>") == b"<p>"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "apache"], "no contestant apache: they are stack, sync"),
        (["--workloads", "pong"], "no workload pong: they are ping, read"),
        (["--venv", "/nowhere"], "there is no environment /nowhere: `make bench-quick` makes it"),
    ],
)
def test_nonsense_is_refused_by_name(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    venv = ["--venv", sys.prefix] if "--venv" not in arguments else []
    assert main([*venv, *arguments]) == 2
    assert said in capsys.readouterr().err
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "python -m tests.bench requests --quick" in said
    assert "gevent-pymysql" in said
