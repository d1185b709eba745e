"""Backups before migrations: of a real MariaDB, which is put back from one, and of SQLite."""

from __future__ import annotations

import getpass
import gzip
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy import backup
from deploy.layout import Host
from deploy.manifest import Manifest
from deploy.steps import ReleaseError
from deploy.tree import Release
from tests.integration.mariadb import MariaDB
from tests.ports import free_port

PASSWORD = """of "the' tests\\ own #1; $x ä"""
ID = "20260102T030405-0000000"


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDB]:
    """A server with an account whose password has everything in it that is awkward in a file of options."""
    with tempfile.TemporaryDirectory(prefix="ce-") as folder, MariaDB(Path(folder), free_port()) as started:
        started.run("CREATE USER cloudeye@'127.0.0.1' IDENTIFIED BY %s", PASSWORD)
        started.run("GRANT ALL ON `cloudeye%`.* TO cloudeye@'127.0.0.1'")
        started.run("CREATE TABLE cloudeye.bodies (id INT PRIMARY KEY, body BLOB, words TEXT) CHARSET utf8mb4")
        started.run("INSERT INTO cloudeye.bodies VALUES (1, %s, %s)", bytes(range(256)), "ä\n-- Dump completed\n'é")
        yield started


@pytest.fixture
def stack(tmp_path: Path) -> dict[str, Any]:
    """What a backup asks of a stack."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "database_password").write_text(f"{PASSWORD}\n")
    (tmp_path / "data").mkdir()
    return {
        "stack": {"name": "cloudeye"},
        "paths": {"data": str(tmp_path / "data"), "secrets": str(tmp_path / "secrets")},
        "database": {"engine": "sqlite", "host": "127.0.0.1", "port": 0, "name": "cloudeye", "user": "cloudeye"},
        "releases": {"backups": 2},
    }


@pytest.fixture
def on_server(server: MariaDB, stack: dict[str, Any]) -> dict[str, Any]:
    stack["database"].update(engine="mysql", port=server.port)
    return stack


@pytest.fixture
def on_sqlite(stack: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A database whose newest rows lie in the log beside it, as long as somebody has it open."""
    with sqlite3.connect(f"{stack['paths']['data']}/cloudeye.sqlite3") as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE words (word TEXT)")
        connection.execute("INSERT INTO words VALUES ('one')")
        connection.commit()
        yield stack
    connection.close()


def back_up(stack: dict[str, Any], name: str = ID, account: str | None = None, root: str = "") -> Path:
    release = Release(name, Path("/"), stack, Manifest(ID, "1", "0", "", {}))
    return backup.back_up(Host(Path(root or stack["paths"]["data"]), account), release)


def left(stack: dict[str, Any]) -> list[str]:
    return sorted(os.listdir(Path(stack["paths"]["data"], "backups")))


def test_a_database_is_put_back_from_its_backup_as_it_was(server: MariaDB, on_server: dict[str, Any]) -> None:
    path = back_up(on_server)
    assert re.fullmatch(rf"\d{{8}}T\d{{6}}Z-{ID}\.sql\.gz", path.name)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    server.run("CREATE OR REPLACE DATABASE again")
    subprocess.run(
        ["mariadb", "--no-defaults", f"--socket={server.socket}", "--user=root", "again"],
        input=gzip.decompress(path.read_bytes()),
        check=True,
    )
    assert server.run("SELECT * FROM again.bodies") == server.run("SELECT * FROM cloudeye.bodies")


def test_the_account_is_that_of_the_password_file_where_it_names_one(on_server: dict[str, Any]) -> None:
    on_server["database"]["user"] = "another"
    Path(on_server["paths"]["secrets"], "database_password").write_text(f"{PASSWORD}\ncloudeye\n")
    assert back_up(on_server).stat().st_size > 100


