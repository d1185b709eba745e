"""Wheels that need a compiler, built once for each OS and Python and carried to hosts that have none.

A wheel built from a locked sdist has a hash of its own, which the lock file cannot know. So `stack wheels` builds
it from the sdist whose hash the lock file pins, and writes the wheel's sha256 into `SHA256SUMS` beside it; on the
host a wheel is used only when that file lists it and its bytes agree, and its hash is then added to those that the
lock file allows for exactly that name and version.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.manifest import digest
from deploy.render import write_file
from deploy.steps import ReleaseError

SUMS = "SHA256SUMS"
PIN = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;\\]+)")


def build(requirements: Path, tools: Path, output: Path, *, python: str, environment: Mapping[str, str]) -> list[str]:
    """Build the wheels of a lock file from its sdists, with a compiler, and list them in SHA256SUMS.

    Args:
        requirements: a lock file with hashes, such as requirements/mysql.txt.
        tools: the lock file of what builds them, such as requirements/build.txt.
        output: the folder to put them in.
        python: the interpreter they are for.
        environment: pip's.

    Returns:
        The wheels' names.

    Raises:
        ReleaseError: with the end of pip's output, for instance when a header is missing.
    """
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="wheels-") as folder:
        venv = Path(folder, "venv")
        _run([python, "-I", "-m", "venv", "--without-pip", str(venv)], environment)
        pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python"), "--disable-pip-version-check"]
        _run([*pip, "install", "--require-hashes", "--no-deps", "--requirement", str(tools)], environment)
        made = Path(folder, "made")
        options = ("--require-hashes", "--no-deps", "--no-build-isolation", "--no-binary", ":all:", "--no-cache-dir")
        _run(
            [*pip, "wheel", *options, "--wheel-dir", str(made), "--requirement", str(requirements)],
            {**environment, "PATH": f"{venv}/bin:{environment.get('PATH', os.defpath)}"},
        )
        for wheel in made.glob("*.whl"):
            shutil.copyfile(wheel, output / wheel.name)
    found = sorted(path.name for path in output.glob("*.whl"))
    write_file(output / SUMS, "".join(f"{digest(output / name)}  {name}\n" for name in found))
    return found


def _run(command: Sequence[str], environment: Mapping[str, str]) -> None:
    result = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)
    if result.returncode:
        raise ReleaseError("a wheel cannot be built", log=(result.stdout + result.stderr).splitlines()[-20:])


def verified(wheelhouse: Path) -> dict[tuple[str, str], list[str]]:
    """The sha256 of each wheel in a folder, by (name, version), after holding it against SHA256SUMS.

    Raises:
        ReleaseError: naming a wheel that is not listed or is not what was listed.
    """
    try:
        lines = (wheelhouse / SUMS).read_text("utf-8").splitlines()
    except OSError as error:
        raise ReleaseError(f"{wheelhouse / SUMS}: {error.strerror}; make the folder with `stack wheels`") from error
    sums = {name.strip().lstrip("*"): value for value, _, name in (line.partition(" ") for line in lines if line)}
    found: dict[tuple[str, str], list[str]] = {}
    for wheel in sorted(wheelhouse.glob("*.whl")):
        if wheel.name not in sums:
            raise ReleaseError(f"{wheel.name} is not listed in {wheelhouse / SUMS}")
        value = digest(wheel)
        if value != sums[wheel.name]:
            raise ReleaseError(f"{wheel.name} is not what {wheelhouse / SUMS} says: it was changed or cut short")
        name, version = wheel.name.split("-")[:2]
        found.setdefault((normalised(name), version), []).append(value)
    return found


def normalised(name: str) -> str:
    """A project's name in the form that is compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(requirements: Sequence[Path]) -> list[str]:
    """The requirements of several lock files, one line each, continuation lines joined."""
    text = "\n".join(path.read_text("utf-8") for path in requirements).replace("\\\n", " ")
    return [" ".join(line.split()) for line in text.splitlines() if PIN.match(line)]


def pinned(requirements: Sequence[Path], wheelhouse: Path | None) -> str:
    """The requirements file of a venv: the lock files, with the hashes of our own wheels allowed as well."""
    own = verified(wheelhouse) if wheelhouse else {}
    lines = []
    for line in pins(requirements):
        match = PIN.match(line)
        key = (normalised(match["name"]), match["version"]) if match else ("", "")
        lines.append(line + "".join(f" --hash=sha256:{value}" for value in own.get(key, [])))
    return "".join(f"{line}\n" for line in lines)


def is_whole(requirements: Sequence[Path], wheelhouse: Path) -> bool:
    """Whether a folder holds a wheel for every requirement that has no condition: then no index is asked."""
    own = verified(wheelhouse)
    keys = [
        (normalised(m["name"]), m["version"])
        for line in pins(requirements)
        if ";" not in line and (m := PIN.match(line))
    ]
    return bool(keys) and all(key in own for key in keys)
