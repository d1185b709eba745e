"""Maintenance: nginx answers 503 by itself, on an app host, a balancer or in a checkout, until it is switched off.

What is asked for lies in files of its own below paths.etc, which each release's site includes when they are there: so
it outlives reloads, reboots, releases and rollbacks. The order in which they are written and taken away makes each
state in between one that nginx takes.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from deploy import ledger
from deploy.layout import Host, actor, now
from deploy.nginx import Nginx, NginxError
from deploy.render import TREE, render_template, write_file
from deploy.site import Site
from deploy.stack import read_yaml

CODE = 503
LONGEST = 31 * 24 * 3600  # seconds that --until may lie ahead
LONGEST_MESSAGE = 500
STEPS = 50  # how many times its own width a span of Retry-After lies before the end, at least
# In the order in which they may be written; taken away in the other.
NAMES = (f"pages/{CODE}.html", f"pages/{CODE}.json", "state.json", "http.conf", "server.conf")
NOT_PAGES = 2  # the first of them that is no page
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class MaintenanceError(Exception):
    """It cannot be switched; everything is as it was. `log` holds nginx's words."""

    def __init__(self, message: str, log: Sequence[str] = ()) -> None:
        super().__init__("\n".join([message, *log]))
        self.message = message
        self.log = list(log)


@dataclass(frozen=True)
class Wanted:
    """What was asked for.

    `until` is ISO 8601 in UTC, empty when nobody said; `message` is empty for that of nginx/maintenance/text.yml.
    """

    message: str = ""
    until: str = ""
    allow: tuple[str, ...] = ()
    by: str = ""


def folder_of(stack: Mapping[str, Any]) -> Path:
    """Where it lies; of a stack too that was made before there was maintenance."""
    return Path(stack["paths"]["etc"], "maintenance")


def is_on(stack: Mapping[str, Any]) -> bool:
    """Whether nginx answers by itself, or will when it starts."""
    return (folder_of(stack) / "server.conf").is_file()


def wanted(message: str, until: str, allow: Sequence[str], *, now: float | None = None) -> Wanted:
    """Check what was typed.

    Args:
        message: one line, shown to people and programs.
        until: an ISO 8601 time (of this host where it names no offset), or how long, such as 90m.
        allow: addresses or networks that are let through.
        now: seconds since the epoch; the clock's when not given.

    Raises:
        ValueError: one line for each value that does not fit.
    """
    problems: list[str] = []
    if len(message) > LONGEST_MESSAGE or not message.isprintable():
        problems.append(f"--message must be one line of at most {LONGEST_MESSAGE} printable characters")
    networks = set()
    for text in allow:
        try:
            network = ipaddress.ip_network(text.strip())
            if network.prefixlen == 0:
                raise ValueError("that is everybody")
            networks.add(str(network))
        except ValueError as error:
            problems.append(f"--allow {text!r}: {error}; it must be an address or a network such as 10.0.0.0/8")
    end = ""
    if until:
        try:
            end = _moment(until, time.time() if now is None else now)
        except ValueError as error:
            problems.append(f"--until {until!r}: {error}")
    if problems:
        raise ValueError("\n".join(problems))
    return Wanted(message.strip(), end, tuple(sorted(networks)), actor())


def _moment(text: str, now: float) -> str:
    ahead = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", text)
    if ahead:
        end = now + int(ahead[1]) * UNITS[ahead[2]]
    else:
        try:
            end = datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError):
            raise ValueError("it must be a time such as 2026-01-31T18:00+01:00, or how long, such as 90m") from None
    if not now < int(end):
        raise ValueError("that is past")
    if end > now + LONGEST:
        raise ValueError(f"that is more than {timedelta(seconds=LONGEST).days} days ahead")
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end))


def files(stack: Mapping[str, Any], asked: Wanted) -> dict[Path, str]:
    """What nginx reads while maintenance is on, in the order in which it may be written.

    Args:
        stack: of an app host, a balancer or a checkout.
        asked: what was asked for.
    """
    folder = folder_of(stack)
    words = dict(read_yaml(TREE / "nginx" / "maintenance" / "text.yml"))
    error = {"code": CODE, "title": words["title"], "message": asked.message or words["message"]}
    maintained = {
        "allow": asked.allow,
        "until": asked.until,
        "left": list(seconds_left(int(datetime.fromisoformat(asked.until).timestamp()))) if asked.until else [],
        "api": ["/api", *(path for path, _, target in _aliases(stack) if f"{target}/".startswith("/api/"))],
    }
    values = {**stack, "error": error, "maintained": maintained}
    sources = {
        **{f"pages/{CODE}.{kind}": f"nginx/errors/error.{kind}.j2" for kind in ("html", "json")},
        **{name: f"nginx/maintenance/{name}.j2" for name in ("http.conf", "server.conf")},
    }
    state = json.dumps(asdict(asked), ensure_ascii=False) + "\n"
    return {folder / name: render_template(values, sources[name]) if name in sources else state for name in NAMES}


def switches(stack: Mapping[str, Any]) -> list[str]:
    """The files whose going switches it off, in the order in which they may go; the pages may stay."""
    return [str(folder_of(stack) / name) for name in reversed(NAMES[NOT_PAGES:])]


