"""Maintenance with a real nginx over the sites of an app host and of a balancer, and a stand-in for the app."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deploy import maintenance
from deploy.local import install_rendered
from deploy.maintenance import MaintenanceError, Wanted
from deploy.nginx import Nginx
from deploy.render import render, write
from deploy.stack import Stack
from tests.ports import free_ports
from tests.templates.test_parsers import CERTIFICATE, VARIANTS, rendered

BROWSER = {"Accept": "text/html,application/xhtml+xml"}
US, SOMEBODY, FELLOW = "127.0.0.1", "127.0.0.3", "127.0.0.2"


class App(http.server.BaseHTTPRequestHandler):
    """Answers everything, /slow after a second."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(self.path.startswith("/slow"))
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"app\n")

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def app(address: str, port: int) -> Iterator[None]:
    server = http.server.ThreadingHTTPServer((address, port), App)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def served(folder: Path, part: str, *assignments: str) -> Iterator[Stack]:
    """nginx with one site over a stand-in for what is behind it."""
    port, behind = free_ports(2)
    where = (FELLOW, port) if part == "lb" else (US, behind)
    own = [f"nginx.http_port={port}", f"api.ports=[{behind}]", "nginx.worker_processes='2'"]
    own += ["timeouts.let_go=1"]  # no connection is kept here
    own += ["nginx.user=root"] if os.geteuid() == 0 else []  # the folders of tests are closed to others
    own += [f"fleet.app=[{FELLOW}]"] if part == "lb" else []
    stack = rendered("local", folder, [*own, *assignments], parts=(part, "system"))
    with app(*where):
        Nginx(stack).load()
        try:
            yield stack
        finally:
            Nginx(stack).stop()


