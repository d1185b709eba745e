"""The RELEASE file of a release: what it was built from, its migrations, and the sha256 of each of its files."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from deploy.migrations import Migration

NAME = "RELEASE"
ID = re.compile(r"\d{8}T\d{6}-[0-9a-f]{7}(-dirty-[0-9a-f]{8})?")

# What Python writes beside the code that runs from an unpacked archive.
NOT_OURS = "__pycache__"


class ManifestError(Exception):
    """A tree is not what its RELEASE file says; `problems` holds one sentence for each file."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Manifest:
    """What a RELEASE file says. `built_from` is the commit's time, so that it is the same in each build."""

    id: str
    version: str
    commit: str
    built_from: str
    files: Mapping[str, str]
    migrations: tuple[Migration, ...] = ()

    def text(self) -> str:
        """The RELEASE file's content."""
        fields = {
            "id": self.id,
            "version": self.version,
            "commit": self.commit,
            "built_from": self.built_from,
            "migrations": [asdict(migration) for migration in self.migrations],
            "files": dict(sorted(self.files.items())),
        }
        return json.dumps(fields, indent=1) + "\n"


def read(tree: Path) -> Manifest:
    """Read the RELEASE file of an unpacked archive or of a release.

    Raises:
        ManifestError: when it is missing or holds something else.
    """
    path = tree / NAME
    try:
        fields = json.loads(path.read_text("utf-8"))
        plain = {key: fields[key] for key in ("id", "version", "commit", "built_from", "files")}
        found = Manifest(**plain, migrations=tuple(Migration(**each) for each in fields.get("migrations", ())))
    except OSError as error:
        raise ManifestError([f"{path}: {error.strerror}; unpack an archive made by `stack build`"]) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ManifestError([f"{path} cannot be read ({error!r}); make the archive again"]) from error
    if not ID.fullmatch(found.id):
        raise ManifestError([f"{path}: {found.id!r} is no release id"])
    odd = [name for name in found.files if not _is_plain(name)]
    if odd:
        raise ManifestError([f"{path} lists {name!r}, which lies outside of the release" for name in odd])
    return found


def _is_plain(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and str(path) == name


def digest(path: Path) -> str:
    """The sha256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def differences(tree: Path, manifest: Manifest) -> list[str]:
    """The names of listed files that are missing, are no plain files, or hold something else."""
    return [
        name
        for name, expected in sorted(manifest.files.items())
        if (tree / name).is_symlink() or not (tree / name).is_file() or digest(tree / name) != expected
    ]


def verify(tree: Path) -> Manifest:
    """Hold an unpacked archive against its RELEASE file.

    Raises:
        ManifestError: naming each file that differs, is missing or is not listed.
    """
    manifest = read(tree)
    problems = [
        f"{name} is not what {NAME} says: the archive was changed or cut short" for name in differences(tree, manifest)
    ]
    for folder, folders, files in os.walk(tree):
        folders[:] = [name for name in folders if name != NOT_OURS]
        relative = Path(folder).relative_to(tree)
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in (*files, *links):
            found = (relative / name).as_posix()
            if found != NAME and found not in manifest.files:
                problems.append(f"{found} is not listed in {NAME}")
    if problems:
        raise ManifestError(problems)
    return manifest
