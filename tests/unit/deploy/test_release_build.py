"""`stack build`: one reproducible archive of a clean git tree, and what refuses one that was changed."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy import build, manifest


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A git tree that has a little of everything a release is made of, and something that no release holds."""
    files = {
        "src/app/__init__.py": "x = 1\n",
        "deploy/run.sh": "#!/bin/sh\n",
        "gunicorn.conf.py": "workers = 1\n",
        "pyproject.toml": '[project]\nname = "app"\nversion = "2.3"\n',
        "docs/page.md": "words\n",
        ".gitignore": "__pycache__/\ndist/\n",
    }
    for name, text in files.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    os.chmod(tmp_path / "tree/deploy/run.sh", 0o755)
    git(tmp_path / "tree", "init", "--quiet")
    commit(tmp_path / "tree")
    return tmp_path / "tree"


def git(tree: Path, *arguments: str) -> None:
    when = {f"GIT_{role}_DATE": "2026-01-02T03:04:05+02:00" for role in ("AUTHOR", "COMMITTER")}
    who = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run(["git", "-C", str(tree), *who, *arguments], env={**os.environ, **when}, check=True)


def commit(tree: Path) -> None:
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--message", "change")


def unpacked(built: build.Built, folder: Path) -> Path:
    with tarfile.open(built.path) as archive:
        archive.extractall(folder, filter="fully_trusted")
    return folder


def test_the_same_commit_gives_the_same_bytes_in_another_checkout(tree: Path, tmp_path: Path) -> None:
    first = build.build(tree)
    git(tmp_path, "clone", "--quiet", str(tree), str(tmp_path / "other"))
    for path in (tmp_path / "other").rglob("*"):
        os.utime(path, (1, 1))
    (tmp_path / "other/src/app/__pycache__").mkdir()
    (tmp_path / "other/src/app/__pycache__/x.pyc").write_bytes(b"x")
    second = build.build(tmp_path / "other", tmp_path / "other.tar.gz")
    assert Path(first.path).read_bytes() == Path(second.path).read_bytes()
    assert first.sha256 == second.sha256


def test_another_commit_gives_another_release(tree: Path) -> None:
    before = build.build(tree)
    (tree / "src/app/__init__.py").write_text("x = 2\n")
    commit(tree)
    after = build.build(tree)
    assert (before.id, before.sha256) != (after.id, after.sha256)


def test_its_name_is_the_commits_time_in_utc_and_its_hash(tree: Path) -> None:
    built = build.build(tree)
    assert built.id == f"20260102T010405-{built.commit[:7]}"
    assert Path(built.path) == tree / "dist" / f"app-{built.id}.tar.gz"
    assert (built.version, built.dirty) == ("2.3", False)


def test_it_holds_what_a_release_is_made_of_and_nothing_else(tree: Path) -> None:
    with tarfile.open(build.build(tree).path) as archive:
        members = {member.name: member for member in archive}
    plain = {name for name, member in members.items() if member.isfile()}
    assert plain == {"src/app/__init__.py", "deploy/run.sh", "gunicorn.conf.py", "pyproject.toml", "RELEASE"}
    assert {name for name, member in members.items() if member.mode == 0o755} == {
        "src",
        "src/app",
        "deploy",
        "deploy/run.sh",
    }
    assert {(member.uid, member.gid, member.uname) for member in members.values()} == {(0, 0, "root")}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda tree: (tree / "src/app/__init__.py").write_text("x = 3\n"), id="a changed file"),
        pytest.param(lambda tree: (tree / "src/app/new.py").write_text("y = 1\n"), id="a new file"),
        pytest.param(lambda tree: (tree / "deploy/run.sh").unlink(), id="a missing file"),
    ],
)
def test_a_tree_that_differs_from_its_commit_is_refused_or_marked(tree: Path, change: Callable[[Path], object]) -> None:
    clean = build.build(tree).id
    change(tree)
    with pytest.raises(build.BuildError, match="differ from the commit"):
        build.build(tree)
    marked = build.build(tree, allow_dirty=True)
    assert marked.id.startswith(f"{clean}-dirty-")
    assert marked.dirty
    assert build.build(tree, allow_dirty=True).sha256 == marked.sha256


