"""The virtual environments of a host, shared by the releases that need the same.

A venv cannot be moved, so it is built in its place; a marker file is written last, and a venv without it is
built anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy import durable, wheels
from deploy.layout import Host, tied
from deploy.procfs import command_line
from deploy.render import write_file
from deploy.steps import ReleaseError
from deploy.tree import restore_labels

MARKER = ".complete"
ASK = "import json, platform, sys; print(json.dumps([platform.python_version(), sys.implementation.cache_tag]))"


@dataclass(frozen=True)
class Recipe:
    """What a venv is made of. `name` follows from all of it."""

    python: str
    version: str
    requirements: tuple[Path, ...]
    name: str


def interpreter(stack: Mapping[str, Any]) -> str:
    """The Python that venvs are made with: the stack's, or the one below the venv that the engine runs in."""
    return str(stack["python"]["interpreter"] or os.path.realpath(getattr(sys, "_base_executable", sys.executable)))


def recipe(stack: Mapping[str, Any], tree: Path) -> Recipe:
    """Work out which venv a tree needs on this host.

    Raises:
        ReleaseError: when the interpreter does not run or is too old.
    """
    python = interpreter(stack)
    try:
        answer = subprocess.run([python, "-I", "-c", ASK], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise ReleaseError(f"python.interpreter {python} does not run: {error}") from error
    version, tag = json.loads(answer)
    if tuple(int(part) for part in version.split(".")[:2]) < (3, 11):
        raise ReleaseError(f"{python} is Python {version}; 3.11 or newer is needed: set python.interpreter")
    groups = ["app", *(["mysql"] if stack["database"]["engine"] == "mysql" else [])]
    files = tuple(tree / "requirements" / f"{group}.txt" for group in groups)
    missing = [str(path) for path in files if not path.is_file()]
    if missing:
        raise ReleaseError(f"the release lacks {', '.join(missing)}")
    parts = [version, tag, platform.machine(), operating_system(), *(path.read_text("utf-8") for path in files)]
    name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    return Recipe(python, version, files, name)


def operating_system() -> str:
    """The OS and its version, as os-release(5) says."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return platform.system()
    return f"{release.get('ID', '')} {release.get('VERSION_ID', '')}"


def is_complete(host: Host, name: str) -> bool:
    """Whether a venv was built to its end and its interpreter is still there."""
    return (host.venvs / name / MARKER).is_file() and os.access(host.venvs / name / "bin" / "python", os.X_OK)


def build(host: Host, made_of: Recipe, stack: Mapping[str, Any], wheelhouse: Path | None) -> bool:
    """Build a venv unless it is there; return whether it was built.

    Args:
        host: where it goes.
        made_of: what it is made of.
        stack: says which package index and proxy to use.
        wheelhouse: wheels made by `stack wheels` for what must be compiled; hosts keep no compiler.

    Raises:
        ReleaseError: with the end of pip's output.
    """
    if is_complete(host, made_of.name):
        return False
    host.venvs.mkdir(mode=0o755, exist_ok=True)
    folder = host.venvs / made_of.name
    if folder.exists():
        _end_leftovers(folder)
        shutil.rmtree(folder)
    _run([made_of.python, "-I", "-m", "venv", "--without-pip", "--symlinks", str(folder)], environment(stack))
    lines = wheels.pinned(made_of.requirements, wheelhouse)
    pins = folder / "requirements.txt"
    write_file(pins, lines)
    install = [
        *(sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "--disable-pip-version-check"),
        *(
            "--no-input",
            "install",
            "--require-hashes",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--requirement",
            str(pins),
        ),
        *(("--find-links", str(wheelhouse)) if wheelhouse else ()),
        *(("--no-index",) if wheelhouse and wheels.is_whole(made_of.requirements, wheelhouse) else ()),
    ]
    _run(install, environment(stack))
    restore_labels(folder)
    durable.sync_tree(folder)
    write_file(folder / MARKER, json.dumps({"python": made_of.version, "os": operating_system()}) + "\n")
    return True


def _end_leftovers(folder: Path) -> None:
    """End the pip of an engine that was killed: it runs itself once more in the venv, and would go on writing there."""
    for entry in Path("/proc").glob("[0-9]*"):
        words = command_line(int(entry.name))
        if words.startswith(f"{folder}/bin/python") and "pip" in words:
            with suppress(ProcessLookupError):
                os.kill(int(entry.name), signal.SIGKILL)


def environment(stack: Mapping[str, Any]) -> dict[str, str]:
    """pip's environment. Index and proxy go this way: they may hold a password, and command lines are public."""
    values = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    for name, key in (("PIP_INDEX_URL", "index_url"), ("PIP_TRUSTED_HOST", "trusted_host"), ("PIP_PROXY", "proxy")):
        if stack["python"][key]:
            values[name] = stack["python"][key]
    return values


def _run(command: Sequence[str], environment: Mapping[str, str]) -> None:
    before = os.umask(0o022)
    try:
        result = subprocess.run(
            [*tied("KILL"), *command], env=dict(environment), capture_output=True, text=True, check=False
        )
    finally:
        os.umask(before)
    if result.returncode:
        raise ReleaseError(
            "the virtual environment cannot be built", log=(result.stdout + result.stderr).splitlines()[-20:]
        )
