"""Turn an unpacked archive into a release: an immutable folder of files, rendered files and bytecode.

A release's folder is named for its id. Releases are immutable, and what is rendered into one follows from the
host's values: when a folder of that id exists already and was rendered from other values (or for another
Python), the release gets a folder of its own, `<id>-<8 hex digits of what was rendered>`. So the same commit with
another `stack.yml` rolls like any other release, and a rollback takes the values back as well.

A folder in `releases/` is whole: it is made beside its name and takes the name by rename(2) at the end.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy import durable, manifest
from deploy.layout import Host, tied
from deploy.manifest import Manifest
from deploy.render import render, write_file
from deploy.steps import ReleaseError

Load = Callable[[Mapping[str, str] | None], dict[str, Any]]

STACK = "stack.json"  # the merged values that a release was rendered from; root's alone
FILES = "files.json"  # the sha256 of each rendered file
PLACEHOLDER = "release-id"


@dataclass(frozen=True)
class Release:
    """A release on this host: its folder's name, its stack, and what its RELEASE file says."""

    name: str
    root: Path
    stack: Mapping[str, Any]
    manifest: Manifest

    @property
    def rendered(self) -> Path:
        """The folder of its rendered files."""
        return self.root / "rendered"


@dataclass(frozen=True)
class Plan:
    """What a release will be: its name, stack and rendered files, before anything is written."""

    name: str
    stack: Mapping[str, Any]
    rendered: Mapping[str, str]
    digest: str
    venv: str
    manifest: Manifest
    exists: bool


def plan(host: Host, source: Manifest, load: Load, venv: str) -> Plan:
    """Render a release in memory and decide what its folder is called.

    Args:
        host: where it will lie.
        source: the verified archive.
        load: loads the stack for `{"id": ..., "root": ...}`.
        venv: the name of the venv it will use.
    """
    general = _rendered(host, load, PLACEHOLDER)
    packed = json.dumps([venv, sorted(general[1].items())])
    digest = hashlib.sha256(packed.encode()).hexdigest()
    names = (source.id, f"{source.id}-{digest[:8]}")
    name = next(name for name in names if _digest_of(host.releases / name) in (digest, None))
    stack, files = _rendered(host, load, name)
    return Plan(name, stack, files, digest, venv, source, exists=(host.releases / name).is_dir())


def _rendered(host: Host, load: Load, name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The stack of a release and its rendered files by name.

    Their paths go through `current`, so that the site is the same in each release whose values are the same,
    and nginx need not be reloaded for new code.
    """
    stack = load({"id": name, "root": str(host.current)})
    folder = Path(stack["release"]["rendered"])
    return stack, {path.relative_to(folder).as_posix(): text for path, text in render(stack, "release").items()}


def _digest_of(release: Path) -> str | None:
    """The digest a release's folder was made with; None when there is no such folder, or a damaged one."""
    try:
        return str(json.loads((release / "rendered" / FILES).read_text("utf-8"))["digest"])
    except (OSError, ValueError, KeyError):
        return None


def unpack(host: Host, source: Path, planned: Plan, python: str) -> bool:
    """Make the planned release's folder, or mend it when somebody has changed it; return whether it did either.

    Args:
        host: where it goes.
        source: the verified, unpacked archive. It is copied, since the running engine may lie in it.
        planned: what to make.
        python: the interpreter whose bytecode is compiled.
    """
    target = host.releases / planned.name
    if planned.exists and not damaged(target, planned.manifest):
        return False
    host.releases.mkdir(mode=0o755, exist_ok=True)
    staging = host.releases / f".{planned.name}.new"
    if staging.exists():
        shutil.rmtree(staging)
    try:
        _copy(source, staging, planned)
        compile_bytecode(staging, target, python)
        restore_labels(staging)
        durable.sync_tree(staging)
    except OSError as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise ReleaseError(f"the release cannot be written to {host.releases}: {error}") from error
    except ReleaseError:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    if target.exists():
        durable.exchange(staging, target)
        shutil.rmtree(staging)
    else:
        durable.rename(staging, target)
    return True


def _copy(source: Path, staging: Path, planned: Plan) -> None:
    staging.mkdir(mode=0o755)
    for name in (*planned.manifest.files, manifest.NAME):
        path = staging / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, path)
        os.chmod(path, 0o755 if os.access(source / name, os.X_OK) and name != manifest.NAME else 0o644)
    for name, text in planned.rendered.items():
        write_file(staging / "rendered" / name, text)
    stack = {key: value for key, value in planned.stack.items() if key != "python"}  # an index may hold a password
    write_file(staging / "rendered" / STACK, json.dumps(stack, indent=1) + "\n", mode=0o600)
    hashes = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in planned.rendered.items()}
    record = {"digest": planned.digest, "venv": planned.venv, "files": hashes}
    write_file(staging / "rendered" / FILES, json.dumps(record, indent=1) + "\n")
    (staging / "venv").symlink_to(Path("..", "..", "venvs", planned.venv))
    for folder, _, _ in os.walk(staging):
        os.chmod(folder, 0o755)  # noqa: S103 - everybody may read a release, nobody may write it


