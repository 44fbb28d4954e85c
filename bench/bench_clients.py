"""How long client nodes are without a registration while servers die under them, one after the other.

    python bench/bench_clients.py [--servers 3] [--clients 20] [--ttl 10] [--how kill] [--net 127.77.8]

Each agent is a process of its own, on loopback addresses that begin with `--net`. All servers but one are killed
(`--how kill`, as by kill -9) or frozen (`--how stop`, so that their connections stay open and nobody answers), the
next one when all clients have been registered again for the longest TTL. `--ttl` is `server.min_heartbeat_ttl` in
seconds; the clients' own are drawn between it and its double.

Meanwhile the servers that run are asked for their nodes all the time. A client's gap is the time from the last
answer that lists it as ready to the next one that does, so it is never shown too short. One JSON line per server.
"""

import argparse
import contextlib
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HTTP = 4646
PAUSE = 0.01
"""Seconds between two rounds of questions."""
PATIENCE = 60.0
"""Seconds for anything that should hold soon."""


class Agent:
    """A process, and a connection to its API that is kept."""

    def __init__(self, name: str, host: str, folder: Path, *flags: str) -> None:
        self.name = name
        self.host = host
        self.log = folder / f"{name}.log"
        command = [sys.executable, "-m", "moot", "agent", "--node", name, "--bind", host, *flags]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        self._link = http.client.HTTPConnection(host, HTTP, timeout=PATIENCE)

    def check(self) -> None:
        """End with its last words when it has ended by itself."""
        if self.process.poll() is not None:
            raise SystemExit(f"{self.name} ended with {self.process.returncode}:\n{self.log.read_text()[-2000:]}")

    def ask(self, path: str, method: str = "GET") -> Any:  # noqa: ANN401 - JSON of any shape
        """The JSON answer; None while nobody answers so."""
        try:
            self._link.request(method, path)
            answer = self._link.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            self._link.close()
            return None
        return json.loads(body) if answer.status == 200 and body else None

    def ready(self) -> dict[str, float]:
        """The nodes that are ready here: name to TTL."""
        nodes = self.ask("/v1/nodes") or []
        return {node["Name"]: node["HeartbeatTTL"] for node in nodes if node["Status"] == "ready"}

    def alive(self) -> int:
        """How many members it sees alive."""
        answer = self.ask("/v1/agent/members") or {"Members": []}
        return sum(member["Status"] == "alive" for member in answer["Members"])


class Watch:
    """Who is registered where, by what the running servers say."""

    def __init__(self, servers: list[Agent]) -> None:
        self.running = list(servers)
        self.home: dict[str, str] = {}
        self.ttls: dict[str, float] = {}
        """What each client was given last."""
        self.gaps: dict[str, float] = {}
        self.parts: dict[str, float] = {}
        """The longest gap of each, and as a part of the TTL that it had before."""
        self._seen_at: dict[str, float] = {}
        self.looks = 0

    def look(self) -> None:
        """Ask each server once."""
        time.sleep(PAUSE)
        self.looks += 1
        for server in self.running:
            asked_at = time.monotonic()
            found = server.ready()
            for name, ttl in found.items():
                if name in self._seen_at:
                    gap = time.monotonic() - self._seen_at[name]
                    self.gaps[name] = max(self.gaps.get(name, 0.0), gap)
                    self.parts[name] = max(self.parts.get(name, 0.0), gap / self.ttls[name])
                self._seen_at[name] = asked_at
                self.ttls[name] = ttl
                self.home[name] = server.name

    def until(self, what: str, holds: Callable[[], bool]) -> None:
        """Look until a condition holds."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            if time.monotonic() > deadline:
                raise SystemExit(f"not within {PATIENCE:g} s: {what}; registered: {Counter(self.home.values())}")
            self.look()

    def for_seconds(self, seconds: float) -> None:
        """Look for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.look()


@contextlib.contextmanager
def agents(options: argparse.Namespace, folder: Path) -> Iterator[tuple[list[Agent], list[Agent]]]:
    """The servers, joined, and the clients that know them all."""
    settings = folder / "server.json"
    settings.write_text(json.dumps({"server": {"min_heartbeat_ttl": f"{options.ttl:g}s"}}))
    hosts = [f"{options.net}.{number}" for number in range(1, options.servers + 1)]
    flags = ("--profile", "local", "--config", str(settings))
    servers = [Agent(f"s{n}", host, folder, *flags) for n, host in enumerate(hosts, 1)]
    clients: list[Agent] = []
    try:
        wait("the servers answer", servers, lambda: all(server.alive() for server in servers))
        for host in hosts[1:]:
            servers[0].ask(f"/v1/agent/join?address={host}", "PUT")
        wait("the servers are one pool", servers, lambda: all(server.alive() == len(servers) for server in servers))
        for number in range(1, options.clients + 1):
            where = f"{options.net}.{100 + number}"
            clients.append(Agent(f"c{number}", where, folder, "--client", "--servers", ",".join(hosts)))
        wait(
            "the clients answer",
            clients,
            lambda: all(client.ask("/v1/agent/servers") is not None for client in clients),
        )
        yield servers, clients
    finally:
        for agent in (*servers, *clients):
            agent.process.kill()
            agent.process.wait()


def wait(what: str, among: list[Agent], holds: Callable[[], bool]) -> None:
    """Until a condition holds, while these agents run."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {PATIENCE:g} s: {what}")
        for agent in among:
            agent.check()
        time.sleep(0.05)


def lose(servers: list[Agent], victim: Agent, watch: Watch, options: argparse.Namespace) -> dict[str, object]:
    """Kill or freeze one server and wait until nobody needs it; the figures of that."""
    names = {f"c{number}" for number in range(1, options.clients + 1)}
    held = {name for name, home in watch.home.items() if home == victim.name}
    watch.gaps.clear()
    watch.parts.clear()
    begun, looks = time.monotonic(), watch.looks
    os.kill(victim.process.pid, signal.SIGKILL if options.how == "kill" else signal.SIGSTOP)
    watch.running.remove(victim)
    for name in held:
        del watch.home[name]
    watch.until("all clients are registered again", lambda: set(watch.home) == names)
    again = time.monotonic() - begun
    watch.for_seconds(2 * options.ttl)  # whatever was put off shows within the longest TTL
    gaps = [watch.gaps[name] for name in held]
    return {
        "server": victim.name,
        "how": options.how,
        "clients": len(names),
        "moved": len(held),
        "gap_median_s": round(statistics.median(gaps), 3) if gaps else None,
        "gap_max_s": round(max(watch.gaps.values()), 3),
        "gap_max_of_ttl": round(max(watch.parts.values()), 3),
        "all_again_s": round(again, 2),
        "look_ms": round((time.monotonic() - begun) / (watch.looks - looks) * 1000, 1),
        "now": dict(sorted(Counter(watch.home.values()).items())),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--ttl", type=float, default=10.0)
    parser.add_argument("--how", choices=("kill", "stop"), default="kill")
    parser.add_argument("--net", default="127.77.8")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, agents(options, Path(folder)) as (servers, _):
        watch = Watch(servers)
        watch.until("all clients are registered", lambda: len(watch.home) == options.clients)
        print(json.dumps({"registered": dict(sorted(Counter(watch.home.values()).items()))}), flush=True)
        for victim in servers[:-1]:
            print(json.dumps(lose(servers, victim, watch, options)), flush=True)


if __name__ == "__main__":
    main()
