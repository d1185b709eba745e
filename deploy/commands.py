"""One-off commands of a release, as the account."""

from __future__ import annotations

import subprocess

from deploy.layout import Host
from deploy.steps import ReleaseError
from deploy.tree import Release

TAIL = 20  # lines of output that a failure shows


def flask(host: Host, target: Release, *arguments: str) -> str:
    """Run a `flask` command of a release; return all it said.

    Raises:
        ReleaseError: with the end of its output.
    """
    return python(host, target, *_flask(target), *arguments)


def answer(host: Host, target: Release, *arguments: str) -> str:
    """Run a `flask` command of a release; return its standard output alone.

    Raises:
        ReleaseError: with the end of its output.
    """
    return _run(host, target, *_flask(target), *arguments).stdout


def python(host: Host, target: Release, module: str, *arguments: str) -> str:
    """Run `python -m` in a release's environment; return all it said.

    Raises:
        ReleaseError: with the end of its output.
    """
    result = _run(host, target, module, *arguments)
    return result.stdout + result.stderr


def _flask(target: Release) -> tuple[str, ...]:
    return ("flask", "--app", target.stack["app"]["wsgi"].partition(":")[0])


def _run(host: Host, target: Release, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    result = host.run([str(target.root / "venv" / "bin" / "python"), "-m", module, *arguments], target.root)
    if result.returncode:
        words = " ".join([module, *arguments][:5])
        said = (result.stdout + result.stderr).splitlines()
        raise ReleaseError(f"`{words}` of release {target.name} failed", log=said[-TAIL:])
    return result
