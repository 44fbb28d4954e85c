"""Figures: intervals as Nomad tells them, totals as Prometheus takes them, and that none is forgotten."""

import dataclasses
import math
import re
from collections import Counter

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from moot.gossip.counters import BOUNDS, Counters, Durations
from moot.gossip.record import Address
from moot.gossip.serf.events import MemberChange, MemberEvent, QueryReceived, UserEventReceived
from moot.gossip.serf.members import MemberStatus
from moot.gossip.serf.messages import Query, UserEvent
from moot.http.api import build_api
from moot.http.counters import HttpCounters, RpcCounters
from moot.http.exchange import Request
from moot.http.exposition import Exposition
from moot.http.figures import GROUPS, Group
from moot.http.metrics import Metrics
from moot.http.metrics_api import MemberCounts, wants_openmetrics
from moot.http.nomad_operations import ApiSettings, Figures
from moot.http.schema import MetricsAnswer, SampledAnswer
from tests.api.live import serving_api
from tests.api.scripted import made
from tests.api.situations import client, dev, three


class World:
    """What the metrics look at: counters, queues, the time."""

    def __init__(self) -> None:
        self.now = 1_000_000_003.0
        self.counters = Counters()
        self.http = HttpCounters()
        self.queue = 0
        self.metrics = Metrics(self.figures, self.http, clock=lambda: self.now)

    def figures(self) -> Figures:
        return Figures(counters=self.counters, version="1", queues={"event": self.queue}, health_score=2, tasks=9)

    def at(self, seconds: float) -> "World":
        """Let time pass and look."""
        self.now += seconds
        self.metrics.look()
        return self

    def answer(self) -> MetricsAnswer:
        return self.metrics.answer({"alive": 3})

    def counter(self, name: str) -> SampledAnswer | None:
        return next((it for it in self.answer().counters if it.name == name), None)


def test_what_was_added_counts_in_the_interval_it_happened_in() -> None:
    world = World()
    world.counters.probes += 4
    world.at(1)
    world.counters.probes += 1
    shown = world.counter("nomad.memberlist.probe")
    assert shown is not None  # the running interval, while no other is over
    assert (shown.count, shown.sum, shown.min, shown.max, shown.mean, shown.rate) == (5, 5, 1, 1, 1, 0.5)
    world.at(8)
    world.counters.probes += 7
    world.at(1)
    shown = world.counter("nomad.memberlist.probe")
    assert shown is not None
    assert shown.count == 5  # the last interval that is over
    assert world.answer().timestamp == "2001-09-09 01:46:40 +0000 UTC"
    shown = world.at(10).counter("nomad.memberlist.probe")
    assert shown is not None
    assert shown.count == 7
    assert world.at(10).counter("nomad.memberlist.probe") is None
    assert world.at(1000).answer().counters == []


def test_amounts_are_taken_second_by_second() -> None:
    world = World()
    for added in (100, 300):
        world.counters.bytes_out += added
        world.at(1)
    shown = world.counter("nomad.memberlist.udp.sent")
    assert shown is not None
    assert (shown.count, shown.sum, shown.min, shown.max, shown.mean) == (2, 400, 100, 300, 200)
    assert math.isclose(shown.stddev, 141.4213562373095)


def test_queues_and_requests_are_samples() -> None:
    world = World()
    world.queue = 4
    world.at(1).at(1)
    world.metrics.observe("/v1/regions", "GET", 200, 0.002)
    found = {(it.name, tuple(it.labels.items())): it for it in world.answer().samples}
    queue = found["nomad.serf.queue.Event", ()]
    assert (queue.mean, queue.count) == (4, 2)
    request = found["nomad.http.request", (("path", "/v1/regions"),)]
    assert (request.count, request.mean, request.stddev) == (1, 2.0, 0.0)


def test_events_are_counted_by_kind() -> None:
    world = World()
    member = made("a.global", "127.0.0.2")
    for change in (MemberChange.JOIN, MemberChange.JOIN, MemberChange.FAILED):
        world.metrics.hear(MemberEvent(change, member))
    world.metrics.hear(UserEventReceived(UserEvent(1, "x", b"", False)))
    query = Query(1, 1, Address.parse("127.0.0.2", 1), "s1", (), 0, 0, 10**9, "x")
    world.metrics.hear(QueryReceived(query, 0.0))
    world.metrics.hear(object())
    found = {it.name: it.count for it in world.answer().counters}
    changes = {"nomad.serf.member.join": 2, "nomad.serf.member.failed": 1}
    assert found == {**changes, "nomad.serf.events": 1, "nomad.serf.queries": 1}
    gauges = {it.name: it.value for it in world.answer().gauges}
    assert gauges["nomad.memberlist.health.score"] == 2
    assert gauges["nomad.serf.members"] == 3