def damaged(release: Path, expected: Manifest) -> list[str]:
    """What in a release's folder is not as it was made."""
    problems = manifest.differences(release, expected)
    try:
        hashes = json.loads((release / "rendered" / FILES).read_text("utf-8"))["files"]
        json.loads((release / "rendered" / STACK).read_text("utf-8"))
    except (OSError, ValueError, KeyError):
        return [*problems, "rendered"]
    for name, expected_hash in hashes.items():
        path = release / "rendered" / name
        if not path.is_file() or manifest.digest(path) != expected_hash:
            problems.append(f"rendered/{name}")
    return problems


def open_release(host: Host, name: str) -> Release:
    """Read a release that lies on this host.

    Raises:
        ReleaseError: when there is none of that name, or it is not as it was made.
    """
    root = host.releases / name
    if not name or "/" in name or not root.is_dir():
        there = ", ".join(names(host)) or "none"
        raise ReleaseError(f"there is no release {name!r} in {host.releases}; there are: {there}")
    try:
        found = manifest.read(root)
    except manifest.ManifestError as error:
        raise ReleaseError(str(error)) from error
    problems = damaged(root, found)
    if problems:
        raise ReleaseError(f"release {name} was changed after it was made: {', '.join(problems)}")
    return Release(name, root, stack_of(host, name), found)


def stack_of(host: Host, name: str) -> dict[str, Any]:
    """The values that a release on this host was rendered from.

    Raises:
        ReleaseError: when they cannot be read.
    """
    path = host.releases / name / "rendered" / STACK
    try:
        values: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ReleaseError(f"{path} cannot be read: {error}; release that commit again") from error
    return values


def names(host: Host) -> list[str]:
    """The releases on this host, the oldest commit first."""
    if not host.releases.is_dir():
        return []
    return sorted(path.name for path in host.releases.iterdir() if path.is_dir() and not path.name.startswith("."))


def venv_of(release: Path) -> str:
    """The name of the venv that a release uses."""
    return Path(os.readlink(release / "venv")).name


def compile_bytecode(tree: Path, final: Path, python: str) -> None:
    """Compile a tree that will lie somewhere else, so that the account need not (and cannot) write bytecode.

    Raises:
        ReleaseError: when a file is no Python of this interpreter.
        OSError: when the disk is full.
    """
    result = subprocess.run(
        [
            *tied("KILL"),
            python,
            "-m",
            "compileall",
            "-q",
            "-s",
            str(tree),
            "-p",
            str(final),
            *(str(tree / part) for part in ("src", "deploy")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        said = result.stdout + result.stderr
        if os.strerror(errno.ENOSPC) in said:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise ReleaseError("its Python does not compile", log=said.splitlines()[-20:])


def restore_labels(path: Path) -> None:
    """Give a tree the SELinux labels of its place, where SELinux is enabled (selinuxenabled(8), restorecon(8))."""
    if not shutil.which("selinuxenabled") or not shutil.which("restorecon"):
        return
    if subprocess.run(["selinuxenabled"], check=False).returncode == 0:
        subprocess.run(["restorecon", "-R", str(path)], check=True, capture_output=True)
