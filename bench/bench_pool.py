"""A pool of N agent processes, ours and real serf's side by side: start, join herd, idle cost, detection.

    python bench/bench_pool.py --n 5 30 --kills 3

Prints one JSON line per kind and size, then ratios ours/serf. Every agent is a process with a loopback
address of its own, lan profile, and is polled every 50 ms: ours over HTTP, serf over its RPC.
"""

import argparse
import http.client
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgpack

from moot.agent.console import wait_until

GOSSIP, HTTP, RPC = 7946, 4646, 7373
POLL = 0.05
PATIENCE = 180.0
TICKS = os.sysconf("SC_CLK_TCK")


class Agent:
    """One process. `statuses` is its view."""

    def __init__(self, host: str, name: str, command: list[str], log: Path) -> None:
        self.host = host
        self.name = name
        self._started = time.monotonic()
        with log.open("wb") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def statuses(self) -> dict[str, str]:
        raise NotImplementedError(type(self).__name__)

    def join(self, host: str) -> None:
        raise NotImplementedError(type(self).__name__)

    def ready(self) -> bool:
        try:
            return bool(self.statuses())
        except (OSError, http.client.HTTPException):
            return False

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_mib(self) -> dict[str, float]:
        """Resident, proportional and private memory."""
        values: dict[str, int] = {}
        for line in Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines()[1:]:
            key, value = line.split()[:2]
            values[key.rstrip(":")] = int(value)
        private = values["Private_Clean"] + values["Private_Dirty"]
        return {"rss": values["Rss"] / 1024, "pss": values["Pss"] / 1024, "private": private / 1024}


class Moot(Agent):
    """`moot agent` in the serf personality."""

    def __init__(self, host: str, name: str, folder: Path) -> None:
        options = ["--pool", "serf", "--profile", "lan", "--serf-port", str(GOSSIP), "--bind", host, "--node", name]
        super().__init__(host, name, [sys.executable, "-m", "moot", "agent", *options], folder / name)

    def _ask(self, method: str, path: str) -> bytes:
        link = http.client.HTTPConnection(self.host, HTTP, timeout=30)
        try:
            link.request(method, path)
            return link.getresponse().read()
        finally:
            link.close()

    def statuses(self) -> dict[str, str]:
        members = json.loads(self._ask("GET", "/v1/agent/members"))["Members"]
        return {member["Name"]: member["Status"] for member in members}

    def join(self, host: str) -> None:
        assert json.loads(self._ask("PUT", f"/v1/agent/join?address={host}:{GOSSIP}"))["num_joined"] == 1


class Serf(Agent):
    """`serf agent`, over one RPC connection."""

    def __init__(self, host: str, name: str, folder: Path) -> None:
        options = [f"-bind={host}:{GOSSIP}", f"-rpc-addr={host}:{RPC}", f"-node={name}", "-profile=lan"]
        super().__init__(host, name, ["serf", "agent", *options], folder / name)
        self._link: socket.socket | None = None
        self._unpacker = msgpack.Unpacker(raw=False, unicode_errors="replace")
        self._seq = 0

    def _call(self, command: str, body: dict[str, object] | None = None, answers: int = 2) -> dict[str, object]:
        if self._link is None:
            self._link = socket.create_connection((self.host, RPC), timeout=30)
            self._call("handshake", {"Version": 1}, answers=1)
        self._seq += 1
        parts = [{"Command": command, "Seq": self._seq}, *([body] if body else [])]
        self._link.sendall(b"".join(msgpack.packb(part, use_bin_type=False) for part in parts))
        answer: dict[str, object] = {}
        for _ in range(answers):
            answer = self._receive()
            assert not answer.get("Error"), answer
        return answer

    def _receive(self) -> dict[str, object]:
        assert self._link is not None
        while True:
            for answer in self._unpacker:
                return dict(answer)
            data = self._link.recv(1 << 16)
            if not data:
                raise ConnectionResetError("serf hung up")
            self._unpacker.feed(data)

    def statuses(self) -> dict[str, str]:
        members = self._call("members")["Members"]
        assert isinstance(members, list)
        return {member["Name"]: member["Status"] for member in members}

    def join(self, host: str) -> None:
        assert self._call("join", {"Existing": [f"{host}:{GOSSIP}"], "Replay": False})["Num"] == 1


