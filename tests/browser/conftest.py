"""The browser, where there is one."""

import pytest

from tests.conftest import require_tool


@pytest.fixture(scope="session")
def browser_binary() -> str:
    """Without it a test is skipped, but fails where peers are required."""
    return require_tool("chromium", "Debian's package chromium")
