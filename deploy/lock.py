"""The lock of a host's releases: one run at a time, with who holds it, why, since when and from where.

It is a flock(2): the kernel lets go of it when its holder dies, however that comes. The holder writes itself into the
file and empties it at the end, so that what a dead holder left there tells the next one of it.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from deploy import ledger, procfs
from deploy.layout import Host, actor, now
from deploy.steps import ReleaseError, Say

INHERITED = "STACK_LOCK"  # the descriptor by which a run hands its lock on to the engine that it calls


@contextmanager
def lock(host: Host, why: str, say: Say, *, wait: float = 0.0) -> Iterator[int]:
    """Hold the stack's lock; give its descriptor.

    A holder that died is named, in a line of progress and in the ledger.

    Args:
        host: whose releases are locked.
        why: what for, for whoever is refused.
        say: takes one line of progress.
        wait: how many seconds to wait for another holder.

    Raises:
        ReleaseError: naming the holder.
    """
    inherited = os.environ.pop(INHERITED, "")
    with os.fdopen(int(inherited) if inherited else _open(host), "r+", encoding="utf-8") as file:
        _take(file, wait)
        left = "" if inherited else file.read()
        if left:
            _take_over(host, left, why, say)
        own = {"who": actor(), "pid": os.getpid(), "why": why, "since": now(), "from": origin()}
        _write(file, json.dumps({**own, "boot": procfs.boot()}))
        try:
            yield file.fileno()
        finally:
            # Whoever handed it on writes itself there again.
            _write(file, json.dumps({**own, "boot": procfs.boot()}) if inherited else "")


def _open(host: Host) -> int:
    path = host.root / ".lock"
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except PermissionError:
        raise ReleaseError(f"{path} cannot be written: run this as root (sudo)") from None
    except OSError as error:
        raise ReleaseError(f"{path}: {error.strerror}; provision the host first") from error


def _take(file: IO[str], wait: float) -> None:
    deadline = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                file.seek(0)
                held = f"the stack is locked by {_holder(file.read())}"
                raise ReleaseError(f"{held}; try again when that has ended, or use --wait SECONDS") from None
            time.sleep(0.2)


def _take_over(host: Host, left: str, why: str, say: Say) -> None:
    """Tell of a holder that died."""
    try:
        died = "the host was restarted" if json.loads(left)["boot"] != procfs.boot() else "it died"
    except (ValueError, KeyError, TypeError):
        died = "it died"
    message = f"lock taken over from {_holder(left)}: {died}"
    say(message)
    current = host.pointed(host.current)
    line = {"time": now(), "action": "takeover", "what": why, "actor": actor(), "host": socket.gethostname()}
    line.update(outcome="done", message=message, previous=current, current=current)
    ledger.append(host.ledger, {**line, "steps": []})


def _holder(text: str) -> str:
    try:
        held = json.loads(text)
        return f"{held['who']}{held['from']} (pid {held['pid']}) since {held['since']}: {held['why']}"
    except (ValueError, KeyError, TypeError):
        return "somebody who has not said who yet"


def _write(file: IO[str], text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()
    os.fsync(file.fileno())


def origin() -> str:
    """Where the caller is, as words after a name; empty when it is here."""
    connection = os.environ.get("SSH_CONNECTION", "")
    return f" from {connection.split()[0]}" if connection else ""
