"""An application whose people may come by way of a provider on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudeye.services import oidc_provider
from tests.integration.conftest import DATABASE_PASSWORD, mariadb_url
from tests.integration.oidc.provider import CLIENT, Provider, secret_of
from tests.integration.world import World, end, environment, make_world
from tests.ports import free_port


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """A provider with some people and two clients."""
    with Provider(tmp_path_factory.mktemp("provider"), free_port()) as started:
        yield started


@pytest.fixture(scope="session")
def lasting_world(
    engine: str, provider: Provider, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[World]:
    """One application for all tests of an engine; accounts are made for addresses of example.com."""
    folder = tmp_path_factory.mktemp(f"oidc-{engine}")
    secret: Path = folder / "oidc_client_secret"
    secret.write_text(secret_of(CLIENT) + "\n")
    changes = {
        "APP_OIDC_ISSUER": provider.issuer,
        "APP_OIDC_CLIENT_ID": CLIENT,
        "APP_OIDC_CLIENT_SECRET_FILE": str(secret),
        "APP_OIDC_CREATE_ACCOUNTS": "1",
        "APP_OIDC_DOMAINS": "example.com",
    }
    if engine == "sqlite":
        settings = environment(folder, f"sqlite:///{folder}/cloudeye.sqlite3", **changes)
    else:
        server = request.getfixturevalue("mariadb_server")
        server.run("CREATE OR REPLACE DATABASE cloudeye_oidc CHARACTER SET utf8mb4")
        settings = environment(folder, mariadb_url(server, "cloudeye_oidc"), DATABASE_PASSWORD, **changes)
    found = make_world(settings)
    yield found
    end(found.app)


@pytest.fixture(autouse=True)
def _nothing_known() -> None:
    """Each test begins as a process that has not asked the issuer for anything."""
    oidc_provider.provider.cache_clear()
