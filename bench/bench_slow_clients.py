"""Whether clients of the HTTP API can delay the failure detector: 64 slow ones and 10,000 half-open requests at once.

    python bench/bench_slow_clients.py [--seconds 20] [--slow 64] [--half-open 10000] [--reopen 500] [--profile local]

A pool of three agents on loopback, one of them attacked by a process of its own: slow clients trickle a request's
headers or its body, or ask much and read little; the half-open requests come from 250 addresses as fast as they
can, and those that the agent ends come again, `--reopen` a second. Meanwhile a well-behaved client asks for the
members on new connections, and all agents are asked for their health. One JSON line without and one with the attack.
"""

import argparse
import contextlib
import http.client
import json
import multiprocessing
import os
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from moot.agent.console import wait_until

HOSTS = ("127.77.9.1", "127.77.9.2", "127.77.9.3")
HTTP, GOSSIP = 4646, 7946
METER = "127.77.9.9"
PAUSE = 0.05
"""Seconds between two questions of the well-behaved client."""
TICK = 0.5
"""Seconds between two bytes of a slow client."""
HALF = b"GET /v1/agent/members HTTP/1.1\r\nHost: 127.77.9.1\r\n"
BODY = b"PUT /v1/agent/join HTTP/1.1\r\nHost: 127.77.9.1\r\nContent-Length: 1000\r\n\r\n"
KINDS = (HALF, BODY, (HALF + b"\r\n") * 1000)
"""What the slow clients begin with, by turns."""
CLOCK = os.sysconf("SC_CLK_TCK")


def connecting(number: int) -> socket.socket:
    """A connection under way from one of 250 addresses."""
    link = socket.socket()
    link.setblocking(False)
    link.bind((f"127.77.{10 + number % 5}.{1 + number // 5 % 50}", 0))
    link.connect_ex((HOSTS[0], HTTP))
    return link


