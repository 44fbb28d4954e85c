"""The golden scripts in tests/golden/serf."""

from pathlib import Path

import pytest

from tests.support.scripts import check
from tests.support.serf_scripts import Script

SCRIPTS = sorted((Path(__file__).parent / "serf").glob("*.txt"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script(path: Path, request: pytest.FixtureRequest) -> None:
    check(path, bool(request.config.getoption("--rewrite")), Script)