def wait(holds: Callable[[], bool]) -> None:
    """Until a condition holds, which it does in time or the run is worth nothing."""
    if not wait_until(holds, PATIENCE, POLL):
        raise SystemExit("a condition did not come true in time")


@contextmanager
def pool(kind: type[Moot] | type[Serf], count: int) -> Iterator[tuple[list[Moot | Serf], dict[str, float]]]:
    """A started, not yet joined pool, and how long the start took."""
    prefix = f"127.{random.SystemRandom().randrange(16, 240)}.{random.SystemRandom().randrange(256)}"
    agents: list[Moot | Serf] = []
    with tempfile.TemporaryDirectory(prefix="moot-bench-") as folder:
        try:
            begun = time.monotonic()
            first = kind(f"{prefix}.1", "n1", Path(folder))
            agents.append(first)
            wait(first.ready)
            one = time.monotonic() - begun
            agents += [kind(f"{prefix}.{number}", f"n{number}", Path(folder)) for number in range(2, count + 1)]
            for agent in agents:
                wait(agent.ready)
            yield agents, {"one_up_s": one, "all_up_s": time.monotonic() - begun}
        finally:
            for agent in agents:
                agent.process.kill()
                agent.process.wait()


def seen_failed(by: Callable[[Iterable[bool]], bool], agents: Sequence[Moot | Serf], name: str) -> bool:
    """Whether `any` or `all` of the agents hold the member for failed."""
    return by(agent.statuses()[name] == "failed" for agent in agents)


def measure(kind: type[Moot] | type[Serf], count: int, kills: int, idle: float) -> dict[str, float]:
    """All figures of one pool."""
    with pool(kind, count) as (agents, figures):
        before = sum(agent.cpu_seconds() for agent in agents)
        begun = time.monotonic()
        for agent in agents[1:]:
            agent.join(agents[0].host)
        wait(lambda: all(list(agent.statuses().values()).count("alive") == count for agent in agents))
        figures["converged_s"] = time.monotonic() - begun
        figures["converge_cpu_ms"] = (sum(agent.cpu_seconds() for agent in agents) - before) / count * 1000
        time.sleep(5)
        before = sum(agent.cpu_seconds() for agent in agents)
        time.sleep(idle)
        figures["idle_cpu_percent"] = (sum(agent.cpu_seconds() for agent in agents) - before) / count / idle * 100
        for key in ("rss", "pss", "private"):
            figures[f"{key}_mib"] = statistics.median(agent.memory_mib()[key] for agent in agents)
        first, everywhere = [], []
        for _ in range(kills):
            victim = agents.pop()
            victim.process.kill()
            victim.process.wait()
            begun = time.monotonic()
            wait(partial(seen_failed, any, agents, victim.name))
            first.append(time.monotonic() - begun)
            wait(partial(seen_failed, all, agents, victim.name))
            everywhere.append(time.monotonic() - begun)
        figures["kill_first_p50_s"] = statistics.median(first)
        figures["kill_everywhere_p50_s"] = statistics.median(everywhere)
        figures["kill_everywhere_max_s"] = max(everywhere)
    return {key: round(value, 3) for key, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, nargs="+", default=[5, 30], help="pool sizes")
    parser.add_argument("--kills", type=int, default=2, help="agents killed per pool")
    parser.add_argument("--idle", type=float, default=20.0, help="seconds of idling that are measured")
    options = parser.parse_args()
    kinds: list[type[Moot] | type[Serf]] = [Moot, *([Serf] if shutil.which("serf") else [])]
    for count in options.n:
        results = {}
        for kind in kinds:
            results[kind.__name__] = measure(kind, count, min(options.kills, count - 2), options.idle)
            print(json.dumps({"agent": kind.__name__.lower(), "n": count, **results[kind.__name__]}), flush=True)
        if len(results) == 2:
            theirs = results["Serf"]
            ratios = {key: round(value / theirs[key], 2) for key, value in results["Moot"].items() if theirs[key]}
            print(json.dumps({"ratio": "moot/serf", "n": count, **ratios}), flush=True)


if __name__ == "__main__":
    main()
