"""The programs in docs/clients.md, as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import PATIENCE
from tests.clients.conftest import Federation

PAGE = Path(__file__).parents[2] / "docs" / "clients.md"
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.live
@pytest.mark.parametrize("program", PROGRAMS, ids=["python-nomad", "nomadpy"])
def test_an_example_runs_and_finds_the_pool(federation: Federation, program: str) -> None:
    environment = os.environ | {"NOMAD_ADDR": federation.g1.url}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[:2] for line in done.stdout.splitlines()[:3]] == [
        ["e1.europe", "alive"],
        ["g1.global", "alive"],
        ["g2.global", "alive"],
    ]
