"""What is in deploy/: that it names what exists, and is as Grafana, Prometheus and systemd want it."""

import itertools
import json
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from moot.agent.checks import LEVELS
from moot.agent.commands.agent import command as agent_command
from moot.gossip.counters import Counters
from moot.http.counters import HttpCounters, RpcCounters
from moot.http.exposition import Exposition
from moot.http.metrics import Metrics
from moot.http.nomad_operations import Figures
from tests.conftest import require_tool
from tests.support.promql import labels_in, series_in

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "moot.rules.yml"
BOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "moot.json").read_text())
UNIT = (DEPLOY / "systemd" / "moot.service").read_text()
UNITS = {"none", "ops", "pps", "cps", "reqps", "percentunit", "s", "bytes", "Bps"}
"""Units of Grafana's that we use."""
SCRAPED = frozenset({"job", "instance"})
"""Labels that Prometheus itself adds."""


def full() -> Exposition:
    """One in which every series with a label is there."""
    counters = Counters()
    for by_kind in (counters.messages_in, counters.messages_out, counters.unsent, counters.refused):
        by_kind["x"] += 1
    counters.unknown_messages[99] += 1
    calls = RpcCounters()
    calls.requests["x"] = calls.errors["x"] = 1
    figures = Figures(
        counters=counters,
        version="1",
        queues={"event": 1},
        clocks={"event": 1},
        client_nodes={"ready": 1, "down": 0},
        rpc=calls,
        ipc=calls,
        log_lines=dict.fromkeys(LEVELS, 0),
    )
    made = Exposition(Metrics(lambda: figures, HttpCounters()), lambda: {"alive": 1})
    made.observe("/v1/regions", "GET", 200, 0.001)
    return made


def exposed(text: str) -> dict[str, set[str]]:
    """Every series, and the labels it has."""
    found: dict[str, set[str]] = {"up": set()}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


SERIES = exposed(full().text().decode())


def panels() -> Iterator[dict[str, Any]]:
    for panel in BOARD["panels"]:
        yield panel
        yield from panel.get("panels", ())


def expressions() -> list[tuple[str, str]]:
    """All of the dashboard and of the alerts, with where they stand."""
    asked = [(panel["title"], target["expr"]) for panel in panels() for target in panel.get("targets", ())]
    for variable in BOARD["templating"]["list"]:
        if variable["type"] == "query":
            found = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
            assert found is not None
            asked.append((f"variable {variable['name']}", f"count by ({found[2]}) ({found[1]})"))
    return asked + [(name, alert["expr"]) for name, alert in alerts().items()]


def alerts() -> dict[str, dict[str, str]]:
    """Name to expression, summary and severity."""
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    return {
        rule["alert"]: {"expr": rule["expr"], **rule["labels"], "summary": rule["annotations"]["summary"]}
        for rule in rules
    }


@pytest.mark.parametrize(("where", "expression"), expressions(), ids=lambda text: text[:60])
def test_what_is_asked_for_exists(where: str, expression: str) -> None:
    names = series_in(expression)
    assert names, expression
    assert names <= SERIES.keys(), f"{where} asks for {names - SERIES.keys()}"
    known = SCRAPED.union({"le"}, *(SERIES[name] for name in names))
    assert labels_in(expression) <= known, where


def test_every_series_is_on_the_dashboard() -> None:
    """Who adds a figure adds it there; what is the same seen otherwise is listed here."""
    shown = set[str]().union(*(series_in(expression) for _, expression in expressions()))
    families = {re.sub("_(bucket|count|sum)$", "", name) for name in shown}
    missing = {re.sub("_(bucket|count|sum)$", "", name) for name in SERIES} - families
    assert missing == {"moot_http_requests_total", "process_virtual_memory_bytes"}


def table() -> str:
    """All metrics but those of the process, which Prometheus' library words, as docs/metrics.md lists them."""
    lines = ["| name | type | labels | |", "| --- | --- | --- | --- |"]
    for family in text_string_to_metric_families(full().text().decode()):
        if family.name.startswith("process_"):
            continue
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = ", ".join(
            f"`{label}`" for label in sorted(set().union(*(it.labels for it in family.samples)) - {"le"})
        )
        lines.append(f"| `{name}` | {family.type} | {labels} | {family.documentation.rstrip('.')} |")
    return "\n".join(lines) + "\n"


def test_the_table_of_metrics_is_made_of_what_is_exposed(request: pytest.FixtureRequest) -> None:
    page = ROOT / "docs" / "metrics.md"
    front, heading, held = page.read_text().rpartition("--rewrite` makes it anew -->\n\n")
    if request.config.getoption("--rewrite"):
        page.write_text(front + heading + table())
        return
    assert held == table()


