"""Pages of reports: what is on them, that they ask nobody for anything, and that no name does harm."""

import base64
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from moot.agent.report import views, write
from moot.agent.report.lanes import ROWS_MAX, lanes
from moot.agent.report.views import CHANGES_MAX, MEMBERS_MAX, STATUSES, STOPS_MAX, Matrix, matrix
from moot.agent.report.write import RunLogs, require_libraries, write_report
from moot.agent.text import printable
from moot.gossip.errors import ConfigError
from moot.gossip.sim import lab, library
from moot.gossip.sim.history import Life
from moot.gossip.sim.lab import Result
from moot.gossip.sim.timeline import Timeline
from tests.support.runs import history
from tests.unit.report.runs import HOSTILE, hostile, large, violated

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src "
ASKS = {"src", "href", "action", "srcset", "poster", "data", "background"}


class Page(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "script" and not self.scripts[-1]:
            self.scripts[-1] = data
        else:
            self.text += data

    def of(self, kind: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.elements if tag == kind]


def page_of(result: Result, folder: Path) -> Page:
    return Page(write_report([result], folder).page.read_text())


@pytest.mark.parametrize("make", [violated, hostile])
def test_a_page_asks_nobody_for_anything(make: Callable[[], Result], tmp_path: Path) -> None:
    page = page_of(make(), tmp_path)
    asked = [value for _, held in page.elements for key, value in held.items() if key.split(":")[-1] in ASKS]
    assert {value for value in asked if not value.startswith(("#", "data:,"))} == set()
    assert {tag for tag, _ in page.elements} & {"img", "iframe", "object", "embed", "form", "base", "video"} == set()
    styles = " ".join(held.get("style", "") for _, held in page.elements) + page.text
    assert re.search(r"@import|url\((?!#)", styles) is None
    (policy,) = (held["content"] for held in page.of("meta") if held.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert policy.startswith(f"{POLICY}'sha256-{digest}';")


def test_a_page_says_what_was_asked_what_came_out_and_why(tmp_path: Path) -> None:
    result = violated()
    text = " ".join(page_of(result, tmp_path).text.split())
    for expect, verdict in result.verdicts:
        assert expect.check in text
        assert verdict.summary in text
        for piece in verdict.evidence:
            assert piece.text in text
    assert "completeness ✗ violated expected: holds" in text
    assert "flaps ✓ holds" in text
    assert "delivery ? unknown" in text
    assert "Two lines, and <b>no</b> more." in text
    assert "somebody/elsewhere#1" in text
    assert f"moot sim run {tmp_path}/by-hand.toml --seed 0" in text
    assert "a: c suspect → failed (incarnation 1, Lamport time 1, accused by a)" in text
    assert "partition moot-1 moot-2" in text


def test_names_that_are_made_to_harm_are_only_text(tmp_path: Path) -> None:
    page = page_of(hostile(), tmp_path)
    assert len(page.scripts) == 2
    assert [key for _, held in page.elements for key in held if key.startswith("on")] == []
    for name in HOSTILE:
        assert printable(name) in page.text
    assert re.search("[\x00-\x08\x1b\u202e]", page.text + "".join(page.scripts)) is None
    assert {path.parent for path in tmp_path.rglob("*")} == {tmp_path}


def test_several_runs_get_a_page_over_all_that_leads_to_each(tmp_path: Path) -> None:
    runs = [lab.run(library.scenario("udp-cut"), seed) for seed in (1, 2)]
    paths = write_report([*runs, violated()], tmp_path)
    page = Page(paths.page.read_text())
    assert page.scripts == []
    assert [tmp_path / held["href"] for held in page.of("a")] == [paths.runs[2], *paths.runs[:2]]  # wrong ones first
    assert all(path.exists() for path in paths.runs)
    assert "3 runs ✗ violated" in " ".join(page.text.split())
    ids = [held["id"] for _, held in page.elements if "id" in held]
    assert len(ids) == len(set(ids))


def test_a_run_twice_has_two_pages(tmp_path: Path) -> None:
    paths = write_report([violated(), violated()], tmp_path)
    assert len({path.name for path in paths.runs}) == 2


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    first, second = (write_report([violated()], tmp_path).page.read_bytes() for _ in range(2))
    assert first == second


def test_without_its_libraries_a_report_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "LIBRARIES", ("matplotlib", "no_such_library"))
    with pytest.raises(ConfigError, match=r"needs no_such_library: pip install 'moot\[lab\]'"):
        require_libraries()


def test_a_report_of_nothing_and_one_to_nowhere_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run"):
        write_report([], tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot be written: .*file"):
        write_report([violated()], tmp_path / "file")


# the matrix and the timeline


def played(found: Matrix, stop: int) -> tuple[list[int], list[int]]:
    """The table and the states of the rows at a stop, as the script of the page makes them."""
    table = [0] * (len(found.observers) * len(found.subjects))
    states = [views.DOWN] * len(found.observers)
    for number in range(stop + 1):
        for change in found.cells[number]:
            table[change // 8] = change % 8
        for change in found.rows[number]:
            states[change // 4] = change % 4
    return table, states


def test_the_matrix_is_at_every_stop_what_the_history_says() -> None:
    run = Timeline(lab.run(library.scenario("rolling-restart"), 1).history)
    found = matrix(run)
    assert found.step == 0.01
    for stop in range(0, len(found.stops), 7):
        table, states = played(found, stop)
        at = found.stops[stop] + 0.0006  # stops are rounded to a millisecond
        for row, observer in enumerate(found.observers):
            if states[row] == views.DOWN:
                assert run.life_at(observer, at) is None
                continue
            held = [STATUSES[code] for code in table[row * len(found.subjects) : (row + 1) * len(found.subjects)]]
            assert held == [run.status(observer, subject, at) for subject in found.subjects]


def test_a_large_run_is_drawn_within_bounds_that_are_told(tmp_path: Path) -> None:
    run = large(210, 900)
    timeline = Timeline(run)
    found = matrix(timeline, ["m209"])
    assert len(found.observers) == len(found.subjects) == MEMBERS_MAX
    assert "m209" in found.observers
    assert found.left_out == 10
    assert len(found.stops) <= STOPS_MAX
    assert sum(map(len, found.cells)) <= CHANGES_MAX
    drawn = lanes(timeline, found, ["m209"])
    assert len(drawn.rows) == ROWS_MAX
    assert "m209" in [row.name for row in drawn.rows]
    small = Result(violated().scenario, run, ())
    text = " ".join(page_of(small, tmp_path).text.split())
    assert "200 of 210 observers are drawn" in text
    assert "100 of 210 members are drawn" in text
    assert f"lasted less than {found.step:g}s may be missing" in text


def test_a_member_that_was_stopped_or_left_has_it_in_its_row() -> None:
    run = history(
        Life(10, "b", "stopped"), Life(20, "b", "continued"), Life(50, "c", "leaving"), Life(60, "c", "left")
    )
    rows = {row.name: row for row in lanes(Timeline(run), matrix(Timeline(run))).rows}
    assert [(block.left, block.width, block.kind) for block in rows["b"].life] == [
        (0, 100, "runs"),
        (10, 10, "stopped"),
    ]
    assert [(block.left, block.width, block.kind) for block in rows["c"].life] == [
        (0, 50, "runs"),
        (50, 10, "leaves"),
    ]


# excerpts


def test_around_a_violation_stand_the_logs_of_those_whom_it_is_about(tmp_path: Path) -> None:
    began = 1_700_000_000.0  # 2023-11-14T22:13:20Z
    ours, serfs = tmp_path / "b.log", tmp_path / "c.log"
    ours.write_text(
        "2023-11-14T22:13:40.000Z [INFO]  too early\n2023-11-14T22:13:59.500Z [WARN]  serf: \x1b[1m near\n"
    )
    serfs.write_text("no time\n2023-11-14T22:99:59Z no such time\n2023-11-14T22:14:01+00:00 [INFO] after it\n")
    result = violated()
    logs = RunLogs(began, {"a": tmp_path / "none", "b": ours, "c": serfs})
    text = write_report([result], tmp_path / "out", logs=[logs]).page.read_text()
    page = " ".join(Page(text).text.split())
    assert "from the logs of the agents: b sees c alive, 30s after it crashed" in page
    assert "39.500 b 2023-11-14T22:13:59.500Z [WARN] serf: \\x1b[1m near" in page
    assert "41.000 c 2023-11-14T22:14:01+00:00 [INFO] after it" in page
    assert "too early" not in page
    assert "the log of a cannot be read: No such file or directory" in page
