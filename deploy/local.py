"""Run the whole stack in a checkout, as whoever calls it: the steps behind `stack up` and `stack down`."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from deploy import health, orphans, unix_http
from deploy.durable import link
from deploy.launch import process_environment
from deploy.nginx import Nginx, NginxError
from deploy.procfs import is_alive, read_pid
from deploy.render import TREE, render, write, write_file

Say = Callable[[str], None]

SECRETS = ("secret_key", "admin_password")
NGINX_INSTALL = {
    "apt-get": ["apt-get", "install", "-y", "--no-install-recommends", "nginx"],
    "dnf": ["dnf", "install", "-y", "nginx"],
}


class LocalError(Exception):
    """The stack cannot be brought up; the message says what to do."""


def up(stack: Mapping[str, Any], say: Say) -> bool:
    """Bring the stack up, doing only what is missing.

    Args:
        stack: a stack of profile `local` or `test`.
        say: takes one line of progress.

    Returns:
        Whether anything was changed or started.

    Raises:
        LocalError: when it cannot be, with the remedy.
    """
    need_secrets(stack)
    need_nginx(stack, say)
    running = is_running(stack)
    if not running:
        orphans.end(stack, say)
        orphans.refuse_taken_ports(stack)
    changed = prepare(stack)
    nginx = Nginx(stack)
    if running and not changed and all(process.healthy for process in health.check(stack)):
        return False
    migrate(stack, say)
    if not running:
        start(stack, say)
    elif changed:
        apply_changes(stack, changed, say)
    start_stopped(stack, say)
    try:
        nginx.load()
    except NginxError as refused:
        raise LocalError(str(refused)) from refused
    wait_until_healthy(stack, say)
    return True


def down(stack: Mapping[str, Any], say: Say) -> bool:
    """Stop the stack in order and wait for it; return whether it was running."""
    served = Nginx(stack).stop()
    pid = supervisord_pid(stack)
    if pid is None:
        return orphans.end(stack, say) or served
    say(f"stopping supervisord ({pid}) and its processes")
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + stack["timeouts"]["systemd_stop"]
    while is_alive(pid):
        if time.monotonic() > deadline:
            raise LocalError(f"supervisord ({pid}) has not stopped within timeouts.systemd_stop; see `stack logs`")
        time.sleep(0.1)
    orphans.end(stack, say)
    return True


def need_nginx(stack: Mapping[str, Any], say: Say) -> None:
    """Make sure that nginx is installed: by the distribution's package as root, else by saying the command."""
    if os.access(stack["nginx"]["binary"], os.X_OK):
        return
    command = next((line for tool, line in NGINX_INSTALL.items() if shutil.which(tool)), None)
    if command is None:
        raise LocalError("nginx is not installed: install your distribution's package and set nginx.binary")
    if os.geteuid() != 0:
        raise LocalError(f"nginx is not installed. Run: sudo {' '.join(command)}")
    say(f"installing nginx: {' '.join(command)}")
    # A service that the package starts would take port 80; policy-rc.d is how Debian is told not to.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    if command[0] == "apt-get":
        subprocess.run(["apt-get", "update"], check=False, env=environment, stdout=subprocess.DEVNULL)
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode or not os.access(stack["nginx"]["binary"], os.X_OK):
        raise LocalError(f"{' '.join(command)} failed:\n{(result.stderr or result.stdout)[-2000:]}")


def need_secrets(stack: Mapping[str, Any]) -> None:
    """Make sure that the secrets which only people can give are there.

    Raises:
        LocalError: naming each that is not, with the file that it belongs into.
    """
    missing = []
    for name, key in stack["secrets"].items():
        path = Path(stack["paths"]["secrets"], name)
        if not path.is_file() or not path.read_text("utf-8").strip():
            missing.append(
                f"{key} asks for the secret {name}: write it into {path}, closed to others "
                f"(install -D -m 600 /dev/stdin {path})"
            )
    if missing:
        raise LocalError("\n".join(missing))


