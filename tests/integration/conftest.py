"""Each test that asks for a world runs on SQLite and on a MariaDB server that was started for it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.mariadb import MariaDB
from tests.integration.world import World, end, environment, make_world
from tests.ports import free_port

DATABASE_PASSWORD = "of the tests' own"
# A file that takes minutes begins early, or at the end all others wait for the one that has it.
LONG = ("test_watching.py", "test_alerts_delivery.py")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDB]:
    """A MariaDB server on a socket and a loopback port, with an account for the application."""
    with tempfile.TemporaryDirectory(prefix="ce-") as folder, MariaDB(Path(folder), free_port()) as server:
        for host in ("localhost", "127.0.0.1"):
            server.run(f"CREATE USER cloudeye@'{host}' IDENTIFIED BY %s", DATABASE_PASSWORD)
            server.run(f"GRANT ALL ON `cloudeye%`.* TO cloudeye@'{host}'")
        yield server


@pytest.fixture(scope="session", params=["sqlite", "mariadb"])
def engine(request: pytest.FixtureRequest) -> str:
    """The name of the database engine."""
    return str(request.param)


@pytest.fixture
def empty_database(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings of a process whose database has no table yet."""
    if engine == "sqlite":
        return environment(tmp_path, f"sqlite:///{tmp_path}/empty.sqlite3")
    server = request.getfixturevalue("mariadb_server")
    server.run("CREATE OR REPLACE DATABASE cloudeye_empty CHARACTER SET utf8mb4")
    return environment(tmp_path, mariadb_url(server, "cloudeye_empty"), DATABASE_PASSWORD)


def mariadb_url(server: MariaDB, name: str = "cloudeye") -> str:
    """Return the address of a database over the loopback port, without password."""
    return f"mysql+mysqldb://cloudeye@127.0.0.1:{server.port}/{name}?charset=utf8mb4"


@pytest.fixture(scope="session")
def lasting_world(
    engine: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[World]:
    """One application for all tests of an engine."""
    folder = tmp_path_factory.mktemp(engine)
    if engine == "sqlite":
        settings = environment(folder, f"sqlite:///{folder}/cloudeye.sqlite3")
    else:
        server = request.getfixturevalue("mariadb_server")
        settings = environment(folder, mariadb_url(server), DATABASE_PASSWORD)
    found = make_world(settings)
    yield found
    end(found.app)


@pytest.fixture
def world(lasting_world: World) -> World:
    """An application, its database, and the cast, as new."""
    lasting_world.populate()
    return lasting_world
