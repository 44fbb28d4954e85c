"""The parts that decide have no clock, no socket and no randomness of their own."""

import ast
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "agent" / "nomad"
FORBIDDEN = {"trio", "socket", "time", "os", "logging", "asyncio", "threading", "ssl"}


@pytest.mark.parametrize("name", ["errors", "framing", "heartbeat", "pool", "registry", "servers", "structures"])
def test_what_decides_is_pure(name: str) -> None:
    tree = ast.parse((FOLDER / f"{name}.py").read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {module.partition(".")[0] for module in imported} & FORBIDDEN
