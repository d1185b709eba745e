"""The folder of a host's releases on a file system of its own, while its processes run on."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.unit.deploy.bench import Bench


def used(folder: Path) -> int:
    """The bytes that a folder takes on the disk."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


@contextmanager
def releases_on(bench: Bench, *mount: str) -> Iterator[None]:
    """Have a host's releases on another file system, where what is done to them stays when it is taken away again.

    Args:
        bench: the host.
        mount: the arguments of mount(8), without the folder.
    """
    aside = bench.folder / "aside"
    aside.mkdir()
    run("mount", *mount, str(aside))
    try:
        run("cp", "-a", f"{bench.root}/.", str(aside))
        run("mount", "--bind", str(aside), str(bench.root))
        try:
            yield
        finally:
            run("umount", "--lazy", str(bench.root))
    finally:
        run("umount", "--lazy", str(aside))
        aside.rmdir()


def run(*command: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True, capture_output=True)
