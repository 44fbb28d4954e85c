"""How fast the simulator runs the real engine. Prints one JSON line per case.

    python bench/bench_sim.py [--quick | --scale [--sizes 100 1000 10000]]

`events` are timers fired and packets or stream steps delivered; `real_time` is virtual seconds per second of CPU.
With --scale, each size in a process of its own: first how much an idle member costs, then a whole run of 60 virtual
seconds, boot included, in which one member crashes and another sends a user event.
"""

import argparse
import json
import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator

from moot.gossip.faults import Fault
from moot.gossip.serf.events import UserEventReceived
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


def steady(n: int) -> None:
    """What a member of an idle pool costs per virtual second: the best of three stretches after it has settled."""
    cluster = SimCluster(n, seed=1)
    cluster.boot_converged()
    cluster.run_for(15)
    stretch = max(1.0, 60_000 / n)
    costs, events, spent = [], cluster.event_count, 0.0
    for _ in range(3):
        began = time.process_time()
        cluster.run_for(stretch)
        costs.append((time.process_time() - began) / stretch / n)
        spent += costs[-1] * stretch * n
    result = {
        "case": f"scale idle {n}",
        "us_per_member_and_virtual_s": round(min(costs) * 1e6, 1),
        "events_per_cpu_s": round((cluster.event_count - events) / spent),
        "real_time": round(3 * stretch / spent, 1),
    }
    print(json.dumps(result), flush=True)


def troubled(n: int) -> None:
    """60 virtual seconds from nothing: a converged boot, a user event and a crash after 10 s."""
    began, wall = time.process_time(), time.monotonic()
    cluster = SimCluster(n, seed=1)
    cluster.boot_converged()
    booted = time.process_time() - began
    cluster.run_for(10)
    first, last = cluster.names[0], cluster.names[-1]
    cluster.serf(first).user_event(cluster.now, "deploy", b"42")
    cluster.crash(last, dark=True)
    cluster.run_for(50)
    spent = time.process_time() - began
    assert cluster.all_see({last: "failed"}), "somebody missed the crash"
    told = sum(event.event.name == "deploy" for _, _, event in cluster.events_of(UserEventReceived))
    assert told == n - 1, f"{told} of {n - 1} heard the event"
    result = {
        "case": f"scale crash and event {n}, 60 virtual s",
        "cpu_s": round(spent, 1),
        "wall_s": round(time.monotonic() - wall, 1),
        "boot_cpu_s": round(booted, 1),
        "events": cluster.event_count,
        "events_per_cpu_s": round(cluster.event_count / spent),
        "real_time": round(60 / spent, 1),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(result), flush=True)


def scale(sizes: list[int]) -> None:
    """Each case in a fresh process, so that peaks of memory are its own."""
    spawn = multiprocessing.get_context("spawn")
    for case in (steady, troubled):
        for n in sizes:
            process = spawn.Process(target=case, args=(n,))
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit(f"{case.__name__} with {n} members ended with {process.exitcode}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out the cases of more than 128 members")
    parser.add_argument("--scale", action="store_true", help="from 100 to 10,000 members instead")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000], metavar="N")
    chosen = parser.parse_args()
    if chosen.scale:
        return scale(chosen.sizes)
    for name, prepare, seconds in cases(chosen.quick):
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
