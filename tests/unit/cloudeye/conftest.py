"""An application on a SQLite file, with the fixed cast; for tests that ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.world import World, end, environment, make_world


@pytest.fixture(scope="session")
def lasting_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One application for all tests."""
    folder = tmp_path_factory.mktemp("cloudeye")
    found = make_world(environment(folder, f"sqlite:///{folder}/cloudeye.sqlite3"))
    yield found
    end(found.app)


@pytest.fixture
def world(lasting_world: World) -> World:
    """An application, its database, and the cast, as new."""
    lasting_world.populate()
    return lasting_world


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """The environment of a process with a database of its own."""
    return environment(tmp_path, f"sqlite:///{tmp_path}/own.sqlite3")
