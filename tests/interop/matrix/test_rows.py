"""The matrix has just the rows that it says it has, and its page shows them."""

import importlib
import re
from pathlib import Path

from tests.interop.matrix.report import COLUMNS, PAGE, PASSED, page
from tests.interop.matrix.rows import ROWS


def rows_of(holder: object) -> list[str]:
    """The rows that the tests in a module or class are about, in order."""
    found = []
    for name, value in vars(holder).items():
        if name.startswith("Test"):
            found += rows_of(value)
        elif name.startswith("test_"):
            found += [mark.args[0] for mark in getattr(value, "pytestmark", []) if mark.name == "row"]
    return found


def test_every_row_has_one_test() -> None:
    modules = [path.stem for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__)]
    tested = [row for name in modules for row in rows_of(importlib.import_module(f"tests.interop.matrix.{name}"))]
    assert sorted(tested) == sorted(row.name for row in ROWS)


def test_the_page_is_the_one_that_a_good_run_writes() -> None:
    text = PAGE.read_text()
    versions = re.search(r"Last run with (.*)\.\n", text)
    assert versions is not None
    good = {(row.name, *column): PASSED for row in ROWS for column in COLUMNS}
    assert text == page(good, versions[1])
