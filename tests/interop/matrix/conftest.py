"""Makes a cell for every row, both ways, plain and encrypted, and the pools that they need."""

import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Literal

import pytest

from tests.interop.matrix.cell import Cell
from tests.interop.matrix.pools import Pools
from tests.interop.matrix.report import PROPERTY
from tests.interop.matrix.rows import SEALS, WAYS
from tests.support.serf_cli import MOOT

TIMEOUT = 300
"""Seconds that a cell may take before it counts as hanging; what it waits for has deadlines of its own."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "way" in metafunc.fixturenames:
        # one class is one story: its cells of one kind follow each other
        scope: Literal["class", "function"] = "class" if metafunc.cls else "function"
        metafunc.parametrize("seal", SEALS, scope=scope)
        metafunc.parametrize("way", WAYS, scope=scope)


def pytest_itemcollected(item: pytest.Item) -> None:
    row = item.get_closest_marker("row")
    if row is not None:
        assert isinstance(item, pytest.Function)
        about = item.callspec.params
        item.user_properties.append((PROPERTY, [row.args[0], about["way"], about["seal"]]))
        for mark in (pytest.mark.live, pytest.mark.peer, pytest.mark.timeout(TIMEOUT)):
            item.add_marker(mark)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    pools = item.funcargs.get("pools") if isinstance(item, pytest.Function) else None
    if report.failed and isinstance(pools, Pools):
        pools.drop_shared()  # who knows how the cell left them
    return report


@pytest.fixture(scope="package")
def pools(serf_binary: str, request: pytest.FixtureRequest) -> Iterator[Pools]:
    """With `--matrix-reference` real serf plays both parts, which says whether the cells themselves are right."""
    serf = (serf_binary,)
    ours = serf if request.config.getoption("--matrix-reference") else MOOT
    with tempfile.TemporaryDirectory(prefix="moot-test-") as folder:
        made = Pools({"moot": ours, "serf": serf}, Path(folder))
        try:
            yield made
        finally:
            made.drop_shared()


@pytest.fixture
def cell(pools: Pools, way: str, seal: str) -> Cell:
    return Cell(pools, way, seal)