def test_the_parser_of_expressions_finds_what_is_in_them() -> None:
    text = (
        'histogram_quantile(0.9, sum by (le, path) (rate(a_b_bucket{x=~"y,z",job="q"}[5m]))) > 0.5 or up{a!="b"} == 0'
    )
    assert series_in(text) == {"a_b_bucket", "up"}
    assert labels_in(text.replace("y,z", "y")) == {"le", "path", "x", "job", "a"}
    assert series_in("max by (job) (m) - min by (job) (m) > 0") == {"m"}
    with pytest.raises(ValueError, match="no matcher"):
        labels_in("m{x}")


def test_the_dashboard_has_grafanas_form() -> None:
    assert BOARD["schemaVersion"] >= 36
    assert re.fullmatch("[a-zA-Z0-9_-]{1,40}", BOARD["uid"])
    numbers = [panel["id"] for panel in panels()]
    assert len(set(numbers)) == len(numbers)
    declared = {variable["name"] for variable in BOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(BOARD)))
    assert used - {"__rate_interval", "__all"} == declared
    for panel in panels():
        assert panel["type"] in {"row", "stat", "timeseries"}
        assert panel["title"]
        if panel["type"] == "row":
            continue
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references) > 0
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])


def test_no_panel_lies_on_another() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for cell in itertools.product(
            range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        ):
            assert cell not in taken, f"{panel['title']} lies on {taken[cell]}"
            taken[cell] = panel["title"]


def test_rates_are_of_counters_and_other_figures_are_taken_as_they_are() -> None:
    for where, expression in expressions():
        for name in re.findall(r"(?:rate|increase)\((\w+)", expression):
            assert name.endswith(("_total", "_bucket", "_sum", "_count")), where
        for name in series_in(expression):
            if name.endswith(("_total", "_bucket")):
                assert re.search(rf"(?:rate|increase)\({name}\b", expression), where


def test_every_alert_says_how_bad_it_is_and_where() -> None:
    assert len(alerts()) > 10
    for name, alert in alerts().items():
        assert name.startswith("Moot")
        assert alert["severity"] in {"warning", "critical"}
        if "instance" in alert["expr"] or " by " not in alert["expr"]:
            assert "$labels.instance" in alert["summary"], name


def promtool(*arguments: str, given: bytes = b"") -> str:
    tool = require_tool("promtool", "Debian's package prometheus")
    done = subprocess.run([tool, *arguments], input=given, capture_output=True, timeout=60, check=False)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


def test_promtool_finds_nothing_wrong_with_the_metrics() -> None:
    assert promtool("check", "metrics", given=full().text()) == ""


def test_promtool_takes_configuration_and_rules() -> None:
    assert f"SUCCESS: {len(alerts())} rules found" in promtool("check", "rules", str(RULES))
    promtool("check", "config", str(DEPLOY / "prometheus" / "prometheus.yml"))


def test_alerts_fire_when_they_should_and_only_then() -> None:
    promtool("test", "rules", str(Path(__file__).with_name("moot.rules.test.yml")))


def service() -> Mapping[str, list[str]]:
    """The unit's settings by key, all sections together."""
    found: dict[str, list[str]] = {}
    for line in UNIT.splitlines():
        if line and line[0] not in "#[":
            key, equals, value = line.partition("=")
            assert equals, line
            found.setdefault(key, []).append(value)
    return found


def test_the_service_starts_and_reloads_an_agent_with_flags_that_exist() -> None:
    unit = service()
    program, name, *flags = shlex.split(unit["ExecStart"][0])
    assert (Path(program).name, name) == ("moot", "agent")
    assert Path(program).is_absolute()
    known = {flag for option in agent_command.params if isinstance(option, click.Option) for flag in option.opts}
    assert {flag for flag in flags if flag.startswith("-")} <= known
    assert unit["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert unit["StateDirectory"] == ["moot"]
    assert "/var/lib/moot" in flags
    assert f"u {unit['User'][0]} " in (DEPLOY / "systemd" / "moot.sysusers").read_text()


def test_systemd_takes_the_service_and_finds_it_well_shut_in(tmp_path: Path) -> None:
    analyze = require_tool("systemd-analyze", "Debian's package systemd")
    unit = tmp_path / "moot.service"
    unit.write_text(UNIT.replace("/usr/local/bin/moot", "/bin/true"))
    for words in (["verify"], ["security", "--offline=true", "--threshold=20"]):
        done = subprocess.run([analyze, *words, unit], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert unit.name not in done.stderr, done.stderr