def _aliases(stack: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    return [line.partition("=") for line in stack["app"]["aliases"]]


def seconds_left(end: int) -> Iterator[tuple[int, int]]:
    """The seconds until a moment, for each moment before it that --until may be given at.

    Args:
        end: seconds since the epoch.

    Yields:
        The first digits of the seconds since the epoch, and what is left at the first moment that has them: never
        less than there is, and at most a fifth more.
    """
    edge, width = end, 1
    while edge > end - LONGEST:
        first = (edge - 1) // width
        edge = first * width
        yield first, end - edge
        if edge % (10 * width) == 0 and end - edge >= STEPS * width:
            width *= 10


def state(stack: Mapping[str, Any]) -> dict[str, Any]:
    """Whether maintenance is on; if so since when, by whom, until when, what is said and who is let through."""
    folder = folder_of(stack)
    if not is_on(stack):
        return {"on": False}
    try:
        found = json.loads((folder / "state.json").read_text("utf-8"))
        since = (folder / "state.json").stat().st_mtime
    except (OSError, ValueError) as error:
        return {"on": True, "problem": f"state.json: {error}"}
    return {"on": True, "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since)), **found}


def describe(found: Mapping[str, Any]) -> str:
    """What `state` found, in a few words."""
    if not found["on"]:
        return "off"
    if "problem" in found:
        return f"on; {found['problem']}"
    parts = ["on" + (f" since {found['since']} by {found['by']}" if found["since"] else "")]
    parts += [f"until {found['until']}"] if found["until"] else []
    parts += [f"for all but {', '.join(found['allow'])}"] if found["allow"] else []
    return ", ".join(parts) + (f": {found['message']}" if found["message"] else "")


def record(stack: Mapping[str, Any]) -> None:
    """Put into the host's ledger that it was switched: who, until when, for whom not; a balancer has no ledger.

    Raises:
        OSError: it cannot be written.
    """
    host, found = Host.of(stack), state(stack)
    current = host.pointed(host.current)
    entry: dict[str, Any] = {"time": now(), "action": "maintenance", "what": "on" if found["on"] else "off"}
    entry |= {"actor": found.get("by") or actor(), "host": socket.gethostname(), "outcome": "done"}
    entry |= {key: found[key] for key in ("until", "allow") if found.get(key)}
    entry |= {"message": describe({**found, "since": "", "by": ""})}
    ledger.append(host.ledger, {**entry, "previous": current, "current": current, "steps": []})


def switch_on(stack: Mapping[str, Any], asked: Wanted, *, check: bool = False) -> bool:
    """Have nginx answer by itself; return whether that is new or different.

    Args:
        stack: the one that is served here.
        asked: by `wanted`.
        check: change nothing.

    Raises:
        MaintenanceError: when there is no site to hold, or nginx refuses; everything is as it was.
    """
    site = Site(stack).text()
    if site is None:
        raise MaintenanceError(f"nothing is served here: there is no {Site(stack).path}")
    if f"{stack['maintenance']['folder']}/server" not in site:
        raise MaintenanceError(f"{Site(stack).path} is of a release from before there was maintenance: release first")
    now = state(stack)
    if all(now.get(key) == value for key, value in json.loads(json.dumps(asdict(asked))).items() if key != "by"):
        asked = Wanted(**{**asdict(asked), "by": now["by"]})
    return _apply(stack, files(stack, asked), check=check)


def switch_off(stack: Mapping[str, Any], *, check: bool = False) -> bool:
    """Have requests reach the app again; return whether they did not.

    The pages stay: a worker of nginx's that ends sends them yet.

    Raises:
        MaintenanceError: when nginx refuses; everything is as it was.
    """
    folder = folder_of(stack)
    pages = {folder / name for name in NAMES[:NOT_PAGES]}
    return _apply(stack, {path: text for path, text in _found(folder).items() if path in pages}, check=check)


def _apply(stack: Mapping[str, Any], wished: Mapping[Path, str], *, check: bool) -> bool:
    folder = folder_of(stack)
    before = _found(folder)
    if check or dict(wished) == before:
        return dict(wished) != before
    try:
        with _alone(folder):
            before = _found(folder)
            _put(folder, wished)
            try:
                _tell(stack)
            except NginxError as refused:
                _put(folder, before)
                raise MaintenanceError(f"{refused.message}; everything is as it was", refused.log) from refused
    except PermissionError:
        raise MaintenanceError(f"{folder} cannot be written: run this as root (sudo)") from None
    return True


def _found(folder: Path) -> dict[Path, str]:
    return {folder / name: (folder / name).read_text("utf-8") for name in NAMES if (folder / name).is_file()}


def _put(folder: Path, wished: Mapping[Path, str]) -> None:
    """Write what is wished, and take away what is not."""
    for name in reversed(NAMES):
        if folder / name not in wished:
            (folder / name).unlink(missing_ok=True)
    for path, text in wished.items():
        write_file(path, text)
        path.parent.chmod(0o755)  # nginx's workers read the pages, whatever the umask


def _tell(stack: Mapping[str, Any]) -> None:
    """Have nginx read its files; one that does not run is not started for this."""
    nginx = Nginx(stack)
    if nginx.pid() is None:
        nginx.test()
    else:
        nginx.load()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One change at a time."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
