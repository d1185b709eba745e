"""What must hold on a host before a release touches anything; each refusal says what to do."""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deploy.instances import Supervisor
from deploy.layout import Host
from deploy.steps import ReleaseError

RELEASE_SPACE = 3  # a release takes its archive's files, their bytecode, and as much again while it is made


def check(host: Host, stack: Mapping[str, Any], source: Path, *, new_venv: bool) -> None:
    """Look at everything and refuse with everything that is wrong.

    Raises:
        ReleaseError: one line for each problem.
    """
    problems = [
        *_account(host),
        *_folders(stack),
        *_secrets(host, stack),
        *_disk(host, stack, source, new_venv=new_venv),
        *_ports(stack),
    ]
    if problems:
        raise ReleaseError("\n".join(problems))


def _account(host: Host) -> Iterator[str]:
    if host.account:
        try:
            pwd.getpwnam(host.account)
        except KeyError:
            yield f"there is no account {host.account}: provision the host first (provision.yml)"


def _folders(stack: Mapping[str, Any]) -> Iterator[str]:
    for key in ("root", "etc", "log", "data"):
        if not Path(stack["paths"][key]).is_dir():
            yield f"paths.{key} {stack['paths'][key]} is no folder: provision the host first (provision.yml)"


def _secrets(host: Host, stack: Mapping[str, Any]) -> Iterator[str]:
    names = ["secret_key", *stack["secrets"]]
    if stack["database"]["engine"] == "mysql":
        names.append("database_password")
    kept = ["secret_key_next", "secret_key_previous", "proof_key"]
    owner = pwd.getpwnam(host.account).pw_uid if host.account and not list(_account(host)) else os.geteuid()
    for path in (Path(stack["paths"]["secrets"], name) for name in [*names, *kept]):
        try:
            found = path.stat()
        except OSError as error:
            if path.name in kept and isinstance(error, FileNotFoundError):
                continue
            yield f"the secret {path}: {error.strerror}; provision the host first (provision.yml)"
            continue
        if found.st_mode & 0o077 or found.st_uid != owner:
            yield f"the secret {path} must belong to the stack's account and be closed to others (mode 0600)"


def _disk(host: Host, stack: Mapping[str, Any], source: Path, *, new_venv: bool) -> Iterator[str]:
    block = os.statvfs(source).f_frsize
    size = sum(-(-path.stat().st_size // block) * block for path in source.rglob("*") if path.is_file())
    needed = RELEASE_SPACE * size + (stack["limits"]["disk_mb"] * 1024**2 if new_venv else 0)
    free = shutil.disk_usage(host.root).free if host.root.is_dir() else 0
    if host.root.is_dir() and free < needed:
        yield (
            f"{host.root} has {free >> 20} MiB free and the release needs {-(-needed >> 20)} MiB: "
            "free some, or lower releases.keep"
        )


def _ports(stack: Mapping[str, Any]) -> Iterator[str]:
    """A port that none of our groups holds must be free."""
    table = Supervisor(stack).table()
    ours = {row["group"] for row in table.values()}
    for port in stack["api"]["ports"]:
        if f"api-{port}" in ours:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((stack["api"]["bind"], port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                yield f"port {port} is taken by something else: see `ss -ltnp`, or change api.ports"
