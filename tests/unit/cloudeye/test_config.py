"""The configuration from the environment."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from cloudeye.config import Config, ConfigurationError
from tests.integration.world import environment


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """A complete environment."""
    return environment(tmp_path, f"sqlite:///{tmp_path}/cloudeye.sqlite3")


def test_a_complete_environment_is_read(settings: dict[str, str], tmp_path: Path) -> None:
    config = Config.from_environment(settings)
    assert (config.name, config.environment, config.pool_size, config.debug) == ("cloudeye", "test", 10, False)
    assert config.data_dir == tmp_path
    assert config.on_sqlite
    assert config.database_login() == ("", "")
    assert (config.sync.allow_private, config.sync.poll_seconds) == (False, 0.2)


def test_every_missing_variable_is_named_at_once(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Config.from_environment({})
    assert {line.removesuffix(" is not set") for line in str(caught.value).splitlines()} == set(settings)


@pytest.mark.parametrize("name", ["APP_DATABASE_PASSWORD_FILE", "APP_CACHE_URL"])
def test_a_variable_that_may_be_empty_must_still_be_set(settings: dict[str, str], name: str) -> None:
    Config.from_environment({**settings, name: ""})
    del settings[name]
    with pytest.raises(ConfigurationError, match=f"{name} is not set"):
        Config.from_environment(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("APP_NAME", ""),
        ("APP_ENVIRONMENT", "staging2"),
        ("APP_LOG_LEVEL", "loud"),
        ("APP_DEBUG", "true"),
        ("APP_DATABASE_POOL_SIZE", "-1"),
        ("APP_DATABASE_POOL_SIZE", "ten"),
        ("APP_DATABASE_POOL_WAIT", "nan"),
        ("APP_DATABASE_POOL_WAIT", "inf"),
        ("APP_DATA_DIR", "data"),
        ("APP_SECRET_KEY_FILE", "/does/not/exist"),
        ("APP_SECRET_KEY_FILE", "/dev/null"),
        ("APP_DATABASE_URL", "sqlite:///relative.sqlite3"),
        ("APP_DATABASE_URL", "postgresql://localhost/cloudeye"),
        ("APP_DATABASE_URL", "mysql+mysqldb://cloudeye:secret@localhost/cloudeye"),
        ("APP_SYNC_ALLOW_PRIVATE", "yes"),
    ],
)
def test_a_variable_that_makes_no_sense_is_named(settings: dict[str, str], name: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Config.from_environment({**settings, name: value})
    assert str(caught.value).startswith(name)
    assert "secret@" not in str(caught.value)


def test_the_secret_is_not_shown_and_nothing_can_be_changed(settings: dict[str, str]) -> None:
    config = Config.from_environment(settings)
    assert config.secret_key not in repr(config)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.debug = True  # type: ignore[misc]


def test_the_database_login_is_read_anew_each_time(settings: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first\n")
    config = Config.from_environment({**settings, "APP_DATABASE_PASSWORD_FILE": str(file)})
    assert config.database_login() == ("", "first")
    file.write_text("second\ncloudeye_b\n")
    assert config.database_login() == ("cloudeye_b", "second")


@pytest.mark.parametrize("text", ["a password\nan account\n", "password\naccount\nmore\n", "password\n\nmore\n"])
def test_a_password_file_that_makes_no_sense_is_refused_by_name(
    settings: dict[str, str], tmp_path: Path, text: str
) -> None:
    file = tmp_path / "password"
    file.write_text(text)
    config = Config.from_environment({**settings, "APP_DATABASE_PASSWORD_FILE": str(file)})
    with pytest.raises(ConfigurationError, match=r"^APP_DATABASE_PASSWORD_FILE names a file with more in it"):
        config.database_login()


KEY = "k" * 32


def test_without_a_rotation_one_key_signs_and_proves(settings: dict[str, str]) -> None:
    config = Config.from_environment(settings)
    assert config.secret_keys == (config.secret_key,)
    assert config.proof_key == config.secret_key


@pytest.mark.parametrize("name", ["secret_key_next", "secret_key_previous"])
def test_a_further_key_is_accepted_and_does_not_sign(settings: dict[str, str], tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(f"{KEY}\n")
    config = Config.from_environment(settings)
    assert config.secret_keys == (config.secret_key, KEY)
    assert KEY not in repr(config)


def test_a_key_that_stands_in_two_files_is_tried_once(settings: dict[str, str], tmp_path: Path) -> None:
    for name in ("secret_key", "secret_key_next", "secret_key_previous"):
        (tmp_path / name).write_text(f"{KEY}\n")
    assert Config.from_environment(settings).secret_keys == (KEY,)


@pytest.mark.parametrize("name", ["secret_key_next", "secret_key_previous", "proof_key"])
@pytest.mark.parametrize("text", ["", "\n", "short"])
def test_a_file_of_a_rotation_that_makes_no_sense_is_refused_by_name(
    settings: dict[str, str], tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError, match=rf"^APP_{name.upper()}_FILE names a file with fewer than 32"):
        Config.from_environment(settings)


def test_a_file_of_a_rotation_that_cannot_be_read_is_refused_by_name(settings: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "secret_key_previous").mkdir()
    with pytest.raises(ConfigurationError, match=r"^APP_SECRET_KEY_PREVIOUS_FILE names a file that cannot be read"):
        Config.from_environment(settings)
