"""What one node costs: a ping flood over loopback, and doing nothing. Prints one JSON line per case.

    python bench/bench_agent.py [--pings 60000] [--idle 5]

The node runs in a process of its own; its CPU time and memory come from /proc. The flood keeps a window of pings
unanswered, so that the node is always busy and never drops any.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import trio

from moot.gossip.config import LAN, WireConfig
from moot.gossip.net import Node, NodeSettings
from moot.gossip.swim.messages import Ping
from moot.gossip.wire.keyring import Keyring
from moot.gossip.wire.packet import PacketCodec

KEY = bytes(range(32))
WINDOW = 32
WARM_UP = 2000


def serve(keys: list[bytes]) -> None:
    """Run a node until the parent closes our standard input; print its port first."""

    async def run() -> None:
        node = Node(NodeSettings(name="target", bind_host="127.0.0.1", swim=LAN, keys=keys))
        async with trio.open_nursery() as nursery:
            await nursery.start(node.run)
            print(node.address.port, flush=True)
            async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stdin:
                await stdin.receive_some(1)
            nursery.cancel_scope.cancel()

    trio.run(run)


class Target:
    """A node in its own process."""

    def __init__(self, sealed: bool) -> None:
        command = [sys.executable, __file__, "--serve", *(["--sealed"] if sealed else [])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def cpu(self) -> float:
        """Seconds of CPU used so far, user and system."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> dict[str, float]:
        """Private and proportional memory in MiB."""
        kib = {"Pss": 0, "Private_Clean": 0, "Private_Dirty": 0}
        for line in Path(f"/proc/{self._process.pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, _, rest = line.partition(":")
            if name in kib:
                kib[name] = int(rest.split()[0])
        private = kib["Private_Clean"] + kib["Private_Dirty"]
        return {"private_mib": round(private / 1024, 1), "pss_mib": round(kib["Pss"] / 1024, 1)}

    def stop(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def flood(port: int, keyring: Keyring | None, count: int) -> None:
    """Send `count` pings and wait for as many answers. Raises TimeoutError when they stay away."""
    ping = PacketCodec(WireConfig(), keyring).seal([Ping(1, "target")], False)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect(("127.0.0.1", port))
        for _ in range(WINDOW):
            sock.send(ping)
        for number in range(count):
            sock.recv(2000)
            if number < count - WINDOW:
                sock.send(ping)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pings", type=int, default=60_000)
    parser.add_argument("--idle", type=float, default=5.0, help="seconds to do nothing")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--sealed", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve([KEY] if options.sealed else [])
        return
    for sealed in (False, True):
        target = Target(sealed)
        keyring = Keyring([KEY], lambda: os.urandom(12)) if sealed else None
        flood(target.port, keyring, WARM_UP)
        before, began = target.cpu(), time.perf_counter()
        flood(target.port, keyring, options.pings)
        spent, wall = target.cpu() - before, time.perf_counter() - began
        result = {
            "case": "ping flood sealed" if sealed else "ping flood",
            "us_cpu_per_ping": round(spent / options.pings * 1e6, 1),
            "pings_per_s": round(options.pings / wall),
        }
        print(json.dumps(result), flush=True)
        if not sealed:
            before = target.cpu()
            time.sleep(options.idle)
            idle = {"case": "idle alone", "cpu_percent": round((target.cpu() - before) / options.idle * 100, 3)}
            print(json.dumps(idle | target.memory()), flush=True)
        target.stop()


if __name__ == "__main__":
    main()
