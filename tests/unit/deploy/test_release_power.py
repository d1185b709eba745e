"""A power cut in the middle of a release: what the disk holds then is whole, and tells what had begun.

The releases lie on ext4 in a file, which holds only what has been put on the disk. The engine is killed at a boundary,
and the file copied as it is: that is what the next boot would find.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import journal, ledger, tree, venvs
from deploy.layout import Host
from tests.unit.deploy.bench import Bench
from tests.unit.deploy.mounts import releases_on, run, used
from tests.unit.deploy.test_release_killed import Killer, command

SAMPLE = (
    "after the rename to api-21301-0",
    "after the rename to current",
    "after the journal goes",
)
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="mounts a file system"),
]


@pytest.fixture
def disk(bench: Bench, tmp_path: Path) -> Iterator[Path]:
    """The file that holds the file system of the host's releases."""
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(3 * used(bench.root) + 128 * 1024**2)
    run("mkfs.ext4", "-q", "-F", str(image))
    # Nothing reaches the disk by itself for five minutes: what is there was put there.
    with releases_on(bench, "-o", "loop,commit=300", str(image)):
        os.sync()
        yield image
    assert bench.stack_command("restart")["status"] == 0  # so that nothing runs from there any more


def after_the_cut(disk: Path, folder: Path) -> Path:
    """Mount a copy of the disk as it is now, so that ext4 recovers what it can."""
    shutil.copyfile(disk, folder / "copy")
    mounted = folder / "mounted"
    mounted.mkdir(exist_ok=True)
    run("mount", "-o", "loop", str(folder / "copy"), str(mounted))
    return mounted


@pytest.mark.timeout(7200)  # in full
def test_after_a_power_cut_the_disk_holds_whole_releases_and_what_was_begun(
    bench: Bench, disk: Path, tmp_path: Path, full: bool
) -> None:
    bench.values["releases"]["keep"] = 10  # the one that it begins with stays
    bench.write_config()
    killer = Killer(bench, tmp_path)
    assert bench.first is not None
    builds = {built.id: built for built in (bench.first, bench.edit("src/hello/wsgi.py", "pong!", "pong power!"))}
    start = bench.current()

    def other() -> str:
        return next(name for name in builds if name != bench.current())

    boundaries = list(SAMPLE)
    if full:
        source = bench.unpack(builds[other()])
        names = killer.boundaries("release", str(source), engine=source)
        boundaries = [str(number) for number, _ in enumerate(names, 1)]
    for boundary in boundaries:
        old, new = bench.current(), other()
        source = bench.unpack(builds[new])
        killer.kill(boundary, "release", str(source), engine=source)
        mounted = after_the_cut(disk, tmp_path)
        try:
            found = Host(mounted, None)
            served = {
                path.name: found.pointed(path) for path in found.instances.iterdir() if not path.name.startswith(".")
            }
            for name in {*served.values(), found.pointed(found.current)}:
                release = tree.open_release(found, name)
                assert venvs.is_complete(found, tree.venv_of(release.root)), boundary
            moved = {name for name, release in served.items() if release == new}
            left = journal.read(found.journal)
            if left is None:
                assert len(set(served.values()) | {found.pointed(found.current)}) == 1, boundary
            elif left.finishes:
                assert moved == set(served), boundary
            else:
                announced = {change.data["process"]["name"] for change in left.changes.values()}
                assert moved <= announced, boundary
                assert found.pointed(found.current) == old, boundary
            assert ledger.read(found.ledger).problems == [], boundary
        finally:
            run("umount", str(mounted))
        command(bench, "resume")
    assert bench.stack_command("rollback", start)["status"] == 0
    assert (set(bench.serving().values()), bench.pointers(), bench.current()) == ({start}, {start}, start)
