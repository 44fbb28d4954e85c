"""Fixtures of the tests that run clusters."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import moot


@pytest.fixture
def own_runtime_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the notes are. Clusters of a test are seen by that test only; what it leaves running is ended."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    yield tmp_path / "moot"
    moot("cluster", "down", "--all")
