"""What it costs to tell figures: a scrape, Nomad's JSON, a batch for statsd. Prints one JSON line per case.

    python bench/bench_metrics.py [--members 1 100 10000] [--routes 40]

All routes were asked, so that every series is there that requests can make. `first` is right after a member changed,
when members are counted anew; `next` is while none changes.
"""

import argparse
import json
import random
import time
from collections.abc import Callable, Mapping

from moot.agent.statsd.lines import Style, packets
from moot.gossip.counters import Counters
from moot.gossip.record import Address
from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.gossip.swim.member import Member, Status
from moot.http.counters import HttpCounters
from moot.http.exposition import Exposition
from moot.http.metrics import Metrics, gauges
from moot.http.nomad_operations import Figures
from moot.http.schema import encode

RUNS = 30


def timed(call: Callable[[], object]) -> float:
    """Milliseconds at the median."""
    took = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        call()
        took.append(time.perf_counter() - begun)
    return round(sorted(took)[RUNS // 2] * 1000, 3)


def pool(count: int) -> list[SerfMember]:
    """Members of all statuses."""
    statuses = list(MemberStatus)[1:]
    address = Address.parse("127.0.0.1", 4648)
    made = [Member(f"member-{number:05}", address, 1, Status.ALIVE) for number in range(count)]
    return [SerfMember(member, statuses[number % len(statuses)]) for number, member in enumerate(made)]


def measure(count: int, routes: int) -> None:
    members, rng = pool(count), random.Random(1)
    counters = Counters()
    for number in range(12):
        counters.messages_in[f"kind_{number}"] = counters.messages_out[f"kind_{number}"] = number
    figures = Figures(counters=counters, version="1")
    metrics = Metrics(lambda: figures, HttpCounters())

    def counted() -> Mapping[str, int]:
        found: dict[str, int] = {}
        for member in members:
            found[member.status.value] = found.get(member.status.value, 0) + 1
        return found

    kept = counted()
    first, later = Exposition(metrics, counted), Exposition(metrics, lambda: kept)
    for number in range(routes):
        for code in (200, 405):
            for each in (first, later):
                each.observe(f"/v1/route/{number}", "GET", code, rng.expovariate(1000))
    text = later.text().decode()
    style = Style(host="web-1")

    def batch() -> list[bytes]:
        lines = [style.counter((row.nomad, labels), total) for row, labels, total in metrics.totals(figures)]
        shown = [style.gauge((it.name, tuple(it.labels.items())), it.value) for it in gauges(figures, kept)]
        return list(packets(lines + shown))

    case = {
        "members": count,
        "series": sum(not line.startswith("#") for line in text.splitlines()),
        "bytes": len(text),
        "scrape_ms_first": timed(first.text),
        "scrape_ms_next": timed(later.text),
        "openmetrics_ms": timed(later.openmetrics),
        "json_ms": timed(lambda: encode(metrics.answer(kept), pretty=False)),
        "statsd_ms": timed(batch),
        "look_ms": timed(metrics.look),
    }
    print(json.dumps(case))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, nargs="+", default=[1, 100, 10_000])
    parser.add_argument("--routes", type=int, default=40)
    given = parser.parse_args()
    for count in given.members:
        measure(count, given.routes)


if __name__ == "__main__":
    main()
