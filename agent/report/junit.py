"""JUnit XML of a report: a suite per run, a case per property. What could not be told is an error, no success."""

import re
from collections.abc import Sequence
from xml.etree import ElementTree as Xml

from moot.agent.report.describe import PropertyShape, RunShape
from moot.gossip.sim.verdicts import took

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(runs: Sequence[RunShape]) -> bytes:
    """The file. Each case that is not as expected is a failure, or an error when nobody could tell."""
    root = Xml.Element("testsuites", {"name": "moot", **_counts([each for run in runs for each in run.properties])})
    root.set("time", f"{sum(run.seconds for run in runs):.3f}")
    for run in runs:
        root.append(_suite(run))
    Xml.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{Xml.tostring(root, encoding="unicode")}\n'.encode()


def _suite(run: RunShape) -> Xml.Element:
    name = _clean(f"{run.scenario} ({run.driver}, seed {run.seed})")
    suite = Xml.Element("testsuite", {"name": name, **_counts(run.properties), "time": f"{run.seconds:.3f}"})
    told = Xml.SubElement(suite, "properties")
    facts = {"scenario": run.scenario, "driver": run.driver, "seed": str(run.seed), "command": run.command}
    for key, value in facts.items():
        Xml.SubElement(told, "property", {"name": key, "value": _clean(value)})
    for number, each in enumerate(run.properties):
        suite.append(_case(run, each, _name(each, run.properties[:number])))
    return suite


def _case(run: RunShape, each: PropertyShape, name: str) -> Xml.Element:
    group = f"moot.{run.driver}.{run.scenario}".replace(" ", "-")
    case = Xml.Element("testcase", {"classname": _clean(group), "name": name, "time": "0"})
    if not each.as_expected:
        kind = "error" if each.outcome == "unknown" else "failure"
        wrong = Xml.SubElement(case, kind, {"type": each.outcome, "message": _clean(each.summary)})
        wrong.text = _clean("\n".join([f"expected: {each.expected}", *_evidence(each), f"replay: {run.command}"]))
    else:
        Xml.SubElement(case, "system-out").text = _clean("\n".join([each.summary, *_evidence(each)]))
    return case


def _name(each: PropertyShape, before: Sequence[PropertyShape]) -> str:
    """A name of its own: scenarios may ask the same twice, with other bounds."""
    bounds = " ".join(f"{key}={value}" for key, value in each.bounds.items())
    twin = sum((other.check, other.bounds) == (each.check, each.bounds) for other in before)
    return _clean(" ".join(filter(None, (each.check, bounds, f"#{twin + 1}" if twin else ""))))


def _evidence(each: PropertyShape) -> list[str]:
    told = [f"{took(piece.at)}: {piece.text}" for piece in each.evidence]
    more = each.evidence_count - len(told)
    return [*told, f"and {more} more"] if more else told


def _counts(properties: Sequence[PropertyShape]) -> dict[str, str]:
    wrong = [each for each in properties if not each.as_expected]
    errors = sum(each.outcome == "unknown" for each in wrong)
    return {
        "tests": str(len(properties)),
        "failures": str(len(wrong) - errors),
        "errors": str(errors),
        "skipped": "0",
    }


def _clean(text: str) -> str:
    """Without what XML cannot say."""
    return _NO_XML.sub("\ufffd", text)
