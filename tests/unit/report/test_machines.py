"""What a report tells machines: JSON by its schema, JUnit XML, and reports made anew of kept histories."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import jsonschema
import pytest
from click.testing import CliRunner, Result

from moot.agent.cli import cli
from moot.agent.report import describe
from moot.agent.report.measures import measure
from moot.agent.report.write import write_report
from moot.gossip.sim import lab, library
from moot.gossip.sim.timeline import Timeline
from tests.unit.report.runs import hostile, violated


def report_of(folder: Path) -> dict[str, Any]:
    held: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return held


def moot(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(each) for each in arguments])


def test_the_json_is_as_its_schema_says_and_has_it_all(tmp_path: Path) -> None:
    write_report([violated(), hostile()], tmp_path)
    report = report_of(tmp_path)
    jsonschema.Draft202012Validator(describe.schema()).validate(report)
    assert (report["outcome"], report["as_expected"]) == ("violated", False)
    run = report["runs"][0]
    assert [(each["check"], each["outcome"], each["expected"]) for each in run["properties"]] == [
        ("completeness", "violated", "holds"),
        ("flaps", "holds", "holds"),
        ("delivery", "unknown", "holds"),
        ("zombie", "violated", "violated"),
    ]
    assert run["properties"][0]["evidence"][0] == {
        "at": 40.0,
        "text": "b sees c alive, 30s after it crashed",
        "members": ["b", "c"],
    }
    assert run["faults"] == [{"words": "partition moot-1 moot-2", "began": 20.0, "ended": 30.0}]
    assert run["measures"]["detection"] == {
        "count": 1, "missed": 0, "first": 5.0, "median": 5.0, "p99": 5.0, "last": 5.0,
    }  # fmt: skip
    assert (run["measures"]["bytes_per_second"], run["measures"]["worst_health"]) == (100.0, 2)
    for name in run["files"].values():
        assert (tmp_path / name).is_file()


def test_junit_tells_violated_unknown_and_as_expected_apart(tmp_path: Path) -> None:
    root = Xml.parse(write_report([violated()], tmp_path).junit).getroot()
    assert root.tag == "testsuites"
    (suite,) = root
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4",
        "failures": "1",
        "errors": "1",
        "skipped": "0",
    }
    cases = {case.get("name"): [child.tag for child in case] for case in suite.iter("testcase")}
    assert cases == {
        "completeness within=30.0": ["failure"],
        "flaps": ["system-out"],
        "delivery within=1000.0": ["error"],
        "zombie": ["system-out"],
    }
    failure = next(suite.iter("failure"))
    assert failure.get("type") == "violated"
    assert "40s: b sees c alive, 30s after it crashed" in (failure.text or "")
    assert "replay: moot sim run" in (failure.text or "")
    assert {each.get("name") for each in suite.iter("property")} == {"scenario", "driver", "seed", "command"}


def test_junit_survives_names_that_xml_cannot_say(tmp_path: Path) -> None:
    root = Xml.parse(write_report([hostile()], tmp_path).junit).getroot()
    assert "\ufffd[31m" in "".join(root.itertext())


def test_a_report_of_kept_histories_says_the_same(tmp_path: Path) -> None:
    results = [lab.run(library.scenario("udp-cut"), 3), violated()]
    first = write_report(results, tmp_path / "first")
    kept = [path.with_suffix(".jsonl") for path in first.runs]
    done = moot("lab", "report", *kept, "--out", tmp_path / "again", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["page"] == str(tmp_path / "again" / "index.html")
    before, after = report_of(tmp_path / "first"), report_of(tmp_path / "again")
    for one, other in zip(before["runs"], after["runs"], strict=True):
        assert one["properties"] == other["properties"]
        assert one["measures"]["detection"] == other["measures"]["detection"]
    assert before["runs"][0]["command"] == "moot sim run udp-cut --seed 3"


def test_a_history_that_cannot_be_judged_is_refused_with_what_to_do(tmp_path: Path) -> None:
    nothing = moot("lab", "report")
    assert nothing.exit_code == 2
    assert "moot lab run NAME --report DIR" in nothing.output
    file = tmp_path / "run.jsonl"
    file.write_text('{"moot-history": 1, "scenario": "of somebody", "source": "processes"}\n')
    unknown = moot("lab", "report", file, "--out", tmp_path / "out")
    assert unknown.exit_code == 2
    assert "--scenario" in unknown.output
    file.write_text("{}\n")
    none = moot("lab", "report", file, "--out", tmp_path / "out")
    assert none.exit_code == 2
    assert "line 1" in none.output
    assert not (tmp_path / "out").exists()


def test_the_schema_can_be_had() -> None:
    done = moot("lab", "report", "--schema")
    assert json.loads(done.output) == describe.schema()


def test_latencies_are_of_those_who_could_see(tmp_path: Path) -> None:
    found = measure(Timeline(lab.run(library.scenario("mass-restart"), 1).history))
    assert len(found.crashes) == 9
    assert found.detection.count == sum(crash.spread.count for crash in found.crashes)
    assert found.bytes_per_second is not None


@pytest.mark.parametrize("module", ["moot.agent.cli", "moot.agent.commands.lab", "moot.agent.report.write"])
def test_who_makes_no_report_does_not_pay_for_its_libraries(module: str) -> None:
    code = f"import sys, {module}; print([name for name in ('matplotlib', 'jinja2', 'numpy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
