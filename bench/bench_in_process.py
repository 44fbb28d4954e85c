"""How many agents two or more processes hold without failing each other: `moot cluster up N --in-process`, watched.

    python bench/bench_in_process.py --n 200 400 --seconds 60

For each number: how long until all see all alive, then for so many seconds which failures are told (all of them are
false: nobody is broken), how often somebody was suspected and contradicted it, what it cost. It stops at the first
number that does not hold. One JSON line per number, with the machine's load beside it.
"""

import argparse
import json
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from moot.agent.cluster import Cluster, wait_ready
from moot.agent.cluster_places import TENANTS_MAX, Wish
from moot.agent.cluster_start import ClusterError
from moot.agent.cluster_views import Observer, alive_everywhere
from moot.agent.interrupts import Interrupts

FAILED = b"member failed:"
REFUTED = b"took us for dead, refuted:"
TICKS = os.sysconf("SC_CLK_TCK")


class Logs:
    """Counts words in what agents write from now on."""

    def __init__(self, cluster: Cluster) -> None:
        self._paths = [cluster.log_of(node.name) for node in cluster.nodes]
        self._from = {path: path.stat().st_size for path in self._paths}

    def count(self, *words: bytes) -> list[int]:
        found = [0] * len(words)
        for path in self._paths:
            with path.open("rb") as file:
                file.seek(self._from[path])
                text = file.read()
            for index, word in enumerate(words):
                found[index] += text.count(word)
        return found


def cpu_of(pid: int) -> float:
    """CPU seconds so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_of(pid: int) -> float:
    """MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def measure(count: int, seconds: float, profile: str, houses: int, timeout: float) -> dict[str, object]:
    """One number of agents. Raises ClusterError when they do not come up."""
    wish = Wish(count=count, name="bench", numbered=True, profile=profile, pool="serf", houses=houses)
    with Observer(timeout=30.0) as observer, Cluster(wish, Interrupts()) as cluster:
        began = time.monotonic()
        cluster.start()
        for _ in wait_ready(cluster, observer, timeout):
            continue
        ready = time.monotonic() - began
        pids = sorted({node.process.pid for node in cluster.nodes})
        logs, boot = Logs(cluster), sum(map(cpu_of, pids))
        load = [os.getloadavg()[0] for _ in ticks(seconds, every=5.0)]
        spent = sum(map(cpu_of, pids)) - boot
        failed, refuted = logs.count(FAILED, REFUTED)
        agreed = len(alive_everywhere(observer.views(cluster.nodes), count))
        return {
            "agents": count,
            "processes": houses,
            "profile": profile,
            "ready_s": round(ready, 1),
            "boot_cpu_s": round(boot, 1),
            "watched_s": seconds,
            "false_failures": failed,
            "refuted_suspicions": refuted,
            "agents_that_see_all_alive": agreed,
            "cpu_cores": round(spent / seconds, 2),
            "rss_mib": round(sum(map(rss_of, pids))),
            "load_1min": [round(min(load), 1), round(max(load), 1)],
        }


def ticks(seconds: float, every: float) -> Iterator[None]:
    """Now and then, for so long."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(every, left))
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, nargs="+", default=[200], help=f"numbers of agents, {TENANTS_MAX} at most")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long they are watched")
    parser.add_argument("--profile", choices=["lan", "wan", "local"], default="lan")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)), help="one per core")
    parser.add_argument("--timeout", type=float, default=180.0, help="seconds until all must see all alive")
    wanted = parser.parse_args()
    for count in wanted.n:
        try:
            found = measure(count, wanted.seconds, wanted.profile, wanted.processes, wanted.timeout)
        except ClusterError as error:
            reason = str(error).partition("\n")[0]
            print(
                json.dumps({"agents": count, "error": reason, "load_1min": round(os.getloadavg()[0], 1)}), flush=True
            )
            return
        print(json.dumps(found), flush=True)
        if found["false_failures"] or found["agents_that_see_all_alive"] != count:
            return


if __name__ == "__main__":
    main()
