"""How fast the simulator runs the real engine. Prints one JSON line per case.

    python bench/bench_sim.py [--quick]

`events` are timers fired and packets or stream steps delivered; `real_time` is virtual seconds per second.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator

from moot.gossip.faults import Fault
from moot.gossip.sim import SimCluster


def idle(layer: str, n: int, *, wire: bool = False) -> Callable[[], SimCluster]:
    """A settled pool that has nothing to do but to probe; the settling is not measured."""

    def prepare() -> SimCluster:
        cluster = SimCluster(n, seed=1, layer="swim" if layer == "swim" else "serf", wire=wire)
        cluster.boot_converged()
        cluster.run_for(15)
        return cluster

    return prepare


def lossy(n: int) -> Callable[[], SimCluster]:
    """A settled pool that now loses every fifth packet: suspicions, refutations, gossip."""

    def prepare() -> SimCluster:
        cluster = idle("serf", n)()
        cluster.conditions.put("loss", Fault(loss=0.2))
        return cluster

    return prepare


def cold(n: int) -> Callable[[], SimCluster]:
    """A pool of which everybody joins through one within a second."""

    def prepare() -> SimCluster:
        cluster = SimCluster(n, seed=1)
        cluster.boot_cold()
        return cluster

    return prepare


def cases(quick: bool) -> Iterator[tuple[str, Callable[[], SimCluster], float]]:
    """Name, how to get the pool, virtual seconds to run."""
    yield "swim idle 128", idle("swim", 128), 60
    yield "serf idle 128", idle("serf", 128), 60
    yield "serf idle 128 wire", idle("serf", 128, wire=True), 20
    yield "serf lossy 64", lossy(64), 20
    yield "serf cold 100", cold(100), 10
    if not quick:
        yield "serf idle 1000", idle("serf", 1000), 20
        yield "serf cold 300", cold(300), 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out the cases of more than 128 members")
    for name, prepare, seconds in cases(parser.parse_args().quick):
        cluster = prepare()
        events, packets = cluster.event_count, cluster.packet_count
        began = time.process_time()
        cluster.run_for(seconds)
        spent = time.process_time() - began
        events, packets = cluster.event_count - events, cluster.packet_count - packets
        result = {
            "case": name,
            "events": events,
            "events_per_cpu_s": round(events / spent),
            "packets_per_cpu_s": round(packets / spent),
            "real_time": round(seconds / spent, 1),
        }
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