def test_what_no_release_holds_may_differ_from_the_commit(tree: Path) -> None:
    (tree / "docs/page.md").write_text("other words\n")
    (tree / "notes.txt").write_text("new\n")
    assert not build.build(tree).dirty


def test_a_folder_that_is_no_git_tree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(build.BuildError, match="not a git repository"):
        build.build(tmp_path)


def test_a_symbolic_link_is_refused_by_name(tree: Path) -> None:
    (tree / "src/link.py").symlink_to("/etc/passwd")
    commit(tree)
    with pytest.raises(build.BuildError, match=r"src/link\.py"):
        build.build(tree)


def test_an_unpacked_archive_is_what_its_release_file_says(tree: Path, tmp_path: Path) -> None:
    built = build.build(tree)
    found = manifest.verify(unpacked(built, tmp_path / "out"))
    assert (found.id, found.commit, found.version) == (built.id, built.commit, "2.3")
    assert len(found.files) == built.files == 4


def test_bytecode_that_the_engine_left_beside_itself_does_not_count(tree: Path, tmp_path: Path) -> None:
    folder = unpacked(build.build(tree), tmp_path / "out")
    (folder / "deploy/__pycache__").mkdir()
    (folder / "deploy/__pycache__/cli.pyc").write_bytes(b"x")
    assert manifest.verify(folder).version == "2.3"


def _replace_by_a_link(path: Path) -> None:
    text = path.read_bytes()
    path.unlink()
    path.with_name("elsewhere").write_bytes(text)
    path.symlink_to("elsewhere")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param(lambda f: (f / "src/app/__init__.py").write_text("x = 9\n"), "src/app/__init__.py", id="changed"),
        pytest.param(lambda f: (f / "deploy/run.sh").unlink(), "deploy/run.sh", id="missing"),
        pytest.param(lambda f: (f / "src/app/more.py").write_text("y\n"), "src/app/more.py", id="not listed"),
        pytest.param(lambda f: (f / "src/all").symlink_to("/"), "src/all", id="a link to a folder"),
        pytest.param(lambda f: _replace_by_a_link(f / "deploy/run.sh"), "deploy/run.sh", id="a link to a file"),
        pytest.param(lambda f: (f / "RELEASE").unlink(), "RELEASE", id="no manifest"),
        pytest.param(lambda f: (f / "RELEASE").write_text("{}"), "RELEASE", id="an empty manifest"),
    ],
)
def test_an_archive_that_was_changed_is_refused_by_name(
    tree: Path, tmp_path: Path, change: Callable[[Path], object], named: str
) -> None:
    folder = unpacked(build.build(tree), tmp_path / "out")
    change(folder)
    with pytest.raises(manifest.ManifestError) as refused:
        manifest.verify(folder)
    assert named in str(refused.value)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "src/../../outside", "src//app"])
def test_a_manifest_that_points_outside_is_refused(tree: Path, tmp_path: Path, name: str) -> None:
    folder = unpacked(build.build(tree), tmp_path / "out")
    fields = json.loads((folder / "RELEASE").read_text())
    fields["files"][name] = "0" * 64
    (folder / "RELEASE").write_text(json.dumps(fields))
    with pytest.raises(manifest.ManifestError, match="outside"):
        manifest.read(folder)


def test_a_manifest_whose_id_is_a_path_is_refused(tree: Path, tmp_path: Path) -> None:
    folder = unpacked(build.build(tree), tmp_path / "out")
    fields = {**json.loads((folder / "RELEASE").read_text()), "id": "../../etc"}
    (folder / "RELEASE").write_text(json.dumps(fields))
    with pytest.raises(manifest.ManifestError, match="no release id"):
        manifest.read(folder)