def prepare(stack: Mapping[str, Any]) -> list[Path]:
    """Make folders, secrets, pointers and rendered files; return the files that changed."""
    paths = stack["paths"]
    for folder in (paths["root"], paths["etc"], paths["log"], paths["data"], paths["run"]):
        Path(folder).mkdir(parents=True, exist_ok=True)
    for folder in (paths["secrets"], paths["run"]):
        Path(folder).mkdir(parents=True, exist_ok=True)
        os.chmod(folder, 0o700)
    for name in SECRETS:
        make_secret(Path(paths["secrets"], name))
    pseudo_release(Path(stack["release"]["root"]))
    instances = Path(paths["root"], "instances")
    instances.mkdir(exist_ok=True)
    for process in stack["processes"]:
        link(instances / process["name"], Path(os.path.relpath(stack["release"]["root"], instances)))
    changed = write(render(stack, "release", "system", "checkout"))
    return changed + install_rendered(stack)


def make_secret(path: Path) -> None:
    """Make a random secret that only this account can read, unless it is there."""
    if path.exists():
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(24) + "\n")


def pseudo_release(root: Path) -> None:
    """Give the checkout the shape of a release, so that launcher and templates need no second way."""
    root.mkdir(parents=True, exist_ok=True)
    for name in ("src", "deploy", "gunicorn.conf.py"):
        link(root / name, TREE / name)
    link(root / "venv", TREE / ".venv")


def install_rendered(stack: Mapping[str, Any]) -> list[Path]:
    """Copy the release's rendered nginx and supervisor files to where those look for them."""
    rendered = Path(stack["release"]["rendered"])
    targets = {
        rendered / "nginx": Path(stack["paths"]["nginx_conf"], "conf.d"),
        rendered / "supervisor": Path(stack["supervisor"]["programs"]),
    }
    changed = []
    for source, target in targets.items():
        target.mkdir(parents=True, exist_ok=True)
        for file in source.glob("*.conf"):
            if write_file(target / file.name, file.read_text("utf-8")):
                changed.append(target / file.name)
    return changed


def environment(stack: Mapping[str, Any]) -> dict[str, str]:
    """The environment of a one-off command of this stack."""
    return process_environment(Path(stack["release"]["root"]), "command", os.environ)


def execute(stack: Mapping[str, Any], arguments: Sequence[str]) -> NoReturn:
    """Become a one-off command of this checkout's stack, with its settings and its programs first in PATH.

    Raises:
        LocalError: when there is no such program.
    """
    values = environment(stack)
    values["PATH"] = f"{stack['release']['root']}/venv/bin:{values.get('PATH', os.defpath)}"
    try:
        os.execvpe(arguments[0], list(arguments), values)  # noqa: S606 - no shell is wanted
    except FileNotFoundError as error:
        raise LocalError(f"{arguments[0]}: there is no such program") from error