@pytest.fixture(params=["release", "lb"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    with served(tmp_path, request.param) as stack:
        yield stack


def ask(
    stack: Stack, path: str, method: str = "GET", *, source: str = US, **headers: str
) -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection(US, stack["nginx"]["http_port"], timeout=20, source_address=(source, 0))
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, b"x" * 3000 if method == "POST" else None, names)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body, dict(answer.headers)


def wanted(message: str = "", until: str = "", allow: tuple[str, ...] = ()) -> Wanted:
    return maintenance.wanted(message, until, allow)


def test_browsers_are_shown_a_page_and_programs_the_envelope(site: Stack) -> None:
    assert maintenance.switch_on(site, wanted('Back <b>soon</b> & "safe", $uri {x}; 很快'))
    code, page, headers = ask(site, "/", **BROWSER)
    assert (code, headers["Content-Type"], headers["Cache-Control"]) == (503, "text/html", "no-store")
    assert "Back &lt;b&gt;soon&lt;/b&gt; &amp; &#34;safe&#34;, $uri {x}; 很快" in page
    for path, method, accept in [
        ("/api/v1/sites", "GET", BROWSER["Accept"]),
        ("/users", "GET", BROWSER["Accept"]),
        ("/users/3", "POST", BROWSER["Accept"]),
        ("/", "GET", "application/json"),
        ("/api/v1/sites", "POST", "*/*"),
        ("/.errors/404.html", "GET", "*/*"),
    ]:
        code, body, headers = ask(site, path, method, Accept=accept)
        if path.startswith("/.errors"):
            assert code == 404
            continue
        assert (code, headers["Content-Type"], headers["Retry-After"]) == (503, "application/json", "300"), path
        assert json.loads(body) == {
            "status": "error",
            "data": None,
            "message": 'Back <b>soon</b> & "safe", $uri {x}; 很快',
        }
    assert ask(site, "/userspace", **BROWSER)[2]["Content-Type"] == "text/html"


def test_what_is_open_goes_on_and_all_does_once_it_is_off(site: Stack) -> None:
    paths = ["/ping", "/healthz", "/readyz", "/status/ours"]
    assert maintenance.switch_on(site, wanted())
    assert {ask(site, path)[:2] for path in paths} == {(200, "app\n")}
    assert {ask(site, path)[0] for path in ("/ping/x", "/pings", "/status", "/api/v1/sites")} == {503}
    assert not maintenance.switch_on(site, wanted())
    assert maintenance.state(site)["on"]
    assert maintenance.switch_off(site)
    assert not maintenance.switch_off(site)
    assert maintenance.state(site) == {"on": False}
    assert {ask(site, path)[0] for path in (*paths, "/", "/api/v1/sites")} == {200}


def test_retry_after_says_what_is_left(site: Stack) -> None:
    maintenance.switch_on(site, wanted(until="2h"))
    assert 7190 <= int(ask(site, "/")[2]["Retry-After"]) <= 7200 * 1.2
    maintenance.switch_on(site, wanted(until="3s"))
    seen = []
    for _ in range(10):
        seen.append(int(ask(site, "/")[2]["Retry-After"]))
        time.sleep(0.5)
    assert seen == sorted(seen, reverse=True)
    assert seen[0] <= 3
    assert seen[-1] == 1  # it goes on until it is switched off


def test_allowed_addresses_reach_the_app(site: Stack) -> None:
    maintenance.switch_on(site, wanted(allow=("127.0.0.0/31", "2001:db8::/32")))
    assert ask(site, "/")[0] == 200
    assert ask(site, "/", source=SOMEBODY)[0] == 503
    # nobody here is believed about another address
    assert ask(site, "/", source=SOMEBODY, X_Forwarded_For=US)[0] == 503


def test_behind_a_balancer_the_clients_own_address_counts(tmp_path: Path) -> None:
    with served(tmp_path, "release", f"nginx.trusted_proxies=[{US}]") as stack:
        maintenance.switch_on(stack, wanted(allow=("203.0.113.9",)))
        assert ask(stack, "/", X_Forwarded_For="203.0.113.9")[0] == 200
        assert ask(stack, "/", X_Forwarded_For="203.0.113.8")[0] == 503
        assert ask(stack, "/")[0] == 503
        assert ask(stack, "/", source=SOMEBODY, X_Forwarded_For="203.0.113.9")[0] == 503


def test_it_is_still_on_when_nginx_has_been_reloaded_or_started_anew(site: Stack) -> None:
    maintenance.switch_on(site, wanted())
    Nginx(site).load()
    assert ask(site, "/")[0] == 503
    Nginx(site).stop()
    Nginx(site).load()
    assert ask(site, "/")[0] == 503


def test_it_can_be_switched_while_nginx_is_stopped_and_does_not_start_it(site: Stack) -> None:
    Nginx(site).stop()
    assert maintenance.switch_on(site, wanted())
    assert Nginx(site).pid() is None
    Nginx(site).load()
    assert ask(site, "/")[0] == 503


def test_switching_loses_no_request(site: Stack) -> None:
    """A new connection for each: nginx closes idle ones when it is reloaded."""
    answers: Counter[object] = Counter()
    end = threading.Event()

    def work(path: str, method: str) -> None:
        while not end.is_set():
            try:
                answers[(ask(site, path, method)[0])] += 1
            except (OSError, http.client.HTTPException) as error:
                answers[repr(error)] += 1

    threads = [threading.Thread(target=work, args=at) for at in [("/", "GET"), ("/x", "POST"), ("/slow", "GET")]]
    for thread in threads:
        thread.start()
    for _ in range(4):
        time.sleep(0.3)
        maintenance.switch_on(site, wanted(until="1h"))
        time.sleep(0.3)
        maintenance.switch_off(site)
    end.set()
    for thread in threads:
        thread.join()
    assert set(answers) == {200, 503}


def test_requests_under_way_are_finished(site: Stack) -> None:
    got: list[int] = []
    thread = threading.Thread(target=lambda: got.append(ask(site, "/slow")[0]))
    thread.start()
    time.sleep(0.3)
    maintenance.switch_on(site, wanted())
    assert ask(site, "/")[0] == 503
    thread.join()
    assert got == [200]


def test_when_nginx_refuses_everything_is_as_it_was(site: Stack) -> None:
    broken = Path(site["paths"]["nginx_conf"], "conf.d", "other.conf")
    folder = Path(site["maintenance"]["folder"])
    broken.write_text("listne 80;\n")
    with pytest.raises(MaintenanceError, match="everything is as it was") as refused:
        maintenance.switch_on(site, wanted())
    assert "listne" in "\n".join(refused.value.log)
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    broken.unlink()
    maintenance.switch_on(site, wanted("first"))
    before = {path: path.read_text() for path in folder.rglob("*") if path.is_file()}
    broken.write_text("listne 80;\n")
    for change in (lambda: maintenance.switch_on(site, wanted("second")), lambda: maintenance.switch_off(site)):
        with pytest.raises(MaintenanceError):
            change()
        assert {path: path.read_text() for path in folder.rglob("*") if path.is_file()} == before
    assert "first" in ask(site, "/")[1]


@pytest.mark.parametrize("stopped_after", range(len(maintenance.NAMES) + 1))
def test_cut_off_at_any_moment_nginx_takes_what_is_there(site: Stack, stopped_after: int) -> None:
    for path, text in list(maintenance.files(site, wanted()).items())[:stopped_after]:
        write({path: text})
    Nginx(site).load()
    on = stopped_after == len(maintenance.NAMES)
    assert (ask(site, "/")[0], maintenance.state(site)["on"]) == (503 if on else 200, on)
    maintenance.switch_off(site)
    assert ask(site, "/")[0] == 200


def test_another_stack_on_the_host_is_not_concerned(tmp_path: Path) -> None:
    with served(tmp_path, "release") as stack:
        other: dict[str, Any] = {
            **stack,
            "stack": {**stack["stack"], "name": "second-one"},
            "names": {**stack["names"], "identifier": "second_one"},
            "nginx": {**stack["nginx"], "http_port": free_ports(1)[0], "cached": []},
            "paths": {**stack["paths"], "etc": f"{tmp_path}/second"},
            "maintenance": {**stack["maintenance"], "folder": f"{tmp_path}/second/maintenance"},
            "release": {**stack["release"], "rendered": f"{tmp_path}/second/rendered"},
        }
        write(render(other, "release"))
        install_rendered(other)
        Nginx(other).load()
        maintenance.switch_on(stack, wanted())
        assert (ask(stack, "/")[0], ask(other, "/")[0]) == (503, 200)
        maintenance.switch_on(other, wanted("Both"))
        maintenance.switch_off(stack)
        assert (ask(stack, "/")[0], ask(other, "/")[0]) == (200, 503)


def test_a_site_that_knows_no_maintenance_is_not_said_to_be_in_it(site: Stack) -> None:
    path = Path(site["paths"]["nginx_conf"], "conf.d", f"{site['stack']['name']}.conf")
    path.write_text("# of long ago\n")
    with pytest.raises(MaintenanceError, match="release first"):
        maintenance.switch_on(site, wanted())
    path.unlink()
    with pytest.raises(MaintenanceError, match="nothing is served here"):
        maintenance.switch_on(site, wanted())
    assert maintenance.state(site) == {"on": False}


@pytest.mark.parametrize("profile", ["local", "test", "host"])
@pytest.mark.parametrize("variant", ["plain", "tls", "behind a balancer", "another name", "no limit", "nothing kept"])
@pytest.mark.parametrize("part", ["release", "lb"])
def test_nginx_takes_it_without_a_warning(profile: str, variant: str, part: str, tmp_path: Path) -> None:
    command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=site.example -days 2 -keyout site.key -out site.pem"
    if set(CERTIFICATE) <= set(VARIANTS[variant]):
        subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    assignments = [*VARIANTS[variant], *(["fleet.app=[198.51.100.1]"] if part == "lb" else [])]
    stack = rendered(profile, tmp_path, assignments, parts=(part, "system"))
    allow = ("10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1")
    write(maintenance.files(stack, wanted("Moving", "30d", allow)))
    tried = subprocess.run(
        [stack["nginx"]["binary"], "-e", "stderr", "-t", "-p", str(tmp_path), "-c", f"{tmp_path}/nginx/nginx.conf"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert tried.returncode == 0, tried.stderr
    assert not any(word in tried.stderr for word in ("[warn]", "[emerg]", "[crit]")), tried.stderr