def test_kinds_become_labels() -> None:
    world = World()
    world.counters.refused["crc"] += 2
    world.counters.unknown_messages[99] += 1
    found = {(it.name, *it.labels.values()): it.count for it in world.answer().counters}
    assert found == {("nomad.memberlist.refused", "crc"): 2, ("nomad.serf.unknown_messages", "99"): 1}


KEPT: dict[str, object] = {
    "counters": Counters(),
    "http": HttpCounters(),
    "rpc": RpcCounters(),
    "ipc": RpcCounters(),
}


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.source)
def test_every_counter_is_told(group: Group) -> None:
    kept = KEPT[group.source]
    assert dataclasses.is_dataclass(kept)
    held = {field.name: getattr(kept, field.name) for field in dataclasses.fields(kept)}
    assert {name for name, value in held.items() if not isinstance(value, Durations)} == {
        row.field for row in group.rows
    }
    assert all(isinstance(held[row.field], Counter) == bool(row.label) for row in group.rows)


def test_names_are_as_nomad_and_prometheus_want_them() -> None:
    rows = [row for group in GROUPS for row in group.rows]
    assert all(re.fullmatch(r"nomad(\.[a-z_]+)+", row.nomad) for row in rows)
    assert all(re.fullmatch("moot_[a-z_]+", row.prometheus) for row in rows)
    assert all(row.help.endswith(".") for row in rows)
    for names in ([row.nomad for row in rows], [row.prometheus for row in rows]):
        assert len(names) == len(set(names))


async def test_prometheus_reads_what_is_served() -> None:
    backend = dev()
    backend.nomad.counters.packets_in = 5
    backend.nomad.counters.refused['odd "kind"\n'] = 1
    async with serving_api(backend) as live:
        await live.ask("FOO", "/v1/regions")
        await live.ask("GET", "/v1/regions")
        answer = await live.ask("GET", "/v1/metrics?format=prometheus", [("Accept-Encoding", "identity")])
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert all(family.documentation for family in families.values())
    assert all(name.startswith(("moot_", "process_")) for name in families)
    samples = [it for family in families.values() for it in family.samples]
    found = {(it.name, *(value for _, value in sorted(it.labels.items()))): it.value for it in samples}
    assert found["moot_gossip_received_packets_total",] == 5
    assert found["moot_gossip_refused_messages_total", 'odd "kind"\n'] == 1
    assert found["moot_members", "alive"] == 1
    assert found["moot_client_nodes", "ready"] == 3
    assert found["moot_build_info", "0.1.0"] == 1
    assert found["moot_http_responses_total", "405", "other", "/v1/regions"] == 1
    assert found["moot_http_responses_total", "200", "GET", "/v1/regions"] == 1
    assert found["moot_http_request_duration_seconds_count", "/v1/regions"] == 2
    assert found["process_open_fds",] > 0
    assert not any(name.endswith("_created") for name, *_ in found)


ACCEPTED = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
"""What Prometheus sends."""


async def test_openmetrics_is_for_who_asks_and_says_the_same() -> None:
    backend = dev()
    backend.nomad.counters.bytes_in = 7
    backend.nomad.counters.probe_rtts.add(0.002)
    async with serving_api(backend) as live:
        path = "/v1/metrics?format=prometheus"
        plain = await live.ask("GET", path, [("Accept-Encoding", "identity")])
        given = await live.ask("GET", path, [("Accept-Encoding", "identity"), ("Accept", ACCEPTED)])
    assert given.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert given.text.endswith("# EOF\n")
    families = {family.name: family for family in openmetrics_families(given.text)}  # type: ignore[no-untyped-call]  # has no types
    assert families["moot_gossip_received_bytes"].unit == "bytes"
    assert families["moot_gossip_probe_rtt_seconds"].unit == "seconds"
    assert families["moot_build"].type == "info"
    fixed = [
        {(it.name, *sorted(it.labels.items())): it.value for family in made for it in family.samples}
        for made in (families.values(), text_string_to_metric_families(plain.text))
    ]
    same = fixed[0].keys() & fixed[1].keys()
    assert {name for name, *_ in same} >= {"moot_gossip_received_bytes_total", "moot_members", "moot_build_info"}
    moving = ("process_", "moot_http_", "moot_tasks")
    assert all(fixed[0][key] == fixed[1][key] for key in same if not key[0].startswith(moving))


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain; version=0.0.4", False),
        (ACCEPTED, True),
        ("text/plain, Application/OpenMetrics-Text ; Version=1.0.0", True),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text; q=0", False),
        ("application/openmetrics-text; q=0.000", False),
        ("application/openmetrics-text; version=0.0.1", False),
        ("application/openmetrics-text; version=99", False),
        ('application/openmetrics-text; version="', False),
        (",;=,;;q=q,application/openmetrics-text;;=;version", False),
    ],
)
def test_who_asks_for_openmetrics(accept: str, wanted: bool) -> None:
    assert wants_openmetrics(accept) is wanted


