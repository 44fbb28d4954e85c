"""What the processes of a local cluster inherit."""

import sys
from pathlib import Path

import pytest

from moot.agent.processes import spawn


def test_the_gossip_key_of_our_environment_is_not_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOOT_REQUIRE_PEERS", raising=False)
    monkeypatch.setenv("MOOT_ENCRYPT", "secret")
    monkeypatch.setenv("MOOT_OTHER", "kept")
    tell = "import os; print([value for name, value in os.environ.items() if name.startswith('MOOT_')])"
    assert spawn([sys.executable, "-c", tell], tmp_path / "log").wait(30) == 0
    assert (tmp_path / "log").read_text() == "['kept']\n"
