"""Options and fixtures for the whole suite."""

import os
import shutil
import signal

import pytest

from tests.interop.matrix.report import MatrixReport


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="write golden scripts anew from what happens now")
    parser.addoption(
        "--matrix-reference", action="store_true", help="let real serf play our part in the interop matrix, too"
    )


def pytest_configure(config: pytest.Config) -> None:
    # what a script put into the background ignores SIGINT, and SIGHUP under nohup; so would all that tests start
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    config.addinivalue_line("markers", "row(name): the row of the interop matrix that a test is about")
    if not hasattr(config, "workerinput"):  # workers of a split run hand their reports on
        config.pluginmanager.register(MatrixReport(reference=config.getoption("--matrix-reference")))


@pytest.fixture(scope="session")
def serf_binary() -> str:
    """The real serf agent. Without it a test is skipped, but fails where MOOT_REQUIRE_PEERS=1 (as in CI)."""
    return require_tool("serf", "Debian's package serf")


def require_tool(name: str, where: str) -> str:
    """The path of a program that tests need; skips, or fails where peers are required, when it is missing."""
    path = shutil.which(name)
    if path is not None:
        return path
    reason = f"{name} is not installed ({where})"
    if os.environ.get("MOOT_REQUIRE_PEERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
