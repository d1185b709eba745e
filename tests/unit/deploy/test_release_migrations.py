"""Migrations in releases: the real engine, this application, and a real MariaDB."""

from __future__ import annotations

import gzip
import http.client
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy import venvs
from deploy.render import TREE, write_file
from tests.integration.mariadb import MariaDB
from tests.ports import free_port
from tests.unit.cloudeye.migrated import HEAD, written
from tests.unit.deploy.bench import ADDRESS, OURS, Bench

pytestmark = pytest.mark.long

PASSWORD = "of the tests' own"
SLOW = pytest.mark.slow
HTTP, PORT = 21310, 21311
VERSIONS = "src/cloudeye/migrations/versions"
STARTS_WITH = """
from sqlalchemy import text
from cloudeye.extensions import db
with app.app_context():
    with db.engine.connect() as connection:
        connection.execute(text("SELECT {column} FROM users LIMIT 1"))
    db.engine.dispose()
"""


class Shop(Bench):
    """The host in a folder, with this application on it and its database on a server."""

    def __init__(self, folder: Path, server: MariaDB) -> None:
        super().__init__(folder)
        self.server = server
        self.number = 9000
        self.values["app"] = {"admin_email": "admin@example.com"}
        self.values["api"] = {"ports": [PORT], "instances": 1, "bind": ADDRESS}
        self.values["sync"]["enabled"] = False
        self.values["nginx"]["http_port"] = HTTP
        self.values["timeouts"]["health"] = 60
        self.values["database"] = {"engine": "mysql", "port": server.port, "name": "cloudeye", "user": "cloudeye"}
        self.values["releases"] = {"keep": 10, "backups": 2, "smoke": ["/ping", "/readyz", "/api/openapi.json"]}

    def make_repository(self) -> None:
        self.repository.mkdir(parents=True)
        for name in (*OURS, "src", "requirements", "pyproject.toml"):
            if (TREE / name).is_dir():
                shutil.copytree(
                    TREE / name, self.repository / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
                )
            else:
                shutil.copy(TREE / name, self.repository / name)
        write_file(self.repository / ".gitignore", "dist/\n__pycache__/\n")
        self.git("init", "--quiet")
        self.commit("first")
        self.first = self.build()

    def provision(self) -> None:
        super().provision()
        write_file(Path(self.values["paths"]["secrets"], "database_password"), f"{PASSWORD}\n", mode=0o600)
        # The packages are those of the tests: how a venv is built is tried in test_release_host.py.
        recipe = venvs.recipe(self.stack(), self.repository)
        folder = self.root / "venvs" / recipe.name
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", str(folder)], check=True)
        (packages,) = folder.glob("lib/*/site-packages")
        (packages / "tests.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
        write_file(folder / venvs.MARKER, "{}\n")

    def migration(self, body: str, kind: str = "expand") -> str:
        """Add a migration after the newest; return its revision."""
        before = HEAD if self.number == 9000 else str(self.number)
        self.number += 1
        text = written(str(self.number), before, body, f'kind = "{kind}"')
        write_file(self.repository / VERSIONS / f"{self.number}_test.py", text)
        return str(self.number)

    def forget(self) -> None:
        """Take the newest migration out of the tree."""
        (self.repository / VERSIONS / f"{self.number}_test.py").unlink()
        self.number -= 1

    def put(self, *options: str) -> dict[str, Any]:
        """Commit what is there, and release it."""
        self.commit("change")
        return self.release(self.build(), *options)

    def columns(self) -> set[str]:
        rows = self.server.run("SELECT column_name FROM information_schema.columns WHERE table_name = 'users'")
        return {row[0] for row in rows}

    def revision(self) -> str:
        return str(self.server.run("SELECT version_num FROM cloudeye.alembic_version")[0][0])

    def backups(self) -> list[Path]:
        return sorted(Path(self.values["paths"]["data"], "backups").glob("*"))


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    """A host whose first release has made the whole schema."""
    folder = Path(tempfile.mkdtemp(prefix="stack-", dir="/tmp"))
    with tempfile.TemporaryDirectory(prefix="ce-") as database, MariaDB(Path(database), free_port()) as server:
        server.run("CREATE USER cloudeye@'127.0.0.1' IDENTIFIED BY %s", PASSWORD)
        server.run("GRANT ALL ON `cloudeye`.* TO cloudeye@'127.0.0.1'")
        made = Shop(folder, server)
        try:
            made.make_repository()
            made.provision()
            made.start()
            assert made.first is not None
            said = made.release(made.first)
            assert said["status"] == 0, said["stderr"]
            assert said["migrations"][-1] == made.revision() == HEAD
            assert (said["backup"], made.backups()) == ("", [])  # there was nothing to lose
            yield made
        finally:
            made.stop()
            shutil.rmtree(folder)


class Asking:
    """Asks for what a client asks for, one request after another, and counts the answers."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._end.wait(0.02):
            connection = http.client.HTTPConnection(ADDRESS, HTTP, timeout=20)
            try:
                connection.request("GET", "/readyz")
                self.answers[str(connection.getresponse().status)] += 1
            except (OSError, http.client.HTTPException) as error:
                self.answers[type(error).__name__] += 1
            finally:
                connection.close()


def served(shop: Shop, release: str) -> bool:
    return set(shop.serving().values()) == shop.pointers() == {shop.current()} == {release}


def test_an_expand_migration_runs_after_a_backup_and_both_are_on_the_record(shop: Shop) -> None:
    revision = shop.migration('op.add_column("users", sa.Column("nick", sa.String(80)))')
    with Asking() as asking:
        said = shop.put()
    assert said["status"] == 0, said["stderr"]
    assert set(asking.answers) == {"200"}
    names = [step["name"] for step in said["steps"]]
    steps = ["migrations", "backup", "migrate", "database", "rehearse", "way back"]
    assert [name for name in names if name in steps] == steps
    assert names.index("way back") < names.index("roll")
    assert (said["migrations"], shop.revision()) == ([revision], revision)
    assert "nick" in shop.columns()
    path = Path(said["backup"])
    assert path == shop.backups()[-1]
    assert path.name.endswith(f"-{said['release']}.sql.gz")
    text = gzip.decompress(path.read_bytes())
    assert b"CREATE TABLE `users`" in text
    assert b"`nick`" not in text
    recorded = shop.recorded()[-1]
    assert (recorded["backup"], recorded["migrations"]) == (str(path), [revision])


@SLOW
def test_a_release_without_migrations_makes_no_backup_and_still_proves_the_way_back(shop: Shop) -> None:
    before = shop.backups()
    said = shop.put()
    assert (said["status"], said["backup"], said["migrations"]) == (0, "", [])
    assert shop.backups() == before
    assert "way back" in [step["name"] for step in said["steps"]]


def test_a_refused_migration_leaves_everything_on_the_old_release(shop: Shop) -> None:
    old, at, backups = shop.current(), shop.revision(), shop.backups()
    shop.migration('op.drop_column("users", "time_zone")')
    try:
        with Asking() as asking:
            said = shop.put()
    finally:
        shop.forget()
    assert (said["status"], said["step"]) == (1, "migrations")
    assert "DROP" in "\n".join(said["log"])
    assert set(asking.answers) == {"200"}
    assert served(shop, old)
    assert (shop.revision(), shop.backups()) == (at, backups)
    assert "time_zone" in shop.columns()


def test_a_migration_that_fails_half_way_leaves_everything_on_the_old_release(shop: Shop) -> None:
    old = shop.current()
    whole = shop.migration('op.add_column("users", sa.Column("pet", sa.String(80)))')
    shop.migration('op.add_column("users", sa.Column("pet", sa.String(80)))')
    try:
        with Asking() as asking:
            said = shop.put()
    finally:
        shop.forget()
    assert (said["status"], said["step"]) == (1, "migrate")
    assert "Duplicate column name 'pet'" in "\n".join(said["log"])
    assert Path(said["backup"]) in shop.backups()
    assert set(asking.answers) == {"200"}
    assert served(shop, old)
    assert shop.revision() == whole  # the one before it is a step of its own, which the old release can be without
    rest = shop.migration('op.add_column("users", sa.Column("pet_two", sa.String(80)))')
    said = shop.put()
    assert (said["migrations"], shop.revision()) == ([rest], rest), said["stderr"]
    assert said["status"] == 0, said["stderr"]


@SLOW
def test_a_table_that_is_in_use_stops_the_release_and_not_the_requests(shop: Shop) -> None:
    old = shop.current()
    shop.migration('op.add_column("users", sa.Column("late", sa.String(80)))')
    shop.values["database"]["lock_wait"] = 1
    shop.write_config()
    holder = subprocess.Popen(
        ["mariadb", "--no-defaults", f"--socket={shop.server.socket}", "--user=root", "--unbuffered", "cloudeye"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write(b"BEGIN; SELECT COUNT(*) FROM users;\n")
        holder.stdin.flush()
        assert holder.stdout.readline()
        said = shop.put()
    finally:
        holder.communicate()
        shop.forget()
        del shop.values["database"]["lock_wait"]
        shop.write_config()
    assert (said["status"], said["step"]) == (1, "migrate")
    assert "database.lock_wait" in "\n".join(said["log"])
    assert served(shop, old)


@SLOW
def test_a_backup_that_cannot_be_made_stops_the_release_with_nothing_touched(shop: Shop) -> None:
    old, at = shop.current(), shop.revision()
    shop.migration('op.add_column("users", sa.Column("unsaved", sa.String(80)))')
    folder = Path(shop.values["paths"]["data"], "backups")
    aside = folder.rename(folder.with_name("aside"))
    folder.write_text("in the way")
    try:
        said = shop.put()
    finally:
        folder.unlink()
        aside.rename(folder)
        shop.forget()
    assert (said["status"], said["step"], said["migrations"]) == (1, "backup", [])
    assert str(folder) in said["message"]
    assert (shop.revision(), "unsaved" in shop.columns()) == (at, False)
    assert served(shop, old)


@SLOW
def test_a_contract_migration_runs_when_asked_to_and_one_release_later(shop: Shop) -> None:
    shop.migration('op.add_column("users", sa.Column("gone", sa.String(80)))')
    assert shop.put()["status"] == 0
    without = shop.current()
    contract = shop.migration('op.drop_column("users", "gone")', kind="contract")
    said = shop.put()
    assert (said["status"], said["migrations"]) == (0, [])
    assert f"{contract} waits: a contract migration" in said["stderr"]
    assert "gone" in shop.columns()
    early = shop.put("--contract")
    assert (early["status"], early["migrations"]) == (0, [contract]), early["stderr"]
    assert "gone" not in shop.columns()
    held = early["release"]
    back = shop.stack_command("rollback")
    assert (back["status"], back["previous"]) == (0, held)
    lost = shop.stack_command("rollback", without)
    assert (lost["status"], lost["step"]) == (1, "verify")
    assert f"does not know the contract migration {contract}, which has run" in lost["message"]
    assert served(shop, back["release"])


@SLOW
def test_a_contract_migration_is_refused_in_the_release_that_brings_it(shop: Shop) -> None:
    old = shop.current()
    contract = shop.migration('op.drop_column("users", "nick")', kind="contract")
    said = shop.put("--contract")
    assert (said["status"], said["step"]) == (1, "migrations")
    assert f"the contract migration {contract} runs one release later" in said["message"]
    assert served(shop, old)
    shop.migration('op.add_column("users", sa.Column("behind", sa.String(80)))')
    said = shop.put()
    assert (said["status"], said["step"]) == (1, "migrations")
    assert f"{shop.number} comes after the contract migration {contract}" in said["message"]
    shop.forget()
    shop.forget()
    assert served(shop, old)


@SLOW
def test_a_release_after_which_the_one_before_would_not_start_is_taken_back(shop: Shop) -> None:
    wsgi = shop.repository / "src" / "cloudeye" / "wsgi.py"
    text = wsgi.read_text()
    shop.migration('op.add_column("users", sa.Column("asked", sa.String(80)))')
    assert shop.put()["status"] == 0
    # It holds the migration, and so it says that it does without what that takes away; but it does not.
    contract = shop.migration('op.drop_column("users", "asked")', kind="contract")
    wsgi.write_text(text + STARTS_WITH.format(column="asked"))
    assert shop.put()["status"] == 0
    old = shop.current()
    wsgi.write_text(text)
    with Asking() as asking:
        said = shop.put("--contract")
    assert (said["status"], said["step"], said["instance"]) == (1, "way back", "rehearsal")
    assert f"the migrations {contract} have run" in said["message"]
    assert "asked" in "\n".join(said["log"])
    assert said["migrations"] == [contract]
    assert set(asking.answers) == {"200"}
    assert served(shop, old)
    said = shop.put()
    assert said["status"] == 0
    assert f"{old} could not be gone back to" in said["stderr"]
