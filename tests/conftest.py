"""Options shared by all tests."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--refresh", action="store_true", help="rewrite expected outputs of case files; review them as a diff"
    )
    parser.addoption("--cluster", help="run live tests against this running cluster of `knarr up` instead of a new one")


@pytest.fixture(scope="session")
def refresh(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--refresh"))
