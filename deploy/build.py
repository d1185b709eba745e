"""Make the archive that a host is released to: one reproducible .tar.gz of a clean git tree.

The same commit gives the same bytes: names are sorted, times are the commit's, owners are root's, and the
gzip header carries neither name nor time.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import tarfile
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from deploy import hooks, manifest, migrations
from deploy.manifest import Manifest

# What a release is made of; nothing else in the tree matters to a build.
PARTS = (
    *("src", "deploy", "nginx", "supervisor", "systemd", "gunicorn.conf.py", "requirements", "pyproject.toml"),
    hooks.FOLDER,
)


class BuildError(Exception):
    """The archive cannot be made; the message says what to do."""


@dataclass(frozen=True)
class Built:
    """An archive: its release id, commit, version, path, sha256 and number of files."""

    id: str
    commit: str
    version: str
    path: str
    sha256: str
    files: int
    dirty: bool


def build(tree: Path, output: Path | None = None, *, allow_dirty: bool = False) -> Built:
    """Build the archive of a checkout.

    Args:
        tree: the checkout, a git working tree.
        output: the file to write; `dist/<project>-<id>.tar.gz` in the tree when not given.
        allow_dirty: take the working tree as it is and mark the release's id with `-dirty-`.

    Raises:
        BuildError: when the tree is no git tree, differs from its commit, or has migrations that are not in order.
    """
    changes = _git(tree, "status", "--porcelain", "--untracked-files=all", "--", *PARTS).splitlines()
    if changes and not allow_dirty:
        shown = "\n".join(f"  {line}" for line in changes[:20])
        raise BuildError(
            f"these files differ from the commit; commit them, or build a marked release with --allow-dirty:\n{shown}"
        )
    names = _files(tree, dirty=bool(changes))
    wrong = hooks.problems(names, lambda name: os.access(tree / name, os.X_OK))
    if wrong:
        raise BuildError("\n".join(wrong))
    commit = _git(tree, "rev-parse", "HEAD").strip()
    seconds = int(_git(tree, "show", "-s", "--format=%ct", "HEAD"))
    time = datetime.fromtimestamp(seconds, UTC)
    project = tomllib.loads((tree / "pyproject.toml").read_text("utf-8"))["project"]
    hashes = {name: manifest.digest(tree / name) for name in names}
    try:
        listed = migrations.read(tree, names)
    except migrations.MigrationError as error:
        raise BuildError(str(error)) from error
    release_id = f"{time:%Y%m%dT%H%M%S}-{commit[:7]}"
    if changes:
        of_tree = hashlib.sha256("".join(f"{name} {value}\n" for name, value in hashes.items()).encode())
        release_id += f"-dirty-{of_tree.hexdigest()[:8]}"
    made = Manifest(release_id, str(project["version"]), commit, f"{time:%Y-%m-%dT%H:%M:%SZ}", hashes, listed)
    target = output or tree / "dist" / f"{project['name']}-{release_id}.tar.gz"
    content = _archive(tree, made, seconds)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")  # two may build at once
    partial.write_bytes(content)
    os.replace(partial, target)
    sha256 = hashlib.sha256(content).hexdigest()
    return Built(release_id, commit, made.version, str(target), sha256, len(names), bool(changes))


def build_with_hooks(
    tree: Path, output: Path | None, *, allow_dirty: bool, timeout: float, say: Callable[[str], None]
) -> Built:
    """Build the archive of a checkout between its hooks before-build and after-build.

    Args:
        tree, output, allow_dirty: as `build` takes them.
        timeout: seconds that each hook may take.
        say: takes one line of progress.

    Raises:
        BuildError: before-build failed, and nothing was built; or as `build` does.
    """
    told = {"ACTION": "build", "COMMIT": _git(tree, "rev-parse", "HEAD").strip()}
    ran = hooks.run(tree, "before-build", told, timeout=timeout, start=hooks.start_here, say=say)
    if ran and ran.failed:
        raise BuildError("\n".join([ran.failed, *(f"  {line}" for line in ran.output)]))
    built = build(tree, output, allow_dirty=allow_dirty)
    told |= {"RELEASE": built.id, "VERSION": built.version, "ARCHIVE": os.path.abspath(built.path)}
    hooks.run(tree, "after-build", told, timeout=timeout, start=hooks.start_here, say=say)
    return built


def _git(tree: Path, *arguments: str) -> str:
    try:
        result = subprocess.run(["git", "-C", str(tree), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise BuildError("git is not installed") from None
    if result.returncode:
        raise BuildError(f"git {arguments[0]}: {result.stderr.strip()}")
    return result.stdout


def _files(tree: Path, *, dirty: bool) -> list[str]:
    """The names of the release's files, sorted by their bytes."""
    which = ("--cached", "--others", "--exclude-standard") if dirty else ("--cached",)
    listed = _git(tree, "ls-files", "-z", *which, "--", *PARTS).split("\0")
    names = sorted({name for name in listed if name and os.path.lexists(tree / name)}, key=os.fsencode)
    links = [name for name in names if (tree / name).is_symlink()]
    if links:
        raise BuildError(f"a release holds plain files only; these are symbolic links: {', '.join(links)}")
    if not names:
        raise BuildError(f"{tree} holds none of {', '.join(PARTS)}")
    return names


def _archive(tree: Path, made: Manifest, seconds: int) -> bytes:
    """The archive's bytes: folders before what they hold, everything owned by root and closed to writing."""
    folders = {str(parent) for name in made.files for parent in PurePosixPath(name).parents if str(parent) != "."}
    members: dict[str, bytes | None] = dict.fromkeys(folders)
    members.update({name: (tree / name).read_bytes() for name in made.files})
    members[manifest.NAME] = made.text().encode()
    packed = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name in sorted(members, key=os.fsencode):
            content = members[name]
            member = tarfile.TarInfo(name)
            member.mtime = seconds
            member.uname = member.gname = "root"
            if content is None:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(member)
            else:
                executable = name != manifest.NAME and os.access(tree / name, os.X_OK)
                member.mode, member.size = (0o755 if executable else 0o644), len(content)
                archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()
