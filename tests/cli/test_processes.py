"""What the processes of a local cluster inherit."""

import sys
from pathlib import Path

import pytest

from moot.agent.processes import spawn


def test_what_would_be_settings_of_an_agent_is_not_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOOT_ENCRYPT", "secret")
    monkeypatch.setenv("MOOT_SERVER_RETRY_JOIN", "127.0.0.1")
    monkeypatch.setenv("NOT_MOOT", "kept")
    tell = "import os; print(*[name for name in os.environ if 'MOOT_' in name or name == 'NOT_MOOT'])"
    assert spawn([sys.executable, "-c", tell], tmp_path / "log").wait(30) == 0
    assert (tmp_path / "log").read_text() == "NOT_MOOT\n"