def test_root_has_the_stacks_account_ask_and_keeps_the_backup_to_itself(on_server: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory(prefix="ce-") as root:  # whose way there is open to the account, as on a host
        os.chmod(root, 0o755)
        path = back_up(on_server, account="nobody" if os.geteuid() == 0 else None, root=root)
    assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (os.geteuid(), 0o600)
    assert b"bodies" in gzip.decompress(path.read_bytes())


def test_the_password_is_in_no_command_line_and_its_file_is_closed_and_gone(
    on_server: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("mariadb", "mariadb-dump"):
        noting = (
            f'#!/bin/sh\nfile=${{1#*=}}\n{{ printf "%s\\n" "$0 $*" "$file"; env; stat -c "%a %U" "$file"; }} '
            f'> {tmp_path}/{name}\nexec {shutil.which(name)} "$@"\n'
        )
        (tmp_path / "bin" / name).write_text(noting)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    assert back_up(on_server).stat().st_size > 100
    for name in ("mariadb", "mariadb-dump"):
        line, file, *_, mode = (tmp_path / name).read_text().splitlines()
        assert "--defaults-file=" in line
        assert "own #1" not in (tmp_path / name).read_text()
        assert mode == f"600 {getpass.getuser()}"
        assert not Path(file).parent.exists()


def test_sqlite_is_copied_with_what_is_not_in_its_file_yet(on_sqlite: dict[str, Any]) -> None:
    path = back_up(on_sqlite)
    assert path.name.endswith(f"-{ID}.sqlite3")
    assert path.stat().st_mode & 0o777 == 0o600
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT word FROM words").fetchall() == [("one",)]
    connection.close()


def test_the_newest_ones_are_kept_and_what_a_cut_off_run_left_is_not(on_sqlite: dict[str, Any]) -> None:
    folder = Path(on_sqlite["paths"]["data"], "backups")
    back_up(on_sqlite)
    for name in ("20200101T000000Z-a.sql.gz", "20200102T000000Z-b.sqlite3", "20200103T000000Z-c.sql.gz.part", "mine"):
        (folder / name).write_text("")
    newest = back_up(on_sqlite, "next").name
    assert newest in left(on_sqlite)
    assert len(left(on_sqlite)) == 3
    assert not {name for name in left(on_sqlite) if name.startswith("2020")}
    assert "mine" in left(on_sqlite)


def refused(stack: dict[str, Any]) -> ReleaseError:
    with pytest.raises(ReleaseError) as error:
        back_up(stack)
    return error.value


def test_a_wrong_password_is_said_in_the_programs_own_words(on_server: dict[str, Any]) -> None:
    Path(on_server["paths"]["secrets"], "database_password").write_text("another\n")
    assert "Access denied" in "\n".join(refused(on_server).log)
    assert left(on_server) == []


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("exit 3", "ended with status 3"),
        ("echo 'CREATE TABLE half (id INT);'", "did not write its last line"),
        ("echo '-- Dump completed'; exit 1", "ended with status 1"),
    ],
)
def test_half_a_dump_is_refused(
    on_server: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, said: str
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "mariadb-dump").write_text(f"#!/bin/sh\n{program}\n")
    (tmp_path / "bin" / "mariadb-dump").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    assert said in refused(on_server).message
    assert left(on_server) == []


def test_without_the_program_it_says_what_to_install(
    on_server: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "mariadb-dump and mysqldump are not installed" in refused(on_server).message
    assert left(on_server) == []


def test_a_folder_without_room_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    needed = shutil.disk_usage(tmp_path).total + 1
    with pytest.raises(ReleaseError, match=r"needs up to \d+ MiB and paths.data has \d+ MiB free"):
        backup.room(tmp_path / "file", needed)


@pytest.mark.parametrize("kind", ["a link", "a file"])
def test_what_lies_in_the_way_is_refused_and_left_alone(on_sqlite: dict[str, Any], tmp_path: Path, kind: str) -> None:
    folder = Path(on_sqlite["paths"]["data"], "backups")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder.symlink_to(elsewhere) if kind == "a link" else folder.write_text("words")
    assert str(folder) in refused(on_sqlite).message
    assert list(elsewhere.iterdir()) == []


def test_a_database_that_is_written_meanwhile_goes_on(server: MariaDB, on_server: dict[str, Any]) -> None:
    server.run("CREATE OR REPLACE TABLE cloudeye.busy (id INT AUTO_INCREMENT PRIMARY KEY, at DOUBLE)")
    end = threading.Event()

    def write() -> None:
        while not end.is_set():
            server.run("INSERT INTO cloudeye.busy (at) VALUES (%s)", time.time())

    writer = threading.Thread(target=write)
    writer.start()
    try:
        text = gzip.decompress(back_up(on_server).read_bytes())
    finally:
        end.set()
        writer.join()
        server.run("DROP TABLE cloudeye.busy")
    assert b"INSERT INTO `bodies`" in text
