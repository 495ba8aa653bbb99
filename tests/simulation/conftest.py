import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seeds", type=int, default=4, help="how many seeds the simulation runs (default: 4)")
    parser.addoption("--first-seed", type=int, default=1, help="the first of them; a failing one replays so")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        first = metafunc.config.getoption("--first-seed", default=1)
        count = metafunc.config.getoption("--seeds", default=4)
        metafunc.parametrize("seed", range(first, first + count))