def flask(stack: Mapping[str, Any], *arguments: str) -> str:
    """Run a `flask` command of the app; return what it printed.

    Raises:
        LocalError: with the end of its output when it fails.
    """
    python = f"{stack['release']['root']}/venv/bin/python"
    application = stack["app"]["wsgi"].partition(":")[0]
    result = subprocess.run(
        [python, "-m", "flask", "--app", application, *arguments],
        env=environment(stack),
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise LocalError(f"flask {' '.join(arguments)} failed:\n{(result.stdout + result.stderr)[-3000:]}")
    return result.stdout


def migrate(stack: Mapping[str, Any], say: Say) -> None:
    """Bring the database to the newest revision and make the first admin."""
    say("migrating the database")
    flask(stack, "db", "upgrade")
    password = f"{stack['paths']['secrets']}/admin_password"
    said = flask(stack, "create-admin", "--email", stack["app"]["admin_email"], "--password-file", password)
    say(said.strip().splitlines()[-1] if said.strip() else f"admin {stack['app']['admin_email']}")


def start(stack: Mapping[str, Any], say: Say) -> None:
    """Start supervisord in the background."""
    if os.geteuid() == 0:
        say("running as root: so will every process of this stack")
    say("starting supervisord")
    command = [f"{stack['supervisor']['venv']}/bin/supervisord", "-c", stack["supervisor"]["config"]]
    result = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": stack["supervisor"]["plugin"]},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise LocalError(f"supervisord did not start:\n{result.stderr or result.stdout}")


def apply_changes(stack: Mapping[str, Any], changed: Sequence[Path], say: Say) -> None:
    """Bring a running stack to newly rendered files: update the sections, then restart in turn."""
    rpc = unix_http.supervisor_rpc(stack["supervisor"]["socket"])
    sections = [path for path in changed if str(path).startswith(stack["paths"]["etc"]) and path.suffix == ".conf"]
    say(f"applying {', '.join(sorted({path.name for path in changed}))}")
    if Path(stack["supervisor"]["config"]) in sections:
        down(stack, say)
        start(stack, say)
        return
    changes: Any = rpc.supervisor.reloadConfig()
    added, altered, removed = changes[0]
    for group in (*removed, *altered):
        rpc.supervisor.stopProcessGroup(group)
        rpc.supervisor.removeProcessGroup(group)
    for group in (*added, *altered):
        rpc.supervisor.addProcessGroup(group)
    if not any(path.name == "settings.env" for path in changed):
        return
    fresh = {*added, *altered}
    for process in stack["processes"]:
        if process["group"] not in fresh:
            say(f"restarting {process['name']}")
            full = f"{process['group']}:{process['name']}"
            if health.supervisor_states(stack)[process["name"]]["pid"]:
                rpc.supervisor.stopProcess(full)
            rpc.supervisor.startProcess(full)


def start_stopped(stack: Mapping[str, Any], say: Say) -> None:
    """Start the processes that somebody stopped, or that supervisor gave up."""
    rpc = unix_http.supervisor_rpc(stack["supervisor"]["socket"])
    for name, row in health.supervisor_states(stack).items():
        if row["statename"] in ("STOPPED", "EXITED", "FATAL"):
            say(f"starting {name}")
            rpc.supervisor.startProcess(f"{row['group']}:{name}", False)


def wait_until_healthy(stack: Mapping[str, Any], say: Say) -> None:
    """Wait until every process is healthy, within `timeouts.health` seconds.

    Raises:
        LocalError: naming the process that is not, with the end of its log.
    """
    deadline = time.monotonic() + stack["timeouts"]["health"]
    say("waiting until every process is healthy")
    while True:
        waiting = [process for process in health.check(stack) if not process.healthy]
        if not waiting:
            return
        if time.monotonic() > deadline:
            first = waiting[0]
            log = Path(stack["paths"]["log"], f"{first.name}.log")
            tail = "\n".join(log.read_text("utf-8", "replace").splitlines()[-20:]) if log.exists() else "(no log)"
            raise LocalError(f"{first.name} is not healthy: {first.detail}\nThe end of {log}:\n{tail}")
        time.sleep(0.2)


def supervisord_pid(stack: Mapping[str, Any]) -> int | None:
    """The pid of this stack's running supervisord, if it runs."""
    return read_pid(stack["supervisor"]["pidfile"], named=stack["supervisor"]["config"])


def is_running(stack: Mapping[str, Any]) -> bool:
    """Whether supervisord runs and answers."""
    return supervisord_pid(stack) is not None and bool(health.supervisor_states(stack))


def remember(assignments: Sequence[str]) -> None:
    """Keep the `--set` of this `up`, so that `status`, `logs` and `down` mean the same stack."""
    write_file(TREE / "data" / "up.json", json.dumps(list(assignments)) + "\n")


def remembered() -> list[str]:
    """The `--set` of the last `up` in this checkout."""
    try:
        return [str(line) for line in json.loads((TREE / "data" / "up.json").read_text("utf-8"))]
    except (OSError, ValueError):
        return []
