"""Options that every suite knows."""

from __future__ import annotations

import signal

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run every proof in full (what `make prove` does)")


def pytest_configure() -> None:
    # A shell starts what runs in the background with SIGINT ignored, and whatever the tests start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--full"):
        kept = [item for item in items if "slow" not in item.keywords]
        config.hook.pytest_deselected(items=[item for item in items if "slow" in item.keywords])
        items[:] = kept
    # Files that take minutes begin first, so that none of the workers is left with one at the end.
    items.sort(key=lambda item: "long" not in item.keywords)


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether proofs run in full; a short form otherwise."""
    return bool(request.config.getoption("--full"))
