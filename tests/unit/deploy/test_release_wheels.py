"""Wheels that are built once and carried to hosts: real pip, a real sdist, and hashes that must agree."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from deploy import venvs, wheels
from deploy.layout import Host
from deploy.render import TREE
from deploy.stack import load
from deploy.steps import ReleaseError

NAME = "stack-test-wheel"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lock file that pins an sdist by its hash, and the folder of the wheel built from that sdist."""
    folder = tmp_path_factory.mktemp("wheels")
    sdist = folder / "index" / f"{NAME.replace('-', '_')}-1.0.tar.gz"
    sdist.parent.mkdir()
    files = {
        "pyproject.toml": f'[project]\nname = "{NAME}"\nversion = "1.0"\n'
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n',
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.0\n",
        "stack_test_wheel.py": "WORD = 'built'\n",
        "setup.py": "from setuptools import setup\nsetup(py_modules=['stack_test_wheel'])\n",
    }
    with tarfile.open(sdist, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"stack_test_wheel-1.0/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    value = hashlib.sha256(sdist.read_bytes()).hexdigest()
    (folder / "requirements").mkdir()
    (folder / "requirements" / "app.txt").write_text(f"{NAME}==1.0 \\\n    --hash=sha256:{value}\n")
    environment = {**os.environ, "PIP_FIND_LINKS": str(sdist.parent)}
    requirements = folder / "requirements" / "app.txt"
    found = wheels.build(
        requirements,
        TREE / "requirements" / "build.txt",
        folder / "out",
        python=sys.executable,
        environment=environment,
    )
    assert found == ["stack_test_wheel-1.0-py3-none-any.whl"]
    shutil.rmtree(sdist.parent)
    return folder


@pytest.fixture
def stack() -> Mapping[str, Any]:
    values = load("test")
    return {**values, "python": {"interpreter": sys.executable, "index_url": "", "trusted_host": "", "proxy": ""}}


def copied(made: Path, to: Path) -> Path:
    return Path(shutil.copytree(made / "out", to / "wheelhouse"))


def test_a_venv_takes_the_carried_wheel_whose_hash_the_lock_file_cannot_know(
    made: Path, stack: Mapping[str, Any], tmp_path: Path
) -> None:
    host = Host(tmp_path, None)
    recipe = venvs.recipe(stack, made)
    assert venvs.build(host, recipe, stack, made / "out")
    python = host.venvs / recipe.name / "bin" / "python"
    said = subprocess.run(
        [str(python), "-c", "import stack_test_wheel as w; print(w.WORD)"], capture_output=True, text=True, check=True
    )
    assert said.stdout == "built\n"
    assert not venvs.build(host, recipe, stack, made / "out")


def test_without_the_wheel_nothing_is_compiled_on_the_host(
    made: Path, stack: Mapping[str, Any], tmp_path: Path
) -> None:
    host = Host(tmp_path, None)
    recipe = venvs.recipe(stack, made)
    with pytest.raises(ReleaseError, match="cannot be built") as refused:
        venvs.build(host, recipe, stack, None)
    assert NAME in "\n".join(refused.value.log)
    assert not venvs.is_complete(host, recipe.name)


def _change(folder: Path) -> None:
    wheel = next(folder.glob("*.whl"))
    wheel.write_bytes(wheel.read_bytes() + b"x")


def _rename(folder: Path) -> None:
    wheel = next(folder.glob("*.whl"))
    wheel.rename(wheel.with_name("stack_test_wheel-1.0-py2.py3-none-any.whl"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(_change, "was changed or cut short", id="a changed wheel"),
        pytest.param(_rename, "is not listed", id="a wheel that is not listed"),
        pytest.param(lambda folder: (folder / wheels.SUMS).unlink(), "stack wheels", id="no list"),
    ],
)
def test_a_wheel_that_is_not_what_was_built_is_refused(
    made: Path, stack: Mapping[str, Any], tmp_path: Path, change: Callable[[Path], object], said: str
) -> None:
    folder = copied(made, tmp_path)
    change(folder)
    with pytest.raises(ReleaseError, match=said):
        venvs.build(Host(tmp_path, None), venvs.recipe(stack, made), stack, folder)


def test_a_carried_wheel_of_another_version_is_not_allowed_by_the_lock_file(made: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text((made / "requirements" / "app.txt").read_text().replace("==1.0", "==1.1"))
    assert wheels.pinned([other], made / "out") == wheels.pinned([other], None)
    assert wheels.pinned([made / "requirements" / "app.txt"], made / "out").count("--hash=sha256:") == 2


def test_an_index_is_not_asked_when_every_wheel_is_carried(made: Path, tmp_path: Path) -> None:
    more = tmp_path / "more.txt"
    more.write_text(f"other==1.0 --hash=sha256:{'0' * 64}\n")
    requirements = made / "requirements" / "app.txt"
    assert wheels.is_whole([requirements], made / "out")
    assert not wheels.is_whole([requirements, more], made / "out")


def test_the_venvs_name_follows_from_its_requirements(made: Path, stack: Mapping[str, Any], tmp_path: Path) -> None:
    shutil.copytree(made / "requirements", tmp_path / "requirements")
    same = venvs.recipe(stack, tmp_path).name
    assert same == venvs.recipe(stack, made).name
    with (tmp_path / "requirements" / "app.txt").open("a") as file:
        file.write(f"more==1.0 --hash=sha256:{'0' * 64}\n")
    assert venvs.recipe(stack, tmp_path).name != same


def test_a_stack_on_mysql_needs_its_driver_as_well(stack: Mapping[str, Any]) -> None:
    on_mysql = {**stack, "database": {**stack["database"], "engine": "mysql"}}
    names = [[path.name for path in venvs.recipe(values, TREE).requirements] for values in (stack, on_mysql)]
    assert names == [["app.txt"], ["app.txt", "mysql.txt"]]


def test_an_interpreter_that_does_not_run_is_named(stack: Mapping[str, Any]) -> None:
    missing = {**stack, "python": {**stack["python"], "interpreter": "/usr/bin/python9"}}
    with pytest.raises(ReleaseError, match="/usr/bin/python9 does not run"):
        venvs.recipe(missing, TREE)


def test_an_index_that_may_hold_a_password_reaches_pip_by_its_environment(stack: Mapping[str, Any]) -> None:
    python = {**stack["python"], "index_url": "https://user:word@index.example/simple", "proxy": "http://p.example:1"}
    environment = venvs.environment({**stack, "python": python})
    assert environment["PIP_INDEX_URL"] == python["index_url"]
    assert environment["PIP_PROXY"] == python["proxy"]
