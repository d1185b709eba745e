"""What packages.yml says, checked and typed."""

import hashlib
import json
from dataclasses import dataclass, field, fields
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
FILES = HERE / "files"
REPOSITORIES = ("baseos", "appstream", "crb")


@dataclass(frozen=True)
class Double:
    """An RPM with an EL package's name; packages.yml says what each key means."""

    name: str
    repository: str = "appstream"
    debs: list[str] = field(default_factory=list)
    only: list[str] = field(default_factory=list)
    without: list[str] = field(default_factory=list)
    move: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    folders: dict[str, list[str]] = field(default_factory=dict)
    requires: list[str] = field(default_factory=list)
    provides: list[str] = field(default_factory=list)
    user: list[str] = field(default_factory=list)
    units: list[str] = field(default_factory=list)
    carve: bool = False
    installed: bool = False

    @property
    def files(self) -> Path:
        """Where its additional files lie, if it has any."""
        return FILES / self.name


def load(major: int) -> tuple[dict[str, Double], list[str]]:
    """The doubles of EL `major` by name, and patterns of Debian packages that are never carried along.

    Raises:
        ValueError: an unknown key, repository or required package.
    """
    listed = yaml.safe_load((HERE / "packages.yml").read_text())
    known = {item.name for item in fields(Double)} - {"name"}
    doubles: dict[str, Double] = {}
    for name, keys in (listed["both"] | listed[f"el{major}"]).items():
        if unknown := set(keys) - known:
            raise ValueError(f"packages.yml: {name} has unknown keys {', '.join(sorted(unknown))}")
        doubles[name] = Double(name, **keys)
    for double in doubles.values():
        if missing := set(double.requires) - set(doubles):
            raise ValueError(f"packages.yml: {double.name} requires {', '.join(sorted(missing))}, which are not there")
        if double.repository not in REPOSITORIES:
            raise ValueError(f"packages.yml: {double.name} is in no repository {double.repository}")
    return doubles, listed["leave_out"]


def fingerprint() -> str:
    """A hash over all that decides what the RPMs hold: any change makes repositories and roots again."""
    listed = json.dumps(yaml.safe_load((HERE / "packages.yml").read_text()))  # not its comments
    digest = hashlib.sha256(listed.encode())
    for file in (HERE / "debs.py", HERE / "repository.py", *sorted(FILES.rglob("*"))):
        if file.is_file():
            executable = bool(file.stat().st_mode & 0o100)
            digest.update(f"{file.relative_to(HERE)}\0{executable}\0".encode() + file.read_bytes())
    return digest.hexdigest()