def test_ten_thousand_members_have_as_many_series_as_three() -> None:
    statuses = (MemberStatus.ALIVE, MemberStatus.ALIVE, MemberStatus.FAILED, MemberStatus.LEFT)
    found = []
    for count in (4, 10_000):
        backend = three()
        backend.table = [made(f"m{number}", "127.0.0.9", {}, statuses[number % 4]) for number in range(count)]
        metrics = Metrics(backend.nomad.figures, HttpCounters())
        counted = MemberCounts(backend)
        for member in backend.table:
            metrics.hear(MemberEvent(MemberChange.JOIN, member))
        text = Exposition(metrics, counted).text().decode()
        found.append({it.name: it for family in text_string_to_metric_families(text) for it in family.samples}.keys())
        assert f'moot_members{{status="alive"}} {count / 2}' in text
        assert f'moot_members{{status="failed"}} {count / 4}' in text
        assert 'moot_members{status="leaving"} 0.0' in text
        assert f'moot_member_changes_total{{change="join"}} {float(count)}' in text
        assert len(text.splitlines()) < 250
    assert found[0] == found[1]


def test_members_are_counted_anew_only_when_one_changed() -> None:
    backend = three()
    counts = MemberCounts(backend)
    before = dict(counts())
    asked = backend.members_calls
    assert dict(counts()) == before
    assert backend.members_calls == asked
    backend.set_status(backend.table[0].name, MemberStatus.FAILED)
    assert counts() == {**before, "alive": before["alive"] - 1, "failed": 1}


def test_round_trips_and_delays_become_samples() -> None:
    world = World()
    for seconds in (0.001, 0.003):
        world.counters.probe_rtts.add(seconds)
    world.at(1)
    found = {it.name: it for it in world.answer().samples}
    assert (found["nomad.memberlist.probe.rtt"].count, found["nomad.memberlist.probe.rtt"].mean) == (2, 2.0)
    world.at(10).at(10)
    assert "nomad.memberlist.probe.rtt" not in {it.name for it in world.answer().samples}


def test_durations_are_counted_by_range() -> None:
    made = Durations()
    for seconds in (0.0, BOUNDS[0], BOUNDS[0] * 1.01, BOUNDS[-1], 100.0):
        made.add(seconds)
    assert made.counts == [2, 1, *[0] * (len(BOUNDS) - 3), 1, 1]
    assert math.isclose(made.total, BOUNDS[0] * 2.01 + BOUNDS[-1] + 100)


async def test_prometheus_can_be_turned_on_and_off_while_the_agent_runs() -> None:
    backend = three()
    async with serving_api(backend) as live:
        assert (await live.ask("GET", "/v1/metrics?format=prometheus")).status == 415
        backend.nomad.settings = ApiSettings(prometheus_metrics=True)
        assert (await live.ask("GET", "/v1/metrics?format=prometheus")).status == 200
        backend.nomad.settings = ApiSettings()
        assert (await live.ask("GET", "/v1/metrics?format=prometheus")).status == 415


async def test_agents_outside_the_pool_have_figures_too() -> None:
    async with serving_api(client()) as live:
        found = (await live.ask("GET", "/v1/metrics")).json()
        assert {"Name": "nomad.nomad.nodes", "Value": 3.0, "Labels": {"status": "ready"}} in found["Gauges"]
        assert not any(it["Name"] == "nomad.serf.members" for it in found["Gauges"])


async def test_every_request_is_counted_under_its_route() -> None:
    backend = three()
    counters = HttpCounters()
    metrics = Metrics(backend.nomad.figures, counters)
    api = build_api(backend, counters=counters, metrics=metrics)
    for path in ("/v1/agent/keyring/zzz", "/v1/agent/keyring/list", "/nope", "/ui/a/b"):
        await api(Request("GET", path, []))
    samples = metrics.answer({}).samples
    assert {it.labels["path"]: it.count for it in samples if it.labels} == {"/v1/agent/keyring/": 2, "/ui/": 1}
