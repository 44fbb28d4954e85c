"""Layout and style as a test: who may import whom, and what the files look like."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
CODE = [path for folder in ("agent", "gossip", "http") for path in sorted((ROOT / folder).rglob("*.py"))]
PYTHON = [*CODE, *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "bench").rglob("*.py"))]

LEAVES = {
    f"gossip.{name}"
    for name in (
        *("errors", "record", "pack", "config", "counters", "expressions"),
        *("actions", "afflict", "amounts", "faults", "faults_json", "keywords", "selectors"),
    )
}
MESSAGES = {
    "gossip.swim.messages",
    "gossip.swim.member",
    "gossip.serf.messages",
    "gossip.serf.tags",
}
PURE_FORBIDDEN = {"trio", "socket", "time", "os", "logging", "asyncio", "threading", "select", "ssl", "subprocess"}
SHADOWED = {"queue", "types", "select", "random", "time", "logging", "signal"}

MAY_IMPORT: dict[str, set[str]] = {
    "gossip.swim": LEAVES | {"gossip.swim"},
    "gossip.serf": LEAVES | {"gossip.swim", "gossip.serf"},
    "gossip.wire": LEAVES | MESSAGES | {"gossip.wire"},
    "gossip.net": LEAVES | {"gossip.swim", "gossip.serf", "gossip.wire", "gossip.net"},
    "gossip.sim": LEAVES | {"gossip.swim", "gossip.serf", "gossip.wire", "gossip.sim"},
    "http": LEAVES | {"gossip.swim", "gossip.serf", "http"},
    "agent.report": {"gossip", "agent", ""},
    "agent.testing": {"gossip", "http", "agent"},
    "agent.pytest_plugin": {"agent"},
    "agent": {"gossip", "http", "agent", ""},
}
"""What of moot each package may import. `""` is the package moot itself (its version)."""
PURE = ("gossip.swim", "gossip.serf", "gossip.wire")
THIRD_PARTY = {
    "gossip.pack": {"msgpack"},
    "gossip.expressions": {"re2"},
    "gossip.swim": set[str](),
    "gossip.serf": set[str](),
    "gossip.wire": {"cryptography"},
    "gossip.net": {"trio"},
    "gossip.sim": set[str](),
    "http": {"trio", "h11", "msgspec", "prometheus_client"},
    "agent": {"trio", "click", "rich", "structlog", "msgspec", "zeroconf", "cryptography", "hcl2", "lark"},
    "agent.testing": {"anyio"},
    "agent.pytest_plugin": {"pytest"},
    "agent.report": {"jinja2", "markupsafe", "matplotlib", "msgspec"},
}


def module_of(path: Path) -> str:
    """`gossip/swim/core.py` as `gossip.swim.core`; a package's `__init__` as the package."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_of(module: str) -> str:
    """The row of the import table that a module belongs to; itself if it is a leaf."""
    for package in MAY_IMPORT:
        if module == package or module.startswith(package + "."):
            return package
    return module


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every module that a file imports, with its line; `from x import y` gives x."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            assert node.module is not None
            yield node.lineno, node.module


def covered(module: str, allowed: set[str]) -> bool:
    """Whether a module is in the list, or in a package of the list."""
    return any(module == entry or (entry and module.startswith(entry + ".")) for entry in allowed)


def test_every_package_imports_only_what_the_layers_allow() -> None:
    wrong = []
    for path in CODE:
        package = package_of(module_of(path))
        allowed = MAY_IMPORT.get(package, LEAVES)
        outside = THIRD_PARTY.get(package, set())
        for line, name in imports(path):
            top = name.split(".")[0]
            if top == "moot":
                good = covered(name.removeprefix("moot").removeprefix("."), allowed)
            else:
                good = top in sys.stdlib_module_names or top in outside
            if not good:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert wrong == []


def test_the_pure_packages_have_no_clock_socket_log_or_global_random() -> None:
    wrong = []
    for path in CODE:
        package = package_of(module_of(path))
        if package not in PURE and package not in LEAVES:
            continue
        for line, name in imports(path):
            if name.split(".")[0] in PURE_FORBIDDEN:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
        wrong += [
            f"{path.relative_to(ROOT)}:{node.lineno} calls random.{node.func.attr}"
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "random"
            and node.func.attr != "Random"
        ]
    assert wrong == []


def test_the_simulator_does_without_trio_and_the_driver_without_the_simulator() -> None:
    for path in (ROOT / "gossip" / "sim").rglob("*.py"):
        assert not any(name.split(".")[0] == "trio" for _, name in imports(path)), path


def test_the_symlinks_join_the_folders_and_http_stays_a_plain_folder() -> None:
    for name in ("agent", "gossip", "http"):
        link = ROOT / "src" / "moot" / name
        assert link.is_symlink()
        assert link.readlink() == Path("..") / ".." / name
    assert not (ROOT / "http" / "__init__.py").exists()


def test_started_in_the_root_python_still_finds_its_own_http() -> None:
    code = "import http.client, http.server, moot.http.server; print(http.client.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert str(ROOT) not in done.stdout


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_readable(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 500
    assert path.stem not in SHADOWED
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            length = node.end_lineno - node.lineno + 1
            assert length <= 60, f"{node.name} has {length} lines"


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in CODE
        if path.read_text().strip() and ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert silent == []


def test_errors_are_not_swallowed() -> None:
    wrong = []
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ExceptHandler):
                continue
            if node.type is None:
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} catches everything")
            if len(node.body) == 1 and isinstance(node.body[0], ast.Pass):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} passes in silence; use contextlib.suppress")
    assert wrong == []


def test_who_silences_a_tool_or_catches_everything_says_why() -> None:
    silent = re.compile(r"#\s*(noqa(:[\w, ]+)?|type: ignore(\[[\w, -]+\])?)$|except (Base)?Exception( as \w+)?:$")
    wrong = [
        f"{path.relative_to(ROOT)}:{number} gives no reason"
        for path in PYTHON
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if silent.search(line)
    ]
    assert wrong == []


def test_nothing_is_left_for_later() -> None:
    words = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    assert [str(path) for path in PYTHON if words.search(path.read_text())] == []


def test_the_lock_file_and_the_declared_dependencies_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    locked = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            (pin,) = requirement.specifier
            assert pin.operator == "=="
            locked[requirement.name] = pin.version
    for text in declared:
        requirement = Requirement(text)
        assert requirement.specifier.contains(locked[requirement.name]), f"{text} is not what is locked"


def test_the_lock_file_names_no_place_to_download_from() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert "--index-url" not in text
    assert "--find-links" not in text