class SlowClient:
    """Begins a request of its kind, and again when it is hung up on; a byte to and fro is all that follows."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._link = connecting(number)
        self._rest = KINDS[number % len(KINDS)]

    def tick(self) -> None:
        try:
            if self._rest:
                self._rest = self._rest[self._link.send(self._rest) :]
            elif self._number % len(KINDS) < 2:
                self._link.send(b"x")
            if self._link.recv(1) == b"":
                self._again()
        except BlockingIOError:
            return
        except OSError:
            self._again()

    def _again(self) -> None:
        self._link.close()
        self._link = connecting(self._number)
        self._rest = KINDS[self._number % len(KINDS)]


class HalfOpen:
    """Keeps `count` requests half sent, as far as the agent lets it."""

    def __init__(self, count: int, reopen: float) -> None:
        self._count = count
        self._reopen = reopen
        self._allowed = float(count)
        self._last = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self.opened = 0

    def work(self) -> None:
        """A short while of it."""
        now = time.monotonic()
        if self.opened >= self._count:
            self._allowed += self._reopen * (now - self._last)
        self._last = now
        held = len(self._selector.get_map())
        for number in range(self.opened, min(int(self._allowed), self.opened + min(50, self._count - held))):
            self._selector.register(connecting(number), selectors.EVENT_WRITE)
            self.opened += 1
        for key, events in self._selector.select(0.005):
            link = key.fileobj
            assert isinstance(link, socket.socket)
            if not self._goes_on(link, events):
                self._selector.unregister(link)
                link.close()

    def _goes_on(self, link: socket.socket, events: int) -> bool:
        """Send the half request once the connection is there; whether it still is."""
        try:
            if events & selectors.EVENT_READ:
                return link.recv(1000) != b""
            link.send(HALF)
        except OSError:
            return False
        self._selector.modify(link, selectors.EVENT_READ)
        return True


def attack(slow: int, half_open: int, reopen: float, begun: Event, ended: Event) -> None:
    """The other process. `begun` is set when all half-open requests have been there once."""
    clients = [SlowClient(number) for number in range(slow)]
    requests = HalfOpen(half_open, reopen)
    next_tick = time.monotonic()
    while not ended.is_set():
        requests.work()
        if requests.opened >= half_open:
            begun.set()
        if time.monotonic() >= next_tick:
            next_tick += TICK
            for client in clients:
                client.tick()


def ask(host: str, path: str) -> Any:  # noqa: ANN401 - JSON of any shape
    """One question on a new connection. Raises OSError or HTTPException, also when it is turned away."""
    link = http.client.HTTPConnection(host, HTTP, timeout=10, source_address=(METER, 0))
    with contextlib.closing(link):
        link.request("GET", path)
        answer = link.getresponse()
        if answer.status != 200:
            raise http.client.HTTPException(answer.status)
        return json.loads(answer.read())


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK


@contextlib.contextmanager
def pool(profile: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Three agents that see each other alive."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        agents: list[subprocess.Popen[bytes]] = []
        for host in HOSTS:
            log = stack.enter_context((Path(folder) / host).open("wb"))
            command = [sys.executable, "-m", "moot", "agent", "--pool", "serf", "--profile", profile]
            command += ["--serf-port", str(GOSSIP), "--bind", host, "--node", host]
            command += ["--retry-join", f"{HOSTS[0]}:{GOSSIP}"] if agents else []
            agents.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
            stack.callback(agents[-1].wait)
            stack.callback(agents[-1].kill)
        if not wait_until(lambda: all(whole(host) for host in HOSTS), 60):
            raise TimeoutError("the pool does not form")
        yield agents


def whole(host: str) -> bool:
    """Whether an agent sees all three alive."""
    try:
        members = ask(host, "/v1/agent/members")["Members"]
    except (OSError, http.client.HTTPException):
        return False
    return [member["Status"] for member in members] == ["alive"] * len(HOSTS)


def counters(host: str, block: str) -> dict[str, int]:
    """Those of an agent; asked again when it is too busy."""
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return dict(ask(host, "/v1/moot/agent")[block])


def measure(seconds: float, attacked: subprocess.Popen[bytes]) -> dict[str, object]:
    """Ask for so long; what came of it."""
    before = [counters(host, "counters") for host in HOSTS]
    http_before, cpu_before = counters(HOSTS[0], "http"), cpu(attacked.pid)
    begun = time.monotonic()
    times: list[float] = []
    scores: list[int] = []
    refused = 0
    while time.monotonic() < begun + seconds:
        asked = time.perf_counter()
        try:
            ask(HOSTS[0], "/v1/agent/members")
        except (OSError, http.client.HTTPException):
            refused += 1
        else:
            times.append((time.perf_counter() - asked) * 1000)
        for host in HOSTS:
            with contextlib.suppress(OSError, http.client.HTTPException):
                scores.append(int(ask(host, "/v1/agent/self")["stats"]["serf"]["health_score"]))
        time.sleep(PAUSE)
    took = time.monotonic() - begun
    used = cpu(attacked.pid) - cpu_before
    after = [counters(host, "counters") for host in HOSTS]
    http_after = counters(HOSTS[0], "http")
    grown = {
        name: sum(new[name] - old[name] for new, old in zip(after, before, strict=True))
        for name in ("probes", "probes_failed", "suspicions", "refutations")
    }
    connected = {
        name: http_after[name] - http_before[name]
        for name in ("connections", "connections_refused", "connections_shed")
    }
    times.sort()
    return {
        "members_ms": {
            "median": round(statistics.median(times), 1),
            "p99": round(times[len(times) * 99 // 100], 1),
            "max": round(times[-1], 1),
        },
        "asked": len(times) + refused,
        "not_answered": refused,
        "health_score_max": max(scores),
        **grown,
        **connected,
        "cpu_percent": round(100 * used / took),
    }


def main() -> None:
    """Both cases."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="per case")
    parser.add_argument("--slow", type=int, default=64)
    parser.add_argument("--half-open", type=int, default=10_000)
    parser.add_argument("--reopen", type=float, default=500.0, help="connections opened again per second")
    parser.add_argument("--profile", default="local", help="local has the shortest probes: 200 ms for an ack")
    options = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    begun, ended = spawn.Event(), spawn.Event()
    work = (options.slow, options.half_open, options.reopen, begun, ended)
    attacker = spawn.Process(target=attack, args=work, daemon=True)
    line = {"bench": "slow_clients", "profile": options.profile}
    with pool(options.profile) as agents:
        print(json.dumps({**line, "case": "quiet", **measure(options.seconds, agents[0])}), flush=True)
        attacker.start()
        name = f"{options.slow} slow clients, {options.half_open} half-open requests"
        print(json.dumps({**line, "case": name, **measure(options.seconds, agents[0])}), flush=True)
        assert begun.is_set(), "the attack was too slow; give it more --seconds"
        ended.set()
        attacker.join()


if __name__ == "__main__":
    main()
